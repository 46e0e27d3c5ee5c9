"""Watches budgets from behind the requests: each threshold that a bucket reaches is decided once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from farebox.domain.budget import Budget, Window
from farebox.domain.budget.alert import Crossing, crossings
from farebox.domain.errors import StoreFault
from farebox.domain.event import BudgetThresholdCrossed, Event, RequestFinished
from farebox.ports import Clock, Drawn, EventBus, Policies, Reports, Thresholds

BATCH = 50
AGAIN_AFTER_S = 5
OLD_AFTER = timedelta(days=1)
"""What is booked later than this behind a window's end is sent again for the sums, and no news to anybody."""

REMEMBERED_MAX = 10_000

_log = logging.getLogger("farebox.thresholds")


class ThresholdWatch:
    """A listener that only takes notes, and `run`, which decides.

    Deciding reads the buckets as they stand, so that requests which end together are looked at together,
    and what a stopped process left undecided is found when the next one starts.
    """

    def __init__(self, thresholds: Thresholds, policies: Policies, reports: Reports, clock: Clock) -> None:
        self._thresholds, self._policies, self._reports = thresholds, policies, reports
        self._clock = clock
        self._finished: list[RequestFinished] = []
        self._woken = asyncio.Event()
        self._decided: set[tuple[str, str, str, str, int, int]] = set()

    def __call__(self, event: Event) -> None:
        """Note a request that was booked."""
        if isinstance(event, RequestFinished):
            self._finished.append(event)
            self._woken.set()

    async def run(self, events: EventBus) -> None:
        """Decide and tell until cancelled. A store that cannot answer is asked again later."""
        is_caught_up = False
        while True:
            try:
                if not is_caught_up:
                    await self._emit(await self.catch_up(), events)
                    is_caught_up = True
                await self._woken.wait()
                while self._finished:
                    await self._emit(await self.decide(), events)
                self._woken.clear()
            except StoreFault as fault:
                _log.warning("thresholds are not looked at: %s", fault)
                await asyncio.sleep(AGAIN_AFTER_S)

    async def decide(self) -> list[Crossing]:
        """Look at the buckets of the oldest requests noted so far, a batch of them; give what nobody had
        decided before.

        It is given before the next batch is looked at, since the store never gives it again.
        """
        batch = self._finished[:BATCH]
        decided = await self.look_at(batch)
        # Only now: a store that fails finds them again.
        del self._finished[: len(batch)]
        return decided

    async def catch_up(self) -> list[Crossing]:
        """Look at the present window of every bucket."""
        policy, now = await self._policies.current(), self._clock.now()
        standings = await self._reports.standings(policy.budgets, now)
        budgets = {budget.name: budget for budget in policy.budgets}
        reached = (
            crossing
            for each in standings
            for crossing in crossings(
                budgets[each.budget.name].in_force(each.bucket, now),
                each.bucket,
                each.budget.window_at(now),
                each.standing.settled,
                now,
            )
        )
        return await self._new(reached)

    async def look_at(self, finished: Sequence[RequestFinished]) -> list[Crossing]:
        """Look at the buckets of these requests; give what nobody had decided before. Raises `StoreFault`."""
        policy, now = await self._policies.current(), self._clock.now()
        budgets = {budget.name: budget for budget in policy.budgets}
        drawn = [
            (each, False) for each in await self._thresholds.drawn([each.record.id for each in finished])
        ]
        for refused in (each for each in finished if each.exhausted_budget is not None):
            # Only that request's own bucket of the budget that said no is at its end.
            own = await self._thresholds.drawn([refused.record.id])
            drawn += [(each, True) for each in own if each.budget == refused.exhausted_budget]
        reached: list[Crossing] = []
        for each, is_refusal in drawn:
            budget = budgets.get(each.budget)
            if budget is not None and budget.unit.value == each.unit:
                reached += _reached(budget.in_force(each.bucket, now), each, now, is_refusal)
        return await self._new(reached)

    async def _new(self, reached: Iterable[Crossing]) -> list[Crossing]:
        unknown = [each for each in reached if each.identity not in self._decided]
        if not unknown:
            return []
        decided = list(await self._thresholds.decide(unknown))
        if len(self._decided) > REMEMBERED_MAX:
            self._decided.clear()
        self._decided.update(each.identity for each in unknown)
        return decided

    async def _emit(self, decided: Iterable[Crossing], events: EventBus) -> None:
        for crossing in decided:
            await events.emit(BudgetThresholdCrossed(crossing))


def _reached(budget: Budget, drawn: Drawn, now: datetime, is_refusal: bool) -> tuple[Crossing, ...]:
    window = _window(budget, drawn.window_key)
    if window is None or (window.end is not None and window.end + OLD_AFTER < now):
        return ()
    is_marked = drawn.marked_limit is not None and drawn.marked_limit >= budget.limit
    return crossings(budget, drawn.bucket, window, drawn.settled, now, is_exhausted=is_marked or is_refusal)


def _window(budget: Budget, key: str) -> Window | None:
    """Give the window of this name; None when the budget has other windows by now."""
    try:
        moment = datetime.fromisoformat(key)
    except ValueError:
        moment = datetime.fromisoformat("1970-01-01T00:00:00Z")  # a total has but one window
    window = budget.window_at(moment)
    return window if window.key == key else None
