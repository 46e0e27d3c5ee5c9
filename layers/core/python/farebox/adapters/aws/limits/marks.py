"""Marks of recent writes on an item, so that an update whose answer was lost is known when it comes again.

A transaction has a client token for that; an update of one item adds to counters and has none. Marks are kept
in three sets by turns: who writes in one turn takes the oldest away without looking, and what is left is
older than any try of a call that may still be under way.
"""

from __future__ import annotations

from datetime import datetime
from typing import cast

from farebox.adapters.aws.codec import microseconds
from farebox.adapters.aws.dynamodb.attributes import Item
from farebox.adapters.aws.limits.writing import Writing

TURN_S = 6
"""A mark is there for at least one turn: the client's last try ends 6 s after its first begins."""

MARKS_MAX = 40
"""More of them make an item large; then a transaction, which has a token and leaves none, is cheaper."""

_NAMES = ("m0", "m1", "m2")


def mark(writing: Writing, token: str, now: datetime) -> None:
    """Leave a mark with a write, which then happens once."""
    turn = microseconds(now) // 1_000_000 // TURN_S
    marks = writing.path(_NAMES[turn % len(_NAMES)])
    value = writing.value(token)
    writing.add(marks, writing.value(frozenset({token})))
    writing.remove(writing.path(_NAMES[(turn + 1) % len(_NAMES)]))
    writing.require(f"attribute_not_exists({marks}) OR NOT contains({marks}, {value})")


def is_marked(item: Item, token: str) -> bool:
    """Say whether a write has left its mark."""
    return any(token in marks for marks in _marks(item))


def is_crowded(item: Item) -> bool:
    """Say whether so many write an item that their marks weigh more than what it counts."""
    return sum(map(len, _marks(item))) > MARKS_MAX


def _marks(item: Item) -> list[frozenset[str]]:
    return [cast(frozenset[str], item[name]) for name in _NAMES if name in item]
