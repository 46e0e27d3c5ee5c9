"""What was decided and not told is told by a later look, and by nobody before its decider had its time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from farebox.adapters.local.store import LocalStore
from farebox.adapters.local.thresholds import LocalThresholds
from farebox.domain.errors import StoreFault
from farebox.domain.record import booked_on
from farebox.jobs.alerts.budgets import RETOLD_AFTER, BudgetAlerts, TopicTeller
from farebox.jobs.alerts.words import AlertWords
from farebox.jobs.notify import Notifier
from farebox.jobs.thresholds import ThresholdWatch
from farebox.ports.behind import Alert
from tests.support.builders import FixedClock, a_record, a_resource
from tests.support.wings import open_store

SECOND = timedelta(seconds=1)
SPENT = 8_500_000_000_000


class Topic:
    """Remembers what it took, once it takes anything."""

    def __init__(self, *, is_away: bool = False) -> None:
        self.taken: list[Alert] = []
        self.is_away = is_away

    async def publish(self, alert: Alert) -> None:
        if self.is_away:
            raise StoreFault("sns: NotFound")
        self.taken.append(alert)


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
async def store(tmp_path: Path, clock: FixedClock) -> AsyncIterator[LocalStore]:
    opened = open_store(tmp_path, clock)
    await opened.policies.write(
        upserts=[a_resource("budget", "team-day", document=BUDGET)],
        deletes=[],
        expected_version=(await opened.policies.resources())[0],
        actor="test",
    )
    yield opened
    opened.close()


BUDGET = {"name": "team-day", "scope": {"workspace": ["platform"]}, "usd": "10", "period": "day"}


def alerts_over(store: LocalStore, topic: Topic, clock: FixedClock) -> BudgetAlerts:
    thresholds = LocalThresholds(store.database)
    watch = ThresholdWatch(thresholds, store.policies, store.reports, clock)
    teller = TopicTeller(topic, store.policies, AlertWords("test", None))
    return BudgetAlerts(watch, Notifier(thresholds, [teller], clock), thresholds, clock)


async def test_a_topic_that_was_away_is_told_later_and_once(store: LocalStore, clock: FixedClock) -> None:
    topic = Topic(is_away=True)
    alerts = alerts_over(store, topic, clock)
    record = a_record(charged_picodollars=SPENT)
    budgets = (await store.policies.current()).budgets
    await store.ledger.settle(record.id, record, booked_on(budgets, record))
    told, untold = await alerts.look([record])
    assert (told, untold > 0) == (0, True)

    topic.is_away = False
    clock.advance(RETOLD_AFTER - SECOND)
    assert await alerts.retell() == (0, 0)
    clock.advance(SECOND)
    assert await alerts.retell() == (untold, 0)
    assert await alerts.retell() == (0, 0)
    assert {alert.kind for alert in topic.taken} == {"budget_threshold"}
    assert len(topic.taken) == untold
