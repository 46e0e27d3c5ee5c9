"""Rate limits in DynamoDB: one conditional update where one item has all that a request draws on, else one
transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from farebox.adapters.aws.dynamodb.attributes import Item
from farebox.adapters.aws.dynamodb.errors import Unmet
from farebox.adapters.aws.dynamodb.items import Items
from farebox.adapters.aws.limits.counters import ENTRIES_OF_A_WRITE, Counters, Leases, grouped
from farebox.adapters.aws.limits.marks import TURN_S, is_crowded, is_marked, mark
from farebox.adapters.aws.limits.writing import Writing
from farebox.adapters.aws.tables import TableNames
from farebox.domain.budget.rate_limit import Draw, Level
from farebox.domain.errors import StoreFault
from farebox.ports import Clock

MAX_ROUNDS = 8
"""How often one step is made anew because what it had read has changed."""

CLEARED_FROM = 60
"""So many entries that count for nothing are worth a write of their own: as many as a window has slots."""

_RENEWED_AT_ONCE = 10
_MARK_DIGITS = 10
_REMEMBERED_MAX = 1_000


class DynamoRateLimits:
    """Fills `ports.RateLimiter`.

    A draw adds to counters as long as they leave room, whoever else added meanwhile: only a limit refuses,
    never a competitor. Levels of a draw on several items are what was read, and the draw itself; what others
    did in between is not in them.
    """

    def __init__(self, items: Items, tables: TableNames, clock: Clock) -> None:
        self._items, self._table, self._clock = items, tables.budgets, clock
        self._crowded_until_ms: dict[str, int] = {}

    async def admit(self, draws: Sequence[Draw], now: datetime, leases_until: Leases) -> Sequence[Level]:
        """Draw on every bucket, or on none when a level of the answer is short."""
        groups = grouped(draws)
        is_hopeless = any(draw.amount > draw.limit.limit for draw in draws)
        is_one_update = not is_hopeless and self._is_one_update([group.name for group in groups])
        step = self._draw_blindly if is_one_update else self._draw_knowingly
        levels = await step(groups, now, leases_until)
        return [levels[draw] for draw in draws]

    async def correct(self, draws: Sequence[Draw], at: datetime) -> None:
        """Add each amount to what was drawn at `at`, and let members go."""
        await self._write_what_is_left(
            grouped(draws), lambda group, item: group.correction(self._table, at, item)
        )

    async def renew(self, draws: Sequence[Draw], lease_until: datetime) -> None:
        """Move the lease of members that are still there; never back. Each bucket is a step of its own."""
        parts = [part for group in grouped(draws) for part in group.parts(ENTRIES_OF_A_WRITE)]
        for start in range(0, len(parts), _RENEWED_AT_ONCE):
            await asyncio.gather(
                *(
                    self._write_what_is_left(
                        [part], lambda group, item: group.renewal(self._table, lease_until, item)
                    )
                    for part in parts[start : start + _RENEWED_AT_ONCE]
                )
            )

    async def _draw_blindly(
        self, groups: Sequence[Counters], now: datetime, leases: Leases
    ) -> Mapping[Draw, Level]:
        """Draw on the one item without having read it; a refusal says what is there."""
        (group,) = groups
        item: Item | None = None
        for _ in range(MAX_ROUNDS):
            token = self._new_mark()
            writing = group.draw(self._table, now, leases, item)
            try:
                after = await self._change(group.name, writing, token)
            except Unmet as unmet:
                item = unmet.item(0) or {}
                if is_marked(item, token):
                    return group.levels(item, now, leases, is_drawn=True)
                levels = group.levels(item, now, leases, is_drawn=False)
                if any(level.is_short for level in levels.values()):
                    return levels
                item = await self._cleared(group, item, now)
            else:
                if len(group.stale(after, now)) >= CLEARED_FROM:
                    await self._cleared(group, after, now)
                return group.levels(after, now, leases, is_drawn=True)
        raise _restless(groups)

    async def _draw_knowingly(
        self, groups: Sequence[Counters], now: datetime, leases: Leases
    ) -> Mapping[Draw, Level]:
        """Read, and draw on all items in one transaction if everything fits."""
        found = await self._items.get_many(self._table, [group.key for group in groups])
        items = {group.name: Item() for group in groups} | {str(item["pk"]): item for item in found}
        for _ in range(MAX_ROUNDS):
            levels: dict[Draw, Level] = {}
            for group in groups:
                levels |= group.levels(items[group.name], now, leases, is_drawn=False)
            if any(level.is_short for level in levels.values()):
                return levels
            writings = [group.draw(self._table, now, leases, items[group.name]) for group in groups]
            try:
                await self._items.transact([writing.action() for writing in writings])
            except Unmet as unmet:
                for number, group in enumerate(groups):
                    if unmet.failed(number):
                        items[group.name] = await self._cleared(group, unmet.item(number) or {}, now)
            else:
                return levels
        raise _restless(groups)

    async def _cleared(self, group: Counters, item: Item, now: datetime) -> Item:
        """Clear away so much of what counts for nothing that a draw can take the rest along."""
        for _ in range(MAX_ROUNDS):
            if len(group.stale(item, now)) < CLEARED_FROM:
                break
            try:
                item = await self._items.change(group.clear(self._table, item, now))
            except Unmet as unmet:
                item = unmet.item(0) or {}
        return item

    async def _write_what_is_left(
        self, groups: Sequence[Counters], write: Callable[[Counters, Item | None], Writing | None]
    ) -> None:
        """Write what there is to write, first as if all of it was there, then as what is there is known."""
        known: dict[str, Item] = {}
        for _ in range(MAX_ROUNDS):
            wanted = ((group.name, write(group, known.get(group.name))) for group in groups)
            writings = {name: writing for name, writing in wanted if writing is not None}
            token = self._new_mark()
            try:
                if self._is_one_update(list(writings)):
                    await self._change(*next(iter(writings.items())), token)
                elif writings:
                    await self._items.transact([writing.action() for writing in writings.values()])
            except Unmet as unmet:
                for number, name in enumerate(writings):
                    if unmet.failed(number):
                        known[name] = unmet.item(number) or {}
                if any(is_marked(item, token) for item in known.values()):
                    return
            else:
                return
        raise _restless(groups)

    def _is_one_update(self, names: Sequence[str]) -> bool:
        """Say whether a step is best done as an update: on one item, and not one that everybody writes."""
        if len(names) != 1:
            return False
        if self._crowded_until_ms.get(names[0], 0) > self._clock.monotonic_ms():
            return False
        self._crowded_until_ms.pop(names[0], None)
        return True

    async def _change(self, name: str, writing: Writing, token: str) -> Item:
        mark(writing, token, self._clock.now())
        item = await self._items.change(writing.action())
        if is_crowded(item):
            if len(self._crowded_until_ms) >= _REMEMBERED_MAX:
                self._crowded_until_ms.clear()
            self._crowded_until_ms[name] = self._clock.monotonic_ms() + TURN_S * 1000
        return item

    def _new_mark(self) -> str:
        return self._items.token()[:_MARK_DIGITS]


def _restless(groups: Sequence[Counters]) -> StoreFault:
    return StoreFault(f"rate limits of {len(groups)} buckets kept changing under {MAX_ROUNDS} steps")
