"""What was decided and not told is told by a later look, and by nobody before its decider had its time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from farebox.adapters.local.store import LocalStore
from farebox.adapters.local.thresholds import LocalThresholds
from farebox.domain.budget.alert import Crossing, crossings
from farebox.domain.record import booked_on
from farebox.jobs.alerts.budgets import RETOLD_AFTER, RETOLD_AT_ONCE, BudgetAlerts, TopicTeller
from farebox.jobs.alerts.words import AlertWords
from farebox.jobs.notify import Notifier
from farebox.jobs.thresholds import OLD_AFTER, ThresholdWatch
from tests.support.alerts import Topic
from tests.support.builders import FixedClock, a_budget, a_record, a_resource, a_scope
from tests.support.wings import open_store

SECOND, DAY = timedelta(seconds=1), timedelta(days=1)
SPENT = 8_500_000_000_000


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


async def test_what_is_never_taken_keeps_nothing_else_from_being_told(
    store: LocalStore, clock: FixedClock
) -> None:
    topic = Topic(refuses=lambda alert: "evil" in alert.text)
    alerts = alerts_over(store, topic, clock)
    evil = [untold_crossing(f"evil-{number}", at=clock.now()) for number in range(2 * RETOLD_AT_ONCE)]
    good = untold_crossing("good", at=clock.now() + SECOND)
    await LocalThresholds(store.database).decide([*evil, good])
    clock.advance(RETOLD_AFTER + SECOND)
    assert await alerts.retell() == (1, len(evil))
    older = untold_crossing("older", at=clock.now() - DAY)
    await LocalThresholds(store.database).decide([older])
    told = [(await alerts.retell())[0] for _ in evil]
    assert sum(told) == 1


async def test_a_topic_that_is_away_is_asked_a_few_times_and_not_for_each_of_many(
    store: LocalStore, clock: FixedClock
) -> None:
    topic = Topic(is_away=True)
    alerts = alerts_over(store, topic, clock)
    many = [untold_crossing(f"key-{number}", at=clock.now()) for number in range(50)]
    await LocalThresholds(store.database).decide(many)
    clock.advance(RETOLD_AFTER)
    assert await alerts.retell() == (0, len(many))
    assert topic.asked < 10


async def test_rows_that_are_sent_again_weeks_later_tell_nothing_of_windows_long_over(
    store: LocalStore, clock: FixedClock
) -> None:
    topic = Topic()
    record = a_record(charged_picodollars=SPENT)
    budgets = (await store.policies.current()).budgets
    await store.ledger.settle(record.id, record, booked_on(budgets, record))
    clock.advance(DAY + OLD_AFTER)
    assert await alerts_over(store, topic, clock).look([record]) == (0, 0)


def untold_crossing(bucket: str, *, at: datetime) -> Crossing:
    budget = a_budget(usd=10, alerts=(50,), scope=a_scope(key="*"))
    [crossing] = crossings(budget, bucket, budget.window_at(at), 6_000_000_000_000, at)
    return crossing
