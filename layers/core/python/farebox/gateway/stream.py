"""Step five: the answer on its way to the client, byte for byte, while the meter reads along."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import msgspec
from msgspec import Struct

from farebox.domain.budget import Shortage
from farebox.domain.errors import StoreFault, UpstreamCut, UpstreamFault, UpstreamTimeout
from farebox.domain.record import Outcome
from farebox.gateway.charging.meter import StreamMeter
from farebox.gateway.charging.quota import Quota
from farebox.wire.headers import find
from farebox.wire.http import Diverting, Headers, HttpAnswer, Silence

PING = b'event: ping\ndata: {"type": "ping"}\n\n'

_log = logging.getLogger("farebox.stream")

Finish = Callable[[Outcome], Awaitable[None]]
Exhaust = Callable[[Shortage], Awaitable[None]]
Write = Callable[[bytes], bool]
"""Writes to the client without waiting; False, and nothing is written, where it would have to wait."""


class Answer(Struct, frozen=True):
    """What the client gets: a head and either a whole body or a stream."""

    status: int
    headers: Headers
    body: bytes = b""
    stream: MeteredStream | None = None


class MeteredStream:
    """A streamed answer that settles exactly once, whichever way it ends.

    READING -> CUTTING (money ran out; waiting for the end of an event) -> ENDED. `leave` and `aclose` may
    come at any time; whoever ends the stream first decides its outcome.
    """

    def __init__(
        self,
        source: HttpAnswer,
        meter: StreamMeter,
        quota: Quota,
        *,
        finish: Finish,
        exhaust: Exhaust,
        cancel_stops_billing: bool,
    ) -> None:
        self._source, self._meter, self._quota = source, meter, quota
        self._finish, self._exhaust = finish, exhaust
        self._cancel_stops_billing = cancel_stops_billing
        meter.read_as(find(source.headers, b"content-encoding"))
        self._shortage: Shortage | None = None
        self._must_cut = False
        self._has_left = False
        self._is_cut = False
        self._is_ended = False
        self._books_last = False
        self._proper_end: Outcome | None = None

    async def receive(self) -> bytes:
        """Give the next bytes for the client, or b"" at the proper end, once everything is booked (unless
        that is left for last).

        Raises `UpstreamFault` when the answer broke off: the client must see a cut, never a clean end.
        """
        if self._is_ended or self._proper_end is not None:
            return b""
        if self._is_cut:
            return await self._end_properly(Outcome.BUDGET_CUT)
        try:
            chunk = await self._next_chunk()
        except UpstreamFault as fault:
            if isinstance(fault, UpstreamTimeout) and self._meter.is_stopped:
                return await self._upstream_ended()  # all was said, and nobody closed
            await self._end(Outcome.CLIENT_GONE if self._has_left else Outcome.UPSTREAM_CUT)
            raise
        if chunk is PING:
            return chunk
        if not chunk:
            return await self._upstream_ended()
        self._meter.feed(chunk)
        ask_at_bytes = self._quota.ask_at_bytes
        if ask_at_bytes is not None and self._meter.delta_bytes >= ask_at_bytes:
            return await self._top_up(chunk)
        return chunk

    def divert(self, write: Write) -> None:
        """While `receive` waits, `write` what needs no decision the moment it arrives; `receive` gives the
        rest, in order.
        """
        meter, quota = self._meter, self._quota

        def take(chunk: bytes) -> bool:
            # Behind an event nothing is held back, so a chunk adds no more delta bytes than it has.
            if self._has_left or not meter.at_boundary:
                return False
            ask_at_bytes = quota.ask_at_bytes
            if ask_at_bytes is not None and meter.delta_bytes + len(chunk) >= ask_at_bytes:
                return False
            if not write(chunk):
                return False
            meter.feed(chunk)
            return True

        if isinstance(self._source, Diverting):
            self._source.divert(take)

    def book_last(self) -> None:
        """Leave the booking of a proper end to `aclose`, where the process lives on behind the last byte and
        the client need not wait for it.
        """
        self._books_last = True

    def leave(self) -> None:
        """The client is gone. Cancels the provider where that saves money; else the rest is read and
        counted.
        """
        self._has_left = True
        if self._cancel_stops_billing:
            self._source.abort()

    async def aclose(self) -> None:
        """End the stream if nothing has ended it (the process was told to stop, or the client left), and book
        what was left for last.
        """
        await self._end(self._proper_end or (Outcome.CLIENT_GONE if self._has_left else Outcome.STOPPED))

    async def _next_chunk(self) -> bytes:
        while True:
            try:
                return await self._source.receive()
            except Silence:
                if self._meter.at_boundary:
                    return PING

    async def _upstream_ended(self) -> bytes:
        self._meter.end()
        if self._meter.is_complete:
            failed = self._meter.error_type is not None
            outcome = Outcome.CLIENT_GONE if self._has_left else Outcome.FINISHED
            return await self._end_properly(Outcome.UPSTREAM_ERROR if failed else outcome)
        await self._end(Outcome.CLIENT_GONE if self._has_left else Outcome.UPSTREAM_CUT)
        raise UpstreamCut("the provider", "the stream ended without message_stop")

    async def _top_up(self, chunk: bytes) -> bytes:
        """Ask for more quota; when there is none, end the answer at the next event boundary."""
        if not self._must_cut:
            try:
                self._shortage = await self._quota.ask(self._meter)
            except StoreFault as fault:
                # Refuse closed: what cannot be held is not written on.
                _log.warning("an answer is cut, its quota cannot be raised: %s", fault)
                self._must_cut = True
            self._must_cut = self._must_cut or self._shortage is not None
        if not self._must_cut or self._meter.is_complete or self._meter.fold.is_complete:
            return chunk
        # The meter knows whole events only, so what follows the last of them was not counted either.
        end = len(chunk) if self._meter.at_boundary else self._meter.is_plain and last_event_end(chunk)
        if not end and self._meter.is_plain:
            return chunk
        await self._mark_exhausted()
        self._source.abort()
        if not end:
            # Nothing can be written into an answer that is not plain: it breaks off where it is.
            await self._end(Outcome.BUDGET_CUT)
            raise UpstreamCut("the provider", "the budget for its answer is gone")
        self._is_cut = True
        return chunk[:end] + closing_events(self._meter)

    async def _mark_exhausted(self) -> None:
        """Before the client can ask again: its next request must be the 402 that explains."""
        if self._shortage is None:
            return
        try:
            await self._exhaust(self._shortage)
        except StoreFault as fault:
            _log.warning("a bucket is not marked exhausted: %s", fault)

    async def _end_properly(self, outcome: Outcome) -> bytes:
        self._proper_end = outcome
        if not self._books_last:
            await self._end(outcome)
        return b""

    async def _end(self, outcome: Outcome) -> None:
        if self._is_ended:
            return
        self._is_ended = True
        try:
            await self._finish(outcome)
        finally:
            await self._source.aclose()


def last_event_end(chunk: bytes) -> int:
    """Give where the last event ends that ends inside a chunk; 0 when none does."""
    return max(chunk.rfind(mark) + len(mark) if mark in chunk else 0 for mark in (b"\n\n", b"\r\n\r\n"))


def closing_events(meter: StreamMeter) -> bytes:
    """Write the events that end an answer properly wherever it stands.

    Claude Code resumes after `max_tokens` and then shows the refusal; other stop reasons hide it or mislead.
    """
    events: list[tuple[bytes, dict[str, object]]] = []
    if meter.open_block is not None:
        events.append((b"content_block_stop", {"type": "content_block_stop", "index": meter.open_block}))
    delta = {"stop_reason": "max_tokens", "stop_sequence": None}
    usage = {"output_tokens": meter.output_tokens_seen}
    events.append((b"message_delta", {"type": "message_delta", "delta": delta, "usage": usage}))
    events.append((b"message_stop", {"type": "message_stop"}))
    return b"".join(
        b"event: " + name + b"\ndata: " + msgspec.json.encode(data) + b"\n\n" for name, data in events
    )
