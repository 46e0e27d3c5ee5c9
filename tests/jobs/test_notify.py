"""Crossings are told at least once, over restarts and failures, and nothing that is told is a secret."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from farebox.adapters.local.thresholds import LocalThresholds
from farebox.domain.budget.alert import Crossing, crossings
from farebox.domain.event import BudgetThresholdCrossed, RequestFinished
from farebox.jobs.notify import UNTOLD_AT_ONCE, CrossingLog, Notifier, NotTold, crossing_document
from tests.support.builders import NOON, FixedClock, a_budget, a_record, a_scope
from tests.support.wings import open_store

PER_KEY = a_budget(usd=10, alerts=(50, 80), scope=a_scope(key="*"))


def two_crossings() -> tuple[Crossing, Crossing]:
    window = PER_KEY.window_at(NOON)
    first, second = crossings(PER_KEY, "platform/alice", window, 8_500_000_000_000, NOON)
    return first, second


class Teller:
    """Remembers whom it told, and fails as often as it is asked to."""

    def __init__(self, failures: int = 0) -> None:
        self.told: list[int] = []
        self.failures = failures

    async def __call__(self, crossing: Crossing) -> None:
        self.told.append(crossing.threshold)
        if self.failures > 0:
            self.failures -= 1
            raise NotTold("the webhook answered with status 500")


@pytest.fixture
async def thresholds(tmp_path: Path) -> AsyncIterator[LocalThresholds]:
    store = open_store(tmp_path)
    yield LocalThresholds(store.database)
    store.close()


async def run_until_told(notifier: Notifier, teller: Teller, count: int) -> None:
    running = asyncio.create_task(notifier.run())
    async with asyncio.timeout(10):
        while len(teller.told) < count:
            await asyncio.sleep(0)
        for _ in range(50):
            await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_what_is_decided_is_told_once_and_noted(thresholds: LocalThresholds) -> None:
    decided = await thresholds.decide(two_crossings())
    teller = Teller()
    notifier = Notifier(thresholds, [teller], FixedClock())
    for crossing in decided:
        notifier(BudgetThresholdCrossed(crossing))
    notifier(RequestFinished(a_record()))
    # It also finds the same two among the untold: they are told once all the same.
    await run_until_told(notifier, teller, 2)
    assert teller.told == [50, 80]
    assert await thresholds.untold() == []


async def test_what_a_dead_process_left_untold_is_told_at_the_next_start(thresholds: LocalThresholds) -> None:
    first, second = await thresholds.decide(two_crossings())
    await thresholds.told(first, NOON)
    assert await thresholds.untold() == [second]
    teller = Teller()
    await run_until_told(Notifier(thresholds, [teller], FixedClock()), teller, 1)
    assert teller.told == [80]
    assert await thresholds.untold() == []


async def test_more_than_one_page_of_untold_ones_is_told_and_no_longer_remembered(
    thresholds: LocalThresholds,
) -> None:
    budget = a_budget(usd=10, alerts=(50,), scope=a_scope(key="*"))
    window, settled = budget.window_at(NOON), 5_000_000_000_000
    reached = [
        crossing
        for number in range(2 * UNTOLD_AT_ONCE + 1)
        for crossing in crossings(budget, f"platform/{number}", window, settled, NOON)
    ]
    await thresholds.decide(reached)
    teller = Teller()
    notifier = Notifier(thresholds, [teller], FixedClock())
    await run_until_told(notifier, teller, len(reached))
    assert await thresholds.untold() == []
    # Its memory of what it has taken is empty again, or this would not be told.
    notifier(BudgetThresholdCrossed(reached[0]))
    await run_until_told(notifier, teller, len(reached) + 1)
    assert teller.told == [50] * (len(reached) + 1)


async def test_what_could_not_be_told_stays_untold_and_does_not_hold_up_the_others(
    thresholds: LocalThresholds, caplog: pytest.LogCaptureFixture
) -> None:
    first, _ = await thresholds.decide(two_crossings())
    teller = Teller(failures=1)
    await run_until_told(Notifier(thresholds, [teller], FixedClock()), teller, 2)
    assert teller.told == [50, 80]
    assert await thresholds.untold() == [first]
    assert "budget everyone-day at 50 %: not everybody was told: the webhook answered" in caplog.text
    again = Teller()
    await run_until_told(Notifier(thresholds, [again], FixedClock()), again, 1)
    assert again.told == [50]


async def test_the_first_note_of_having_told_stands(thresholds: LocalThresholds) -> None:
    first, second = await thresholds.decide(two_crossings())
    for crossing in (first, second, first):
        await thresholds.told(crossing, NOON + timedelta(seconds=crossing.threshold))
    assert await thresholds.untold() == []
    assert await thresholds.decide(two_crossings()) == []


async def test_a_crossing_is_one_line_of_the_log() -> None:
    lines: list[str] = []
    first, _ = two_crossings()
    await CrossingLog(lines.append)(first)
    (line,) = lines
    assert "\n" not in line
    assert json.loads(line) == {
        "event": "budget_threshold",
        "at": "2026-11-23T12:00:00.000000Z",
        "text": "Budget 'everyone-day' (alice) has reached 50 %: $8.50 of $10.00 spent. "
        "It resets at 2026-11-24T00:00:00Z.",
        "budget": "everyone-day",
        "bucket": "alice",
        "threshold": 50,
        "unit": "usd",
        "settled": "8.5",
        "limit": "10",
        "settled_usd": "8.5",
        "limit_usd": "10",
        "window": "2026-11-23T00:00:00Z",
        "resets_at": "2026-11-24T00:00:00Z",
    }


def test_a_token_budget_has_no_dollars() -> None:
    budget = a_budget(tokens=10, alerts=(50,), period="total")
    (crossing,) = crossings(budget, "", budget.window_at(NOON), 5, NOON)
    told = crossing_document(crossing)
    assert (told["settled"], told["limit"], told["settled_usd"], told["limit_usd"]) == (5, 10, None, None)
    assert (told["window"], told["resets_at"]) == ("total", None)
