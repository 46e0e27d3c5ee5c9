"""I29: while the store is away, what a budget blocks is refused; the rest goes on, and the log books it."""

from __future__ import annotations

import json
from pathlib import Path

import httpx2
import pytest
from fastapi import Depends, FastAPI, Request

from farebox.http.admin.budgets.replay_routes import replay_router
from tests.gateway.stage import Stage, a_file, a_stage, asking

EVERYTHING = {"reserve", "top_up", "renew", "void", "settle", "exhaust", "expired_holds"}
BLOCKING = {"name": "blocks", "scope": {}, "period": "day", "usd": 1}
ALERTING = {"name": "alerts", "scope": {}, "period": "day", "usd": 1, "on_exhausted": "alert"}


def logged(caplog: pytest.LogCaptureFixture) -> list[object]:
    """Give the records in the log, as `farebox replay` reads them."""
    found = (record.getMessage().partition("; record: ")[2] for record in caplog.records)
    return [json.loads(text) for text in found if text]


def let_in(request: Request) -> None:
    request.state.actor = "admin:root"


async def replayed(stage: Stage, records: list[object]) -> object:
    app = FastAPI(dependencies=[Depends(let_in)])
    app.include_router(replay_router(stage.admin))
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://admin.example") as client:
        return (await client.post("/v1/ledger/replay", json={"records": records})).json()


async def test_a_budget_that_blocks_refuses_with_503_and_the_provider_sees_nothing(tmp_path: Path) -> None:
    async with a_stage(tmp_path, a_file(budgets=[BLOCKING, ALERTING])) as stage:
        stage.ledger.failing = set(EVERYTHING)
        assert (await stage.ask(asking())).error[:2] == (503, "api_error")
        assert stage.upstream.sent == []
        stage.ledger.failing = set()


async def test_where_budgets_only_alert_traffic_passes_and_the_log_books_it_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with a_stage(tmp_path, a_file(budgets=[ALERTING])) as stage:
        stage.ledger.failing = set(EVERYTHING)
        for _ in range(3):
            told = await stage.ask(asking())
            assert (told.status, told.is_whole) == (200, True)
        assert (await stage.rows(), await stage.settled()) == ([], {})
        stage.ledger.failing = set()
        records = logged(caplog)
        assert len(records) == 3
        for _ in range(2):
            assert await replayed(stage, records) == {"replayed": 3}
        rows = await stage.rows()
        assert [row.outcome for row in rows] == ["finished"] * 3
        noted = (await stage.admin.reports.audit(limit=2)).rows
        assert [(entry.actor, entry.action) for entry in noted] == [("admin:root", "replay")] * 2
        assert await stage.settled() == {("alerts", ""): sum(row.charged_picodollars for row in rows)}
