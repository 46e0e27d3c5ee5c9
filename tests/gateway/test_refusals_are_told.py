"""A budget that closes is told to whoever watches thresholds; one that does not fit a request is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from farebox.adapters.local.thresholds import LocalThresholds
from farebox.domain.event import Event
from farebox.jobs.thresholds import ThresholdWatch
from tests.gateway.stage import a_file, a_stage, asking

WIDE = {"name": "wide", "scope": {}, "usd": 50, "period": "day"}


@pytest.mark.parametrize(("usd", "told"), [("0", [("small", 100)]), ("0.000001", [])])
async def test_a_refusal_is_the_end_of_a_budget_only_where_nothing_is_left(
    tmp_path: Path, usd: str, told: list[tuple[str, int]]
) -> None:
    seen: list[Event] = []
    budgets = [{"name": "small", "scope": {}, "usd": usd, "period": "day"}, WIDE]
    async with a_stage(tmp_path, a_file(budgets=budgets), listeners=[seen.append]) as stage:
        assert (await stage.ask(asking())).status == 402
        await stage.events.drain()
        # A deployment's listeners hear of it from the row alone.
        [row] = await stage.rows()
        assert row.exhausted_budget == (told[0][0] if told else None)
        thresholds = LocalThresholds(stage.store.database)
        watch = ThresholdWatch(thresholds, stage.store.policies, stage.store.reports, stage.clock)
        for event in seen:
            watch(event)
        assert [(crossing.budget, crossing.threshold) for crossing in await watch.decide()] == told
