"""Where buckets are: the keys of their items, and which shard of a wide bucket one request moves on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import NamedTuple, cast

from farebox.adapters.aws.dynamodb.actions import Key
from farebox.adapters.aws.dynamodb.attributes import Item
from farebox.domain.budget import Budget, Touch

DEFAULT_SHARDS = 8

_BUCKET = "bucket#"
_SHARD = "shard#"
_SHARED_BY_ALL = frozenset({"organisation", "provider", "model"})
_MAX_SORT_KEY_BYTES = 1_000


class BucketKey(NamedTuple):
    """One item: a bucket, or a shard of a wide one."""

    budget: str
    unit: str
    window: str
    bucket: str
    shard: int | None = None


class Places:
    """The items that one request moves on.

    It stays on the shards that are `known`; of another wide bucket it takes the `first_choice`.
    """

    def __init__(self, known: Iterable[BucketKey], first_choice: int = 0) -> None:
        self._first_choice = first_choice
        self._shards: dict[BucketKey, BucketKey] = {}
        for key in known:
            self.move_to(key)

    def move_to(self, key: BucketKey) -> None:
        """Take this shard of its bucket."""
        if key.shard is not None:
            self._shards[key._replace(shard=None)] = key

    def key_of(self, touch: Touch) -> BucketKey:
        """Give the item that is touched."""
        key = BucketKey(touch.budget.name, touch.budget.unit.value, touch.window.key, touch.bucket)
        if not is_wide(touch.budget):
            return key
        return self._shards.get(key) or key._replace(shard=self._first_choice)

    def entries_of(self, touches: Iterable[Touch]) -> list[tuple[BucketKey, int]]:
        """Give the amounts of touches by item."""
        return [(self.key_of(touch), touch.amount) for touch in touches]

    def shards_of(self, touches: Iterable[Touch]) -> list[BucketKey]:
        """Give those of the items touched that are shards."""
        return [key for key, _ in self.entries_of(touches) if key.shard is not None]


def is_wide(budget: Budget) -> bool:
    """Say whether everybody's requests meet in this budget's buckets, so that they are kept in shards."""
    return all(dimension in _SHARED_BY_ALL for dimension, _ in budget.scope.terms)


def partition_of(budget: str, unit: str, window: str, shard: int | None = None) -> str:
    """All buckets of a budget's window are one partition, or one for each shard, to be listed in a query."""
    # A name may hold any character; unit and window hold no '#', so no two make one key.
    kind = _BUCKET if shard is None else f"{_SHARD}{shard}#"
    return f"{kind}{budget}#{unit}#{window}"


def primary_key(key: BucketKey) -> Key:
    """Say where the item is."""
    return {"pk": partition_of(key.budget, key.unit, key.window, key.shard), "sk": _sort_key(key.bucket)}


def is_bucket(item: Item) -> bool:
    """Say whether an item of the table is a bucket or a shard of one."""
    return cast(str, item["pk"]).startswith((_BUCKET, _SHARD))


def bucket_of(item: Item) -> str:
    """Give the name of the bucket that an item is."""
    return cast(str, item["bucket"])


def key_of_item(item: Item) -> BucketKey:
    """Give the key of the bucket or shard that an item is."""
    place = cast(str, item["pk"])
    shard = None
    if place.startswith(_SHARD):
        _, number, place = place.split("#", 2)
        shard = int(number)
    budget, unit, window = place.removeprefix(_BUCKET if shard is None else "").rsplit("#", 2)
    return BucketKey(budget, unit, window, bucket_of(item), shard)


def _sort_key(bucket: str) -> str:
    # Values from callers name buckets (a session, metadata); a key of the table has to be shorter than some.
    if len(bucket.encode()) <= _MAX_SORT_KEY_BYTES:
        return f"={bucket}"
    return f"~{hashlib.sha256(bucket.encode()).hexdigest()}"
