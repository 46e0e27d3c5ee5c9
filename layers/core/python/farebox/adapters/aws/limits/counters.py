"""Limit items: what all limits of one key, user or session count, so that most requests write one item.

A limit is a map under its key. Of a window it has `used`, the sum of its slots, and the slots by number in
hexadecimal; of a set it has members and the end of each, in microseconds. Slots and members that count for
nothing stay until somebody who saw them takes them away: `used` is never less than what counts, so a draw
that fits under it needs to have read nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TypeAlias, cast

from msgspec import Struct

from farebox.adapters.aws.codec import microseconds, short_key
from farebox.adapters.aws.dynamodb.actions import Action, Key
from farebox.adapters.aws.dynamodb.attributes import Item, Value
from farebox.adapters.aws.limits.writing import Writing
from farebox.adapters.aws.tables import EXPIRES_AT
from farebox.domain.budget.rate_limit import (
    AGENT_REMEMBERED,
    PERIODS,
    Draw,
    Level,
    LimitUnit,
    SlidingCount,
    member_level,
)
from farebox.domain.budget.rate_limit import slot_at as slot_number_at
from farebox.domain.budget.scope import Scope

PARTITION = "rate#"
USED = "used"
KEPT = max(*PERIODS.values(), AGENT_REMEMBERED) + timedelta(days=3)
"""How long an item outlives its last draw: longer than anything in it counts."""

ENTRIES_OF_A_WRITE = 90
"""So many that one write takes away or moves: its expressions have 4 KB."""

TAKEN_ALONG_FROM = 20
"""So many of them are worth a longer condition of a draw that would do without."""

Leases: TypeAlias = Mapping[LimitUnit, datetime]
Entries: TypeAlias = Mapping[str, int]

_MAX_NAME_BYTES = 200


class Counters(Struct, frozen=True):
    """One item, and what one step does to it. `draws` are all on it."""

    key: Key
    draws: tuple[Draw, ...]

    @property
    def name(self) -> str:
        """Tell items apart."""
        return cast(str, self.key["pk"])

    def parts(self, size: int) -> Iterator[Counters]:
        """Split a step on many draws into several."""
        for start in range(0, len(self.draws), size):
            yield Counters(self.key, self.draws[start : start + size])

    def levels(self, item: Item, now: datetime, leases: Leases, *, is_drawn: bool) -> dict[Draw, Level]:
        """Say where each draw stands by an item; `is_drawn` where the item has the draws already."""
        return {draw: _level(draw, item, now, leases, is_drawn) for draw in self.draws}

    def stale(self, item: Item, now: datetime) -> list[tuple[Draw, str, int]]:
        """Name what counts for nothing any more, but for what the draws themselves are about to write."""
        return [
            (draw, name, amount)
            for draw in self.draws
            for name, amount in _entries(item, draw).items()
            if name not in (USED, _own_name(draw, now)) and _is_stale(draw, name, amount, now)
        ]

    def draw(self, table: str, now: datetime, leases: Leases, item: Item | None) -> Writing:
        """Write all draws if they fit. `item` is what was read, None where nothing was: then the maps are
        taken to be there, and nothing is cleared away.
        """
        writing = Writing(table, self.key)
        cleared = self._clear_if_due(writing, item, now) if item is not None else {}
        absent = [draw for draw in self.draws if item is not None and draw.limit.key not in item]
        _begin(writing, absent, now, leases)
        for draw in self.draws:
            if draw in absent:
                continue
            if draw.limit.counts_members:
                _join(writing, draw, leases, len(cleared.get(draw, ())))
            else:
                _count(writing, draw, now, sum(cleared.get(draw, ())))
        writing.set(writing.path(EXPIRES_AT), writing.value(microseconds(now + KEPT) // 1_000_000))
        return writing

    def clear(self, table: str, item: Item, now: datetime) -> Action:
        """Take away what counts for nothing, as much as one write can."""
        writing = Writing(table, self.key)
        cleared = self.clear_into(writing, item, now)
        for draw, amounts in cleared.items():
            if not draw.limit.counts_members:
                _move(writing, draw, USED, -sum(amounts))
        return writing.action()

    def clear_into(self, writing: Writing, item: Item, now: datetime) -> dict[Draw, list[int]]:
        """Have a write take stale entries away, if they are as they were read; give their amounts."""
        cleared: dict[Draw, list[int]] = {}
        for draw, name, amount in self.stale(item, now)[:ENTRIES_OF_A_WRITE]:
            path = writing.path(draw.limit.key, name)
            writing.remove(path)
            writing.require(f"{path} = {writing.value(amount)}")
            cleared.setdefault(draw, []).append(amount)
        return cleared

    def _clear_if_due(self, writing: Writing, item: Item, now: datetime) -> dict[Draw, list[int]]:
        """Clear away where room is wanted or a good many entries have gathered. Who clears meets all others
        that do: one at a time would make as many tries futile each time that a slot leaves the window.
        """
        has_room = all(_fits_uncleared(draw, item) for draw in self.draws)
        if has_room and len(self.stale(item, now)) < TAKEN_ALONG_FROM:
            return {}
        return self.clear_into(writing, item, now)

    def correction(self, table: str, at: datetime, item: Item | None) -> Writing | None:
        """Change what was drawn at `at` and let members go, as far as they are there; None for nothing to do.

        Where nothing was read, all of it is taken to be there.
        """
        writing = Writing(table, self.key)
        for draw in self.draws:
            name = _own_name(draw, at)
            stored = None if item is None else _entries(item, draw).get(name, 0)
            if stored == 0:
                continue
            path = writing.path(draw.limit.key, name)
            if draw.limit.counts_members:
                writing.remove(path)
                writing.require(f"attribute_exists({path})")
                continue
            # A count is never less than nothing.
            change = draw.amount if stored is None else max(draw.amount, -stored)
            _move(writing, draw, name, change)
            _move(writing, draw, USED, change)
            writing.require(f"{path} >= {writing.value(max(1, -change))}")
        return writing if writing.does_anything else None

    def renewal(self, table: str, lease_until: datetime, item: Item | None) -> Writing | None:
        """Move leases of members that are there, never back; None for nothing to do."""
        writing, until_us = Writing(table, self.key), microseconds(lease_until)
        for draw in self.draws:
            name = _member_name(draw)
            if item is not None and not 0 < _entries(item, draw).get(name, 0) < until_us:
                continue
            path = writing.path(draw.limit.key, name)
            writing.set(path, writing.value(until_us))
            writing.require(f"{path} < {writing.value(until_us)}")
        return writing if writing.does_anything else None


def grouped(draws: Iterable[Draw]) -> list[Counters]:
    """Put together what is in one item."""
    together: dict[str, list[Draw]] = {}
    for draw in draws:
        name = short_key((_shared_by(draw.limit.scope), draw.bucket))
        together.setdefault(f"{PARTITION}{name}", []).append(draw)
    return [Counters({"pk": name, "sk": "-"}, tuple(each)) for name, each in together.items()]


def _shared_by(scope: Scope) -> object:
    """Say whose item it is: that of each key, say, whatever else the scope asks for. A scope with one bucket
    has its own: there may be many such, and each would weigh on all.
    """
    each = [dimension for dimension, patterns in scope.terms if patterns == ("*",)]
    return each or scope.terms


def _own_name(draw: Draw, moment: datetime) -> str:
    """Name the entry that a draw writes: its member, or the slot of the moment."""
    if draw.limit.counts_members:
        return _member_name(draw)
    return f"{slot_number_at(draw.limit, moment):x}"


def _member_name(draw: Draw) -> str:
    # Agents are named by clients; an empty name is none, and a name in an expression is short.
    if len(draw.member.encode()) <= _MAX_NAME_BYTES:
        return f"={draw.member}"
    return f"~{hashlib.sha256(draw.member.encode()).hexdigest()}"


def _entries(item: Item, draw: Draw) -> Entries:
    return cast(Entries, item.get(draw.limit.key, {}))


def _counted(item: Item, draw: Draw, now: datetime) -> SlidingCount:
    slots = ((int(name, 16), amount) for name, amount in _entries(item, draw).items() if name != USED)
    return SlidingCount(tuple(sorted(each for each in slots if each[1] > 0))).at(draw.limit, now)


def _is_stale(draw: Draw, name: str, amount: int, now: datetime) -> bool:
    if draw.limit.counts_members:
        return amount <= microseconds(now)
    return amount == 0 or not SlidingCount(((int(name, 16), amount),)).at(draw.limit, now).slots


def _fits_uncleared(draw: Draw, item: Item) -> bool:
    entries = _entries(item, draw)
    if draw.limit.counts_members:
        return len(entries.keys() | {_member_name(draw)}) <= draw.limit.limit
    return entries.get(USED, 0) + draw.amount <= draw.limit.limit


def _level(draw: Draw, item: Item, now: datetime, leases: Leases, is_drawn: bool) -> Level:
    if draw.limit.counts_members:
        own, now_us = _member_name(draw), microseconds(now)
        others = sum(until > now_us for name, until in _entries(item, draw).items() if name != own)
        return member_level(draw, others, leases[draw.limit.unit])
    count = _counted(item, draw, now)
    if is_drawn:
        return Level(draw, count.used, False, None, count.empty_at(draw.limit, now))
    return count.level(draw, now)


def _begin(writing: Writing, draws: Sequence[Draw], now: datetime, leases: Leases) -> None:
    """Write the first entries of limits that the item does not have yet."""
    limits: dict[str, dict[str, Value]] = {}
    for draw in draws:
        own, limit = _own_name(draw, now), limits.setdefault(draw.limit.key, {})
        if draw.limit.counts_members:
            limit[own] = microseconds(leases[draw.limit.unit])
        else:
            limit |= {USED: draw.amount, own: draw.amount}
    for key, entries in limits.items():
        path = writing.path(key)
        writing.set(path, writing.value(entries))
        writing.require(f"attribute_not_exists({path})")


def _count(writing: Writing, draw: Draw, now: datetime, cleared: int) -> None:
    """Add to the slot of the moment if what is counted leaves room, less what the same write clears away."""
    slot, amount = writing.path(draw.limit.key, _own_name(draw, now)), writing.value(draw.amount)
    writing.set(slot, f"if_not_exists({slot}, {writing.value(0)}) + {amount}")
    _move(writing, draw, USED, draw.amount - cleared)
    room = draw.limit.limit - draw.amount + cleared
    writing.require(f"{writing.path(draw.limit.key, USED)} <= {writing.value(room)}")


def _join(writing: Writing, draw: Draw, leases: Leases, cleared: int) -> None:
    """Add a member if there is a place, or move the end of one that is there."""
    members = writing.path(draw.limit.key)
    own = writing.path(draw.limit.key, _member_name(draw))
    writing.set(own, writing.value(microseconds(leases[draw.limit.unit])))
    limit = writing.value(draw.limit.limit + cleared)
    writing.require(f"attribute_exists({members})")
    # AND binds tighter: whoever is there already needs no place more.
    writing.require(f"size({members}) < {limit} OR attribute_exists({own}) AND size({members}) <= {limit}")


def _move(writing: Writing, draw: Draw, name: str, change: int) -> None:
    path = writing.path(draw.limit.key, name)
    writing.set(path, f"{path} + {writing.value(change)}")
