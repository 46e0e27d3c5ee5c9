"""Tells of budgets on the topic: what was decided, in words, with the budget as the policy has it now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import timedelta

from msgspec import Struct, field

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

RETOLD_AT_ONCE = 100
UNTOLD_MAX = 1_000

FAULTS_MAX = 3
"""After so many in a row the topic is away, and asking on would take longer than the function may."""


class TopicTeller(Struct, frozen=True):
    """Tells one crossing. Raises `StoreFault` where the topic did not take it."""

    topic: AlertTopic
    policies: Policies
    words: AlertWords

    async def __call__(self, crossing: Crossing) -> None:
        """Publish it."""
        budgets = (await self.policies.current()).budgets
        budget = next((each for each in budgets if each.name == crossing.budget), None)
        await self.topic.publish(self.words.crossing(crossing, budget))


class BudgetAlerts(Struct, frozen=True):
    """Decides and tells; what is decided and could not be told is told by `retell` later."""

    watch: ThresholdWatch
    notifier: Notifier
    thresholds: Thresholds
    clock: Clock
    missed: Counter[tuple[str, str, str, str, int, int]] = field(default_factory=Counter)

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
        """Tell what was decided a while ago and not told; give how many were, and how many still are not.

        What was not taken before comes behind the others, and what is old behind what is new: nothing that is
        never taken keeps others from being told.
        """
        before = self.clock.now() - RETOLD_AFTER
        found = await self.thresholds.untold(limit=UNTOLD_MAX)
        due = sorted(
            (crossing for crossing in reversed(found) if crossing.at <= before),
            key=lambda crossing: self.missed[crossing.identity],
        )
        told, missed = await self._tell(due[:RETOLD_AT_ONCE])
        return told, missed + len(due[RETOLD_AT_ONCE:])

    async def _tell(self, crossings: Iterable[Crossing]) -> tuple[int, int]:
        told = missed = faults = 0
        for crossing in crossings:
            if faults == FAULTS_MAX:
                missed += 1
            elif await self.notifier.tell(crossing):
                self.missed.pop(crossing.identity, None)
                told, faults = told + 1, 0
            else:
                self.missed[crossing.identity] += 1
                missed, faults = missed + 1, faults + 1
        return told, missed
