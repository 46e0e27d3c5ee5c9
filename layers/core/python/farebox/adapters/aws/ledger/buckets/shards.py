"""Wide buckets: where everybody's requests meet, kept in shards so that they do not wait for each other.

How many shards a bucket has is decided when it is first used in its window, and kept with them. All of them
come to be, change their limit or are overdrawn in one transaction, so none ever differs from the others.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Collection, Iterable, Sequence
from typing import cast

from farebox.adapters.aws.dynamodb.actions import Action, update
from farebox.adapters.aws.dynamodb.attributes import Item, Value
from farebox.adapters.aws.dynamodb.errors import Unmet
from farebox.adapters.aws.dynamodb.items import Items
from farebox.adapters.aws.ledger.buckets.keys import (
    DEFAULT_SHARDS,
    BucketKey,
    Places,
    bucket_of,
    is_wide,
    key_of_item,
    partition_of,
    primary_key,
)
from farebox.adapters.aws.ledger.buckets.rooms import Pool, Spread, spread_for
from farebox.adapters.aws.ledger.buckets.standings import count_of_shards, pool_of, standing_of
from farebox.domain.budget import Budget, Standing

_ADD = "ADD #room :added"
_STAYS = "#room_limit = :known AND #room >= :least"
_IS_NEW = "attribute_not_exists(#room_limit)"
_IS_THERE = "attribute_exists(#room_limit)"
_BELONG = "#room_limit = :limit, #shards = :shards, #bucket = :bucket"


class Buckets:
    """The bucket items of one table, several for each wide bucket."""

    def __init__(self, items: Items, table: str, shards: int = DEFAULT_SHARDS) -> None:
        self._items, self._table, self._shards = items, table, shards

    def places(self, request_id: str, known: Iterable[BucketKey] = ()) -> Places:
        """Say on which items a request moves: on shards that are known, and by its id on others."""
        return Places(known, zlib.crc32(request_id.encode()) % self._shards)

    async def keys_of(self, key: BucketKey) -> list[BucketKey]:
        """Give the keys of all items of a bucket, whether they are there or not."""
        if key.shard is None:
            return [key]
        return [key._replace(shard=number) for number in range(len(await self.items_of(key)))]

    async def items_of(self, key: BucketKey) -> list[Item | None]:
        """Read a bucket: its one item, or one for each of its shards; `None` for what is not there yet."""
        if key.shard is None:
            return [await self._items.get(self._table, primary_key(key))]
        found = await self._read(key, range(self._shards))
        count = count_of_shards(found.values()) or self._shards
        if count > self._shards:
            found |= await self._read(key, range(self._shards, count))
        return [found.get(number) for number in range(count)]

    async def items_by_bucket(self, keys: Collection[BucketKey]) -> dict[BucketKey, list[Item]]:
        """Read whole buckets, each once: those that the keys are of, or of whose shards they are."""
        wide = list(dict.fromkeys(key._replace(shard=0) for key in keys if key.shard is not None))
        narrow = [primary_key(key) for key in keys if key.shard is None]
        found: dict[BucketKey, list[Item]] = {key._replace(shard=None): [] for key in keys}
        for item in await self._items.get_many(self._table, narrow):
            found[key_of_item(item)].append(item)
        for key, items in zip(wide, await asyncio.gather(*map(self.items_of, wide)), strict=True):
            found[key._replace(shard=None)] += [item for item in items if item is not None]
        return found

    async def in_window(self, budget: Budget, window_key: str) -> dict[str, list[Item]]:
        """Read all buckets of a budget's window by name, each with its items."""
        if not is_wide(budget):
            return await self._listed(budget, window_key, [None])
        found = await self._listed(budget, window_key, range(self._shards))
        count = max((count_of_shards(items) for items in found.values()), default=0)
        if count > self._shards:
            for bucket, items in (await self._listed(budget, window_key, range(self._shards, count))).items():
                found.setdefault(bucket, []).extend(items)
        return found

    async def make_room(self, key: BucketKey, growth: int, budget: Budget) -> Standing | BucketKey:
        """Move room to the shard `key` for what it is to hold more, and give the key to try with next; or
        where the whole bucket stands, if it cannot pay.

        One attempt: somebody else may be quicker, to change the shards or to draw on the room.
        """
        found = await self.items_of(key)
        standing = standing_of(budget, found)
        if standing.is_marked or standing.settled + standing.held + growth > budget.limit:
            return standing
        key = key._replace(shard=cast(int, key.shard) % len(found))
        pool = pool_of(found)
        if pool is not None:
            spread = spread_for(pool, cast(int, key.shard), growth, budget.limit)
            await self._write(self._spread(key, pool, spread) if spread else ())
        return key

    async def make_way(self, key: BucketKey, growth: int) -> BucketKey:
        """Let a booking through that is above its hold, and give the key to try with next.

        Where no shard has the room, all are overdrawn. One attempt.
        """
        found = await self.items_of(key)
        key = key._replace(shard=cast(int, key.shard) % len(found))
        pool = pool_of(found)
        if pool is not None and not pool.is_overdrawn:
            limit = pool.limit
            spread = None if limit is None else spread_for(pool, cast(int, key.shard), growth, limit)
            if spread is None:
                await self._write(self._overdraw(key, pool))
            else:
                await self._write(self._spread(key, pool, spread))
        return key

    def _spread(self, key: BucketKey, pool: Pool, spread: Spread) -> list[Action]:
        touched = [
            (number, added) for number, added in enumerate(spread.added) if added or spread.limit is not None
        ]
        return [self._add_room(key._replace(shard=number), added, pool, spread) for number, added in touched]

    def _add_room(self, key: BucketKey, added: int, pool: Pool, spread: Spread) -> Action:
        values: dict[str, Value] = {"added": added}
        if pool.limit is None:
            condition = _IS_NEW
        else:
            condition = _STAYS
            values |= {"known": pool.limit, "least": -added}
        change = _ADD
        if spread.limit is None:
            condition += " AND attribute_not_exists(#is_overdrawn)"
        else:
            change += f" SET {_BELONG} REMOVE #is_overdrawn"
            values |= {"limit": spread.limit, "shards": len(pool.rooms), "bucket": key.bucket}
        return update(self._table, primary_key(key), change, condition, values)

    def _overdraw(self, key: BucketKey, pool: Pool) -> list[Action]:
        change, values = "SET #is_overdrawn = :yes", cast("dict[str, Value]", {"yes": True})
        condition = _IS_THERE
        if pool.limit is None:
            condition, change = _IS_NEW, f"{change}, {_BELONG} ADD #room :added"
            values |= {"limit": 0, "shards": len(pool.rooms), "bucket": key.bucket, "added": 0}
        keys = [primary_key(key._replace(shard=number)) for number in range(len(pool.rooms))]
        return [update(self._table, each, change, condition, values) for each in keys]

    async def _write(self, actions: Sequence[Action]) -> None:
        if actions:
            try:
                await self._items.transact(actions)
            except Unmet:
                # Somebody was quicker; whoever asked looks again.
                await self._items.pause()

    async def _read(self, key: BucketKey, shards: Iterable[int]) -> dict[int, Item]:
        keys = [primary_key(key._replace(shard=number)) for number in shards]
        found = await self._items.get_many(self._table, keys)
        return {cast(int, key_of_item(item).shard): item for item in found}

    async def _listed(
        self, budget: Budget, window_key: str, shards: Iterable[int | None]
    ) -> dict[str, list[Item]]:
        partitions = await asyncio.gather(
            *(
                self._partition(partition_of(budget.name, budget.unit.value, window_key, shard))
                for shard in shards
            )
        )
        found: dict[str, list[Item]] = {}
        for item in (item for partition in partitions for item in partition):
            found.setdefault(bucket_of(item), []).append(item)
        return found

    async def _partition(self, partition: str) -> list[Item]:
        return [item async for item in self._items.query(self._table, "#pk = :pk", pk=partition)]
