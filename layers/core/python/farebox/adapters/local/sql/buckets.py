"""The statements on bucket rows: amounts go up under a limit, or move without asking."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from functools import lru_cache
from typing import TypeAlias

from msgspec import Struct

from farebox.adapters.local.sql.codec import optional_microseconds
from farebox.domain.budget import Budget, Shortage, Standing, Touch, Window

BucketKey: TypeAlias = tuple[str, str, str, str]
"""Budget, unit, bucket and window: the primary key."""

# A row that is missing has nothing settled or held: its insert asks only whether the amount fits alone.
_GROW = """
    INSERT INTO bucket (budget, unit, bucket, window_key, window_start_us, window_end_us, held)
    SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7 WHERE ?7 <= ?8
    ON CONFLICT (budget, unit, bucket, window_key) DO UPDATE SET held = held + excluded.held
    WHERE settled + held + excluded.held <= ?8 AND (exhausted_limit IS NULL OR exhausted_limit < ?8)
"""

_MOVE = """
    INSERT INTO bucket (budget, unit, bucket, window_key, window_start_us, window_end_us, settled, held)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (budget, unit, bucket, window_key) DO UPDATE
    SET settled = settled + excluded.settled, held = held + excluded.held
"""

_SHUT = """
    INSERT INTO bucket (budget, unit, bucket, window_key, window_start_us, window_end_us, exhausted_limit)
    VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (budget, unit, bucket, window_key) DO UPDATE
    SET exhausted_limit = max(ifnull(exhausted_limit, 0), excluded.exhausted_limit)
"""

_STANDING = """
    SELECT settled, held, exhausted_limit FROM bucket
    WHERE budget = ? AND unit = ? AND bucket = ? AND window_key = ?
"""


class Short(Exception):
    """A bucket is short. Raised inside a transaction, so that the step is undone whole."""

    def __init__(self, shortage: Shortage) -> None:
        super().__init__(shortage)
        self.shortage = shortage


class Movement(Struct):
    """What one step adds to a bucket, either sign. The window is None where the row is known to exist."""

    window: Window | None = None
    settled: int = 0
    held: int = 0


def key_of(touch: Touch) -> BucketKey:
    """Give the primary key of the bucket that is touched."""
    return (touch.budget.name, touch.budget.unit.value, touch.bucket, touch.window.key)


def grow(connection: sqlite3.Connection, touch: Touch, amount: int) -> None:
    """Hold `amount` more if `settled + held + amount <= limit` and the bucket is not shut. Raises `Short`."""
    key = key_of(touch)
    grown = connection.execute(_GROW, (*key, *_bounds(touch.window), amount, touch.budget.limit))
    if grown.rowcount != 1:
        row = connection.execute(_STANDING, key).fetchone()
        raise Short(Shortage(touch, standing_of(touch.budget, *row) if row else Standing()))


def move(connection: sqlite3.Connection, movements: dict[BucketKey, Movement]) -> None:
    """Add to buckets whatever their limits say."""
    connection.executemany(
        _MOVE,
        [
            (*key, *_bounds(movement.window), movement.settled, movement.held)
            for key, movement in movements.items()
            if movement.settled or movement.held
        ],
    )


def shut(connection: sqlite3.Connection, touches: Iterable[Touch]) -> None:
    """Mark buckets exhausted for every limit up to the present one."""
    for touch in touches:
        connection.execute(_SHUT, (*key_of(touch), *_bounds(touch.window), touch.budget.limit))


def standing_of(budget: Budget, settled: int, held: int, exhausted_limit: int | None) -> Standing:
    """Read a bucket's row under its budget's present limit."""
    return Standing(settled, held, exhausted_limit is not None and exhausted_limit >= budget.limit)


def add_held(movements: dict[BucketKey, Movement], touches: Iterable[Touch], sign: int) -> None:
    """Collect what touches hold, or with -1 give back."""
    for touch in touches:
        movement = movements.setdefault(key_of(touch), Movement())
        movement.window = touch.window
        movement.held += sign * touch.amount


def add_settled(movements: dict[BucketKey, Movement], touches: Iterable[Touch]) -> None:
    """Collect what touches book."""
    for touch in touches:
        movement = movements.setdefault(key_of(touch), Movement())
        movement.window = touch.window
        movement.settled += touch.amount


@lru_cache(maxsize=128)
def _bounds(window: Window | None) -> tuple[int | None, int | None]:
    if window is None:
        return None, None
    return optional_microseconds(window.start), optional_microseconds(window.end)
