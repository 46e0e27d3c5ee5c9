"""The audit of the sums: every bucket against the ledger rows and the open holds.

A scan is no snapshot: what moves while it runs looks like drift. So it runs twice, and only what is off by
the same amount both times is told.
"""

from __future__ import annotations

from collections import Counter
from typing import cast

from msgspec import Struct, field

from farebox.adapters.aws.dynamodb.attributes import Item
from farebox.adapters.aws.dynamodb.items import Items
from farebox.adapters.aws.ledger import holds, rows
from farebox.adapters.aws.ledger.buckets.keys import BucketKey, is_bucket, key_of_item
from farebox.adapters.aws.ledger.buckets.standings import number
from farebox.adapters.aws.tables import TableNames

_SOURCES = {
    "settled": "ledger rows make",
    "held": "open holds make",
    "used": "both together make",
    # What is used on the shards of a wide bucket and what room they have.
    "limit": "its shards are for",
}


class Sums(Struct):
    """Stored and recomputed amounts by bucket, and the requests that are open and settled."""

    stored: dict[str, Counter[BucketKey]] = field(default_factory=lambda: _by_kind())
    expected: dict[str, Counter[BucketKey]] = field(default_factory=lambda: _by_kind())
    open: set[str] = field(default_factory=set)
    ended: set[str] = field(default_factory=set)

    def drifts(self) -> dict[tuple[str, BucketKey], int]:
        """Give by how much each bucket is off, where it is."""
        return {
            (kind, key): difference
            for kind, stored in self.stored.items()
            for key in stored | self.expected[kind]
            if (difference := stored[key] - self.expected[kind][key])
        }


async def drifts(items: Items, tables: TableNames) -> list[str]:
    """Give one line for each bucket whose sums do not match, and for each request both open and settled."""
    first = await _sums(items, tables)
    if not first.drifts() and not first.open & first.ended:
        return []
    second = await _sums(items, tables)
    off = first.drifts()
    lasting = sorted(place for place, difference in second.drifts().items() if off.get(place) == difference)
    lines = [_line(second, kind, key) for kind, key in lasting]
    both = sorted(first.open & first.ended & second.open & second.ended)
    return lines + [f"request {request_id} is settled and still holds" for request_id in both]


async def _sums(items: Items, tables: TableNames) -> Sums:
    sums = Sums()
    async for item in items.everything(tables.budgets):
        if cast(str, item["pk"]).startswith(holds.PARTITION):
            _add_hold(sums, item)
        elif is_bucket(item):
            _add_bucket(sums, item)
    async for item in items.everything(tables.usage):
        sums.ended.add(cast(str, item["id"]))
        for key, amount in rows.entries_of_row(item):
            sums.expected["settled"][key] += amount
    for kind in ("settled", "held"):
        sums.expected["used"].update(sums.expected[kind])
    return sums


def _add_hold(sums: Sums, item: Item) -> None:
    sums.open.add(holds.stored_hold(item).request_id)
    for key, amount in holds.held_by(item):
        sums.expected["held"][key] += amount


def _add_bucket(sums: Sums, item: Item) -> None:
    key = key_of_item(item)
    for kind in ("settled", "held", "used"):
        sums.stored[kind][key] = number(item, kind)
    if key.shard is not None:
        bucket = key._replace(shard=None)
        sums.stored["limit"][bucket] += number(item, "used") + number(item, "room")
        sums.expected["limit"][bucket] = number(item, "room_limit")


def _line(sums: Sums, kind: str, key: BucketKey) -> str:
    shard = "" if key.shard is None else f", shard {key.shard}"
    return (
        f"budget '{key.budget}', bucket '{key.bucket}'{shard}, window {key.window}:"
        f" {kind} is {sums.stored[kind][key]}, but {_SOURCES[kind]} {sums.expected[kind][key]}"
        f" ({'picodollars' if key.unit == 'usd' else key.unit})"
    )


def _by_kind() -> dict[str, Counter[BucketKey]]:
    return {kind: Counter() for kind in _SOURCES}
