"""Hold items: what an open request keeps back, found by its id and, once its lease has run out, by that."""

from __future__ import annotations

import zlib
from datetime import datetime
from typing import cast

import msgspec
from msgspec import Struct

from farebox.adapters.aws.codec import microseconds, moment_at
from farebox.adapters.aws.dynamodb.actions import Action, Key, check, delete, put, update
from farebox.adapters.aws.dynamodb.attributes import Item, Value
from farebox.adapters.aws.ledger.buckets.keys import BucketKey, Places
from farebox.domain.budget import Touch
from farebox.domain.record import RequestRecord
from farebox.ports import Hold

LEASE_SHARDS = tuple(f"{number}" for number in range(8))
"""Partitions of the index by lease: every hold opens, renews and ends in one of them."""

PARTITION = "hold#"

_NOT_THERE = "attribute_not_exists(#pk)"
_IS_KNOWN = "#token = :known"
_encode = msgspec.json.Encoder().encode
_body = msgspec.json.Decoder(tuple[tuple[Touch, ...], tuple[BucketKey, ...], RequestRecord]).decode


class OpenHold(Struct, frozen=True):
    """What of a stored hold the next step on it must know. `token` names the step that wrote it: conditions
    compare it, so that nothing is released that was not read. `held` says what is kept back and where.
    """

    token: str
    sequence: int
    held: tuple[tuple[BucketKey, int], ...]

    @classmethod
    def of(cls, hold: Hold, token: str, places: Places) -> OpenHold:
        """Give what is known after writing `hold` under `token`."""
        return cls(token, hold.sequence, tuple(places.entries_of(hold.touches)))

    @classmethod
    def read(cls, item: Item | None) -> OpenHold | None:
        """Read a stored item, if there is one."""
        if item is None:
            return None
        return cls(cast(str, item["token"]), cast(int, item["sequence"]), tuple(held_by(item)))

    @property
    def shards(self) -> tuple[BucketKey, ...]:
        """The shards of wide buckets that it is on."""
        return tuple(key for key, _ in self.held if key.shard is not None)


def hold_key(request_id: str) -> Key:
    """Say where the hold of a request is."""
    return {"pk": f"{PARTITION}{request_id}", "sk": "-"}


def open_hold(table: str, hold: Hold, token: str, places: Places) -> Action:
    """Write the first hold of a request."""
    return put(table, _item(hold, token, places), _NOT_THERE)


def replace_hold(table: str, hold: Hold, token: str, places: Places, known: OpenHold) -> Action:
    """Write a hold over the one that is known."""
    return put(table, _item(hold, token, places), _IS_KNOWN, known=known.token)


def end_hold(table: str, request_id: str, known: OpenHold | None) -> Action:
    """Take away the hold that is known, or make sure that there is none."""
    if known is None:
        return check(table, hold_key(request_id), _NOT_THERE)
    return delete(table, hold_key(request_id), _IS_KNOWN, known=known.token)


def renew_hold(table: str, request_id: str, lease_until: datetime) -> Action:
    """Move a lease, never back."""
    return update(
        table,
        hold_key(request_id),
        "SET #lease_until_us = :until",
        "#lease_until_us < :until",
        {"until": microseconds(lease_until)},
    )


def held_by(item: Item) -> list[tuple[BucketKey, int]]:
    """Read what a stored hold keeps back, and where."""
    touches, shards, _ = _unpacked(item)
    return Places(shards).entries_of(touches)


def stored_hold(item: Item) -> Hold:
    """Read the whole hold back."""
    touches, _, draft = _unpacked(item)
    return Hold(
        request_id=cast(str, item["pk"]).removeprefix(PARTITION),
        sequence=cast(int, item["sequence"]),
        touches=touches,
        lease_until=moment_at(cast(int, item["lease_until_us"])),
        draft=draft,
    )


def _item(hold: Hold, token: str, places: Places) -> dict[str, Value]:
    return {
        **hold_key(hold.request_id),
        "sequence": hold.sequence,
        "token": token,
        "lease_shard": LEASE_SHARDS[zlib.crc32(hold.request_id.encode()) % len(LEASE_SHARDS)],
        "lease_until_us": microseconds(hold.lease_until),
        # Touches repeat each other; packed, a hold on four budgets costs half the write units.
        "body": zlib.compress(_encode((hold.touches, places.shards_of(hold.touches), hold.draft))),
    }


def _unpacked(item: Item) -> tuple[tuple[Touch, ...], tuple[BucketKey, ...], RequestRecord]:
    return _body(zlib.decompress(cast(bytes, item["body"])))
