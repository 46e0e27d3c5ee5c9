"""How amounts move on bucket items.

`used` is `settled + held`: conditions cannot add, so the sum that a limit is compared with is kept beside its
parts and moves with them. A shard of a wide bucket has room instead of a limit (see `rooms`), which moves
against `used`.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from farebox.adapters.aws.dynamodb.actions import Action, update
from farebox.adapters.aws.dynamodb.attributes import Value
from farebox.adapters.aws.ledger.buckets.keys import BucketKey, Places, primary_key
from farebox.domain.budget import Touch

_FITS = "(attribute_not_exists(#used) OR #used <= :room)"
# Where the amount alone is above the limit, a bucket that is not there yet is short as well.
_NEVER_FITS = "#used <= :room"
_IS_OPEN = "(attribute_not_exists(#exhausted_limit) OR #exhausted_limit < :limit)"
_HAS_ROOM = (
    f"#room_limit <= :limit AND #room >= :growth AND attribute_not_exists(#is_overdrawn) AND {_IS_OPEN}"
)
_CAN_BOOK = "(#room >= :growth OR attribute_exists(#is_overdrawn))"
_ADD = "ADD #held :held, #settled :settled, #used :used"
_NAMED = " SET #bucket = :bucket"


class Movement(Struct):
    """What one step adds to a bucket, either sign. With a `limit`, only if it fits under it."""

    settled: int = 0
    held: int = 0
    limit: int | None = None

    @property
    def growth(self) -> int:
        """What is used more than before."""
        return self.settled + self.held

    @property
    def is_any(self) -> bool:
        """Whether there is anything to do or to ask."""
        return bool(self.held or self.settled) or self.limit is not None


class Movements:
    """What one step adds to all the buckets it touches, one action each."""

    def __init__(self) -> None:
        self._by_key: dict[BucketKey, Movement] = {}

    def hold(self, touches: Iterable[Touch], places: Places) -> None:
        """Hold what the touches say, only if it fits under their limits."""
        for touch in touches:
            movement = self._at(places.key_of(touch))
            movement.held += touch.amount
            movement.limit = touch.budget.limit

    def release(self, held: Iterable[tuple[BucketKey, int]]) -> None:
        """Give back what is held."""
        for key, amount in held:
            self._at(key).held -= amount

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

    def all(self) -> list[tuple[BucketKey, Movement]]:
        """Give what moves, in the order of `actions`."""
        return [(key, movement) for key, movement in self._by_key.items() if movement.is_any]

    def actions(self, table: str) -> list[Action]:
        """Give one write for each bucket that moves."""
        return [_move(table, key, movement) for key, movement in self.all()]

    def _at(self, key: BucketKey) -> Movement:
        return self._by_key.setdefault(key, Movement())


def mark(table: str, key: BucketKey, limit: int) -> Action:
    """Shut a bucket for every limit up to this one."""
    change = "SET #exhausted_limit = :limit, #bucket = :bucket"
    return update(table, primary_key(key), change, _IS_OPEN, {"limit": limit, "bucket": key.bucket})


def clear(table: str, key: BucketKey, *, settled: int) -> Action:
    """Take back all that is settled, if it still is this much, and open the bucket."""
    change, values = "ADD #settled :back, #used :back", {"back": -settled, "old": settled}
    if key.shard is not None:
        change += ", #room :old"
    condition = "#settled = :old" if settled else "(attribute_not_exists(#settled) OR #settled = :old)"
    return update(table, primary_key(key), f"{change} REMOVE #exhausted_limit", condition, values)


def _move(table: str, key: BucketKey, movement: Movement) -> Action:
    values: dict[str, Value] = {
        "held": movement.held,
        "settled": movement.settled,
        "used": movement.growth,
        "bucket": key.bucket,
    }
    if key.shard is not None:
        return _move_shard(table, key, movement, values)
    condition = ""
    if movement.limit is not None:
        room = movement.limit - movement.growth
        condition = f"{_FITS if room >= 0 else _NEVER_FITS} AND {_IS_OPEN}"
        values |= {"room": room, "limit": movement.limit}
    return update(table, primary_key(key), _ADD + _NAMED, condition, values)


def _move_shard(table: str, key: BucketKey, movement: Movement, values: dict[str, Value]) -> Action:
    values |= {"less": -movement.growth}
    condition = ""
    if movement.limit is not None:
        condition = _HAS_ROOM
        values |= {"growth": movement.growth, "limit": movement.limit}
    elif movement.growth > 0:
        condition = _CAN_BOOK
        values |= {"growth": movement.growth}
    return update(table, primary_key(key), f"{_ADD}, #room :less{_NAMED}", condition, values)
