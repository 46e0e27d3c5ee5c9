"""What buckets have drawn lately, summed over the rows in two of the table's indexes, within bounds."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import cast

from farebox.adapters.aws.dynamodb.attributes import Item
from farebox.adapters.aws.dynamodb.items import Items
from farebox.adapters.aws.ledger import rows
from farebox.adapters.aws.tables import BY_OVERRUN, BY_TIME, Index, TableNames
from farebox.domain.budget.forecast import Spending

ROWS_OF_A_SHARD = 5_000
"""Of recent rows, the newest: about 4 MB to read in each partition, at most a second for all together."""

OVERRUNS_MAX = 10_000
"""The newest are summed. Rows with an overrun are rare, and they alone are in their index."""

_ABOVE_ALL = "~"
_BELOW_ALL = "!"


class DynamoSpendingHistory:
    """Fills `ports.SpendingHistory`, a moment behind the rows."""

    def __init__(self, items: Items, tables: TableNames, *, rows_of_a_shard: int = ROWS_OF_A_SHARD) -> None:
        self._items, self._table, self._rows_of_a_shard = items, tables.usage, rows_of_a_shard

    async def recent(self, since: datetime) -> Mapping[tuple[str, str, str], Spending]:
        """Sum what was booked since a moment by budget, unit and bucket; resets are not spending.

        Where there are too many rows, of a shorter time, for which `Spending.is_cut` then.
        """
        shards = await asyncio.gather(
            *(self._newest(BY_TIME, shard, since, self._rows_of_a_shard + 1) for shard in rows.TIME_SHARDS)
        )
        # All partitions have all rows from here on.
        full = [rows.moment_of(_place(shard[-2])) for shard in shards if len(shard) > self._rows_of_a_shard]
        cut_at = max(full, default=None)
        amounts: Counter[tuple[str, str, str]] = Counter()
        first: dict[tuple[str, str, str], datetime] = {}
        for item in (item for shard in shards for item in shard):
            at = rows.moment_of(_place(item))
            if cut_at is not None and at < cut_at:
                continue
            for (budget, unit, _, bucket), amount in _booked(item):
                if amount:
                    key = (budget, unit, bucket)
                    amounts[key] += amount
                    first[key] = min(at, first.get(key, at))
        return {
            key: Spending(amounts[key], cut_at or at, is_cut=cut_at is not None) for key, at in first.items()
        }

    async def overruns(self, since: datetime | None) -> Mapping[tuple[str, str, str, str], int]:
        """Sum overruns since a moment by budget, unit, bucket and window: at most the newest ten thousand."""
        found = await self._newest(BY_OVERRUN, rows.OVERRUN, since, OVERRUNS_MAX)
        amounts: Counter[tuple[str, str, str, str]] = Counter()
        for item in found:
            for (budget, unit, window, bucket), _ in _booked(item):
                amounts[budget, unit, bucket, window] += cast(int, item["overrun_picodollars"])
        return amounts

    async def _newest(
        self, index: Index, partition: str, since: datetime | None, count: int
    ) -> Sequence[Item]:
        found = self._items.query(
            self._table,
            f"#{index.partition} = :partition AND #place BETWEEN :first AND :last",
            index=index.name,
            descending=True,
            limit=count,
            partition=partition,
            first=rows.place_at(since) if since else _BELOW_ALL,
            last=_ABOVE_ALL,
        )
        return [item async for item in found]


def _place(item: Item) -> str:
    return cast(str, item["place"])


def _booked(item: Item) -> Iterator[tuple[tuple[str, str, str, str], int]]:
    """Give what a row books by budget, unit, window and bucket."""
    for key, amount in rows.entries_of_row(item):
        yield (key[0], key[1], key[2], key[3]), amount
