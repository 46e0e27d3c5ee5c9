"""Facts on an EventBridge bus, as many at once as one call takes; what was not taken is said.

Source: EventBridge API reference, PutEvents, read 2026-11.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import msgspec

from farebox.adapters.aws.codec import json_text
from farebox.adapters.aws.services.call import AwsService
from farebox.domain.errors import StoreFault
from farebox.ports.behind import Announcement

SOURCE = "farebox"
"""What all our events say they come from; rules match it."""

ENTRIES_MAX = 10
BYTES_MAX = 250_000
"""Of one call. The API reference has said 256 KB and, of late, 1 MB."""

_ENVELOPE_BYTES = 300
_HEADERS = [
    (b"accept-encoding", b"identity"),
    (b"content-type", b"application/x-amz-json-1.1"),
    (b"x-amz-target", b"AWSEvents.PutEvents"),
]

_log = logging.getLogger("farebox.event_bus")


class _Entry(msgspec.Struct, rename="pascal"):
    error_code: str | None = None


class _Taken(msgspec.Struct, rename="pascal"):
    entries: list[_Entry]


_taken = msgspec.json.Decoder(_Taken).decode


class BusAnnouncer:
    """Fills `ports.Announcer`."""

    def __init__(self, service: AwsService, bus: str) -> None:
        self._service, self._bus = service, bus

    async def announce(self, announcements: Sequence[Announcement]) -> Sequence[int]:
        """Hand them on; give the places of those that were not taken, in order."""
        entries = [self._entry(announcement) for announcement in announcements]
        missed: list[int] = []
        for pack in _packs(entries):
            missed += await self._put(entries, pack)
        return missed

    async def _put(self, entries: Sequence[bytes], pack: Sequence[int]) -> Sequence[int]:
        """Put a pack, what is not taken of it again; give what is left."""
        left = list(pack)
        for pause_s in (*self._service.pauses_s, None):
            body = b'{"Entries":[' + b",".join(entries[place] for place in left) + b"]}"
            try:
                answers = _taken(await self._service.post(_HEADERS, body)).entries
            except StoreFault as fault:
                _log.warning("%d events were not taken: %s", len(left), fault)
                return left
            refused = {
                place: answer.error_code
                for place, answer in zip(left, answers, strict=True)
                if answer.error_code is not None
            }
            if not refused:
                return ()
            left = list(refused)
            if pause_s is not None:
                await self._service.pause(pause_s)
        _log.warning("%d events were not taken: %s", len(left), ", ".join(sorted(set(refused.values()))))
        return left

    def _entry(self, announcement: Announcement) -> bytes:
        return msgspec.json.encode(
            {
                "Source": SOURCE,
                "DetailType": announcement.kind,
                "Time": announcement.at.timestamp(),
                "EventBusName": self._bus,
                "Detail": json_text(announcement.document),
            }
        )


def _packs(entries: Sequence[bytes]) -> Iterator[list[int]]:
    """Put places of entries together, as many as fit into a call."""
    pack: list[int] = []
    size = 0
    for place, entry in enumerate(entries):
        more = len(entry) + _ENVELOPE_BYTES
        if pack and (len(pack) == ENTRIES_MAX or size + more > BYTES_MAX):
            yield pack
            pack, size = [], 0
        pack.append(place)
        size += more
    if pack:
        yield pack
