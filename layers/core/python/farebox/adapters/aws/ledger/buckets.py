"""Bucket items: where they are, how amounts move on them, and how they are read.

`used` is `settled + held`: conditions cannot add, so the sum that a limit is compared with is kept beside its
parts and moves with them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias, cast

from farebox.adapters.aws.dynamodb.actions import Action, update
from farebox.adapters.aws.dynamodb.attributes import Item, Value
from farebox.domain.budget import Budget, Standing, Touch

BucketKey: TypeAlias = tuple[str, str, str, str]
"""Budget, unit, window and bucket."""

PARTITION = "bucket#"

_MAX_SORT_KEY_BYTES = 1_000
_FITS = "(attribute_not_exists(#used) OR #used <= :room)"
# Where the amount alone is above the limit, a bucket that is not there yet is short as well.
_NEVER_FITS = "#used <= :room"
_IS_OPEN = "(attribute_not_exists(#exhausted_limit) OR #exhausted_limit < :limit)"
_ADD = "ADD #held :held, #settled :settled, #used :used SET #bucket = :bucket"


@dataclass(slots=True)
class Movement:
    """What one step adds to a bucket, either sign. With a `limit`, only if it fits under it."""

    settled: int = 0
    held: int = 0
    limit: int | None = None


class Movements:
    """What one step adds to all the buckets it touches, one action each."""

    def __init__(self) -> None:
        self._by_key: dict[BucketKey, Movement] = {}

    def hold(self, touches: Iterable[Touch], *, under_limit: bool = False) -> None:
        """Hold what the touches say; `under_limit` only if it fits."""
        for touch in touches:
            movement = self._at(key_of(touch))
            movement.held += touch.amount
            if under_limit:
                movement.limit = touch.budget.limit

    def release(self, touches: Iterable[Touch]) -> None:
        """Give back what the touches hold."""
        for touch in touches:
            self._at(key_of(touch)).held -= touch.amount

    def book(self, entries: Iterable[tuple[BucketKey, int]], sign: int = 1) -> None:
        """Settle amounts, or with -1 take them back."""
        for key, amount in entries:
            self._at(key).settled += sign * amount

    def check_growth_alone(self) -> None:
        """Ask the limits only where more is held than before; what stays or shrinks is nobody's to refuse."""
        for key, movement in list(self._by_key.items()):
            if movement.held <= 0:
                movement.limit = None
            if not movement.held:
                del self._by_key[key]

    def settled(self) -> list[tuple[BucketKey, int]]:
        """Give what is booked on each bucket."""
        return [(key, movement.settled) for key, movement in self._by_key.items() if movement.settled]

    def keys(self) -> list[BucketKey]:
        """Give the buckets in the order of `actions`."""
        return [key for key, movement in self._by_key.items() if _does_anything(movement)]

    def actions(self, table: str) -> list[Action]:
        """Give one write for each bucket that moves."""
        return [_move(table, key, self._by_key[key]) for key in self.keys()]

    def _at(self, key: BucketKey) -> Movement:
        return self._by_key.setdefault(key, Movement())


def key_of(touch: Touch) -> BucketKey:
    """Give the key of the bucket that is touched."""
    return (touch.budget.name, touch.budget.unit.value, touch.window.key, touch.bucket)


def entries_of(touches: Iterable[Touch]) -> list[tuple[BucketKey, int]]:
    """Give what touches book."""
    return [(key_of(touch), touch.amount) for touch in touches]


def partition_of(budget: str, unit: str, window: str) -> str:
    """All buckets of a budget's window are one partition, to be listed in one query."""
    # A name may hold any character; unit and window hold no '#', so no two triples make one key.
    return f"{PARTITION}{budget}#{unit}#{window}"


def primary_key(key: BucketKey) -> dict[str, Value]:
    """Say where the bucket is."""
    budget, unit, window, bucket = key
    return {"pk": partition_of(budget, unit, window), "sk": _sort_key(bucket)}


def mark(table: str, touch: Touch) -> Action:
    """Shut a bucket for every limit up to the present one."""
    return update(
        table,
        primary_key(key_of(touch)),
        "SET #exhausted_limit = :limit, #bucket = :bucket",
        _IS_OPEN,
        {"limit": touch.budget.limit, "bucket": touch.bucket},
    )


def clear(table: str, key: BucketKey, *, settled: int) -> Action:
    """Take back all that is settled, if it still is this much, and open the bucket."""
    condition = "#settled = :old" if settled else "(attribute_not_exists(#settled) OR #settled = :old)"
    return update(
        table,
        primary_key(key),
        "ADD #settled :back, #used :back REMOVE #exhausted_limit",
        condition,
        {"back": -settled, "old": settled},
    )


def standing_of(budget: Budget, item: Mapping[str, Value] | None) -> Standing:
    """Read a bucket under its budget's present limit."""
    if item is None:
        return Standing()
    exhausted_limit = item.get("exhausted_limit")
    return Standing(
        number(item, "settled"),
        number(item, "held"),
        isinstance(exhausted_limit, int) and exhausted_limit >= budget.limit,
    )


def bucket_of(item: Item) -> str:
    """Give the name of the bucket that an item is."""
    return cast(str, item["bucket"])


def key_of_item(item: Item) -> BucketKey:
    """Give the key of the bucket that an item is."""
    budget, unit, window = cast(str, item["pk"]).removeprefix(PARTITION).rsplit("#", 2)
    return (budget, unit, window, bucket_of(item))


def number(item: Mapping[str, Value], name: str) -> int:
    """Read an amount that is 0 until it first moves."""
    return cast(int, item.get(name, 0))


def _move(table: str, key: BucketKey, movement: Movement) -> Action:
    amount = movement.held + movement.settled
    values: dict[str, Value] = {
        "held": movement.held,
        "settled": movement.settled,
        "used": amount,
        "bucket": key[-1],
    }
    condition = ""
    if movement.limit is not None:
        room = movement.limit - amount
        condition = f"{_FITS if room >= 0 else _NEVER_FITS} AND {_IS_OPEN}"
        values |= {"room": room, "limit": movement.limit}
    return update(table, primary_key(key), _ADD, condition, values)


def _does_anything(movement: Movement) -> bool:
    return bool(movement.held or movement.settled) or movement.limit is not None


def _sort_key(bucket: str) -> str:
    # Values from callers name buckets (a session, metadata); a key of the table has to be shorter than some.
    if len(bucket.encode()) <= _MAX_SORT_KEY_BYTES:
        return f"={bucket}"
    return f"~{hashlib.sha256(bucket.encode()).hexdigest()}"
