"""Tells of budgets on the topic: what was decided, in words, with the budget as the policy has it now."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from farebox.domain.budget.alert import Crossing
from farebox.domain.event import RequestFinished
from farebox.domain.record import RequestRecord
from farebox.jobs.alerts.words import AlertWords
from farebox.jobs.notify import Notifier
from farebox.jobs.thresholds import BATCH, ThresholdWatch
from farebox.ports import Clock, Policies, Thresholds
from farebox.ports.behind import AlertTopic

RETOLD_AFTER = timedelta(minutes=2)
"""Whoever decided a crossing has told it by then, or will not."""

UNTOLD_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class TopicTeller:
    """Tells one crossing. Raises `StoreFault` where the topic did not take it."""

    topic: AlertTopic
    policies: Policies
    words: AlertWords

    async def __call__(self, crossing: Crossing) -> None:
        """Publish it."""
        budgets = (await self.policies.current()).budgets
        budget = next((each for each in budgets if each.name == crossing.budget), None)
        await self.topic.publish(self.words.crossing(crossing, budget))


@dataclass(frozen=True, slots=True)
class BudgetAlerts:
    """Decides and tells; what is decided and could not be told is told by `retell` later."""

    watch: ThresholdWatch
    notifier: Notifier
    thresholds: Thresholds
    clock: Clock

    async def look(self, records: Sequence[RequestRecord]) -> tuple[int, int]:
        """Look at the buckets of requests; give how many crossings were told, and how many not.

        Raises `StoreFault` where the buckets could not be looked at.
        """
        told = untold = 0
        finished = [RequestFinished(record, record.exhausted_budget) for record in records]
        for start in range(0, len(finished), BATCH):
            done, missed = await self._tell(await self.watch.look_at(finished[start : start + BATCH]))
            told, untold = told + done, untold + missed
        return told, untold

    async def retell(self) -> tuple[int, int]:
        """Tell what was decided a while ago and not told; give how many were, and how many still are not."""
        before = self.clock.now() - RETOLD_AFTER
        found = await self.thresholds.untold(limit=UNTOLD_AT_ONCE)
        return await self._tell(crossing for crossing in found if crossing.at <= before)

    async def _tell(self, crossings: Iterable[Crossing]) -> tuple[int, int]:
        outcomes = [await self.notifier.tell(crossing) for crossing in crossings]
        return sum(outcomes), len(outcomes) - sum(outcomes)
