"""Ledger rows as what listens behind a request gets them: from the table's stream, by id, or by time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, cast

from msgspec import Struct

from farebox.adapters.aws.codec import cursor_place, cursor_text, moment_at
from farebox.adapters.aws.dynamodb.attributes import Item, unwrapped_item
from farebox.adapters.aws.dynamodb.items import Items
from farebox.adapters.aws.ledger import rows
from farebox.adapters.aws.tables import BY_TIME, TableNames
from farebox.domain.errors import ConfigInvalid
from farebox.domain.record import RequestRecord
from farebox.ports import Page
from farebox.ports.behind import LedgerRow

RESET = "reset"


class WrittenRow(Struct, frozen=True):
    """A row as the stream tells of it. `sequence` is its place there; a reset has no record."""

    sequence: str
    id: str
    kind: str
    at: datetime
    record: RequestRecord | None
    entries: tuple[tuple[str, str, str, str, int], ...]


def written_row(record: Mapping[str, Any]) -> WrittenRow | None:
    """Read one record of the usage table's stream; None for anything but a new row.

    Raises `ValueError`, `KeyError` or `msgspec.MsgspecError` for what farebox never wrote.
    Source: DynamoDB Streams API reference, Record and StreamRecord, read 2026-11.
    """
    if record["eventName"] != "INSERT":
        return None
    change = record["dynamodb"]
    item = unwrapped_item(change["NewImage"])
    kind = cast(str, item["kind"])
    return WrittenRow(
        sequence=change["SequenceNumber"],
        id=cast(str, item["id"]),
        kind=kind,
        at=moment_at(cast(int, item["at_us"])),
        record=None if kind == RESET else rows.record_of_row(item),
        entries=tuple((*key[:4], amount) for key, amount in rows.entries_of_row(item)),
    )


class DynamoLedgerRows:
    """Fills `ports.LedgerRows`."""

    def __init__(self, items: Items, tables: TableNames) -> None:
        self._items, self._table = items, tables.usage

    async def rows(self, ids: Sequence[str]) -> Sequence[LedgerRow]:
        """Read those of the rows that are there and belong to a request, in the order of the ids."""
        found = await self._read(list(dict.fromkeys(ids)))
        corrected = [cast(str, item["corrects"]) for item in found.values() if "corrects" in item]
        missing = [row_id for row_id in corrected if row_id not in found]
        replaced = found | await self._read(missing)
        return [_ledger_row(found[row_id], replaced) for row_id in dict.fromkeys(ids) if row_id in found]

    async def ids(
        self, since: datetime, until: datetime, *, limit: int = 1_000, cursor: str | None = None
    ) -> Page[str]:
        """Give the ids of the rows of a time, oldest first."""
        after = cursor_place(cursor, str) if cursor else rows.place_at(since)
        if cursor and not rows.is_place(after):
            raise ConfigInvalid("cursor", "this is not a cursor of this list")
        last = rows.place_at(until)
        if after > last:
            return Page([])  # DynamoDB refuses to look between an end and a beginning
        slices = await asyncio.gather(
            *(self._places(shard, after, last, limit + 1) for shard in rows.TIME_SHARDS)
        )
        places = sorted(place for each in slices for place in each)
        page = places[:limit]
        onward = cursor_text(page[-1]) if len(places) > limit else None
        return Page([rows.row_at(place) for place in page], onward)

    async def _places(self, shard: str, after: str, last: str, count: int) -> list[str]:
        # A place that was given is asked for again by BETWEEN, which has no open end.
        found = self._items.query(
            self._table,
            "#time_shard = :shard AND #place BETWEEN :after AND :last",
            index=BY_TIME.name,
            limit=count + 1,
            shard=shard,
            after=after,
            last=last,
        )
        places = [cast(str, item["place"]) async for item in found]
        return [place for place in places if place != after][:count]

    async def _read(self, ids: Sequence[str]) -> dict[str, Item]:
        names = ["id", "kind", "corrects", "record"]
        keys = [rows.row_key(row_id) for row_id in ids]
        found = await self._items.get_many(self._table, keys, names=names)
        return {cast(str, item["id"]): item for item in found if item["kind"] != RESET}


def _ledger_row(item: Item, replaced: Mapping[str, Item]) -> LedgerRow:
    corrects = item.get("corrects")
    return LedgerRow(
        id=cast(str, item["id"]),
        record=rows.record_of_row(item),
        replaces=None if corrects is None else rows.record_of_row(replaced[cast(str, corrects)]),
    )
