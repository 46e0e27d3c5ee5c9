"""A settlement that the store refused is tried again, in order and once."""

from __future__ import annotations

from pathlib import Path

from farebox.gateway.charging.backlog import Backlog
from farebox.gateway.settle import Settler
from tests.gateway.stage import a_file, a_stage, asking


def backlog_of(settler: Settler) -> Backlog:
    return settler.backlog


async def test_what_the_store_did_not_take_is_booked_when_it_is_back(tmp_path: Path) -> None:
    budget = {"name": "b", "scope": {}, "period": "day", "usd": 1}
    async with a_stage(tmp_path, a_file(budgets=[budget])) as stage:
        backlog = backlog_of(stage.gateway.settler)
        stage.ledger.failing = {"settle"}
        for _ in range(3):
            assert (await stage.ask(asking())).status == 200
        assert (len(backlog), await backlog.settle(), await stage.rows()) == (3, 0, [])
        stage.ledger.failing = set()
        assert (await backlog.settle(), len(backlog), await stage.held()) == (3, 0, 0)
        assert [row.outcome for row in await stage.rows()] == ["finished"] * 3
        assert await backlog.settle() == 0


async def test_a_request_that_no_budget_blocks_is_not_lost_either(tmp_path: Path) -> None:
    async with a_stage(tmp_path) as stage:
        stage.ledger.failing = {"reserve", "settle"}
        assert (await stage.ask(asking())).status == 200
        stage.ledger.failing = set()
        assert await backlog_of(stage.gateway.settler).settle() == 1
        assert len(await stage.rows()) == 1
