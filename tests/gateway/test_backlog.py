"""A settlement that the store refused is tried again, in order and once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from farebox.domain.budget import Touch
from farebox.domain.errors import StoreFault
from farebox.domain.record import RequestRecord
from farebox.gateway.charging.backlog import Backlog
from farebox.gateway.settle import Settler
from farebox.ports import Ledger
from tests.gateway.peers import FaultyLedger
from tests.gateway.stage import a_file, a_stage, asking
from tests.support.builders import a_record


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


class PickyLedger(FaultyLedger):
    """Never takes the requests in `refused`."""

    def __init__(self, ledger: Ledger, refused: set[str], error: Exception) -> None:
        super().__init__(ledger)
        self.refused, self.error = refused, error

    async def settle(self, request_id: str, record: RequestRecord, booked: Sequence[Touch]) -> None:
        self.calls.append(request_id)
        if request_id in self.refused:
            raise self.error
        await self.ledger.settle(request_id, record, booked)


@pytest.mark.parametrize("error", [OverflowError("int too large"), StoreFault("SQLITE_CONSTRAINT")])
async def test_what_can_never_be_booked_does_not_block_the_others(tmp_path: Path, error: Exception) -> None:
    async with a_stage(tmp_path) as stage:
        ledger = PickyLedger(stage.store.ledger, {"req_1"}, error)
        backlog = Backlog(ledger)
        for number in (1, 2, 3):
            backlog.add(a_record(f"req_{number}"), ())
        assert (await backlog.settle(), len(backlog)) == (2, 1)
        assert sorted(row.id for row in await stage.rows()) == ["req_2", "req_3"]
        ledger.refused = set()
        assert (await backlog.settle(), len(backlog)) == (1, 0)


async def test_a_store_that_fails_twice_in_a_row_is_not_asked_for_every_one(tmp_path: Path) -> None:
    async with a_stage(tmp_path) as stage:
        ledger = PickyLedger(stage.store.ledger, {"req_1", "req_2", "req_3"}, StoreFault("locked"))
        backlog = Backlog(ledger)
        for number in range(1, 6):
            backlog.add(a_record(f"req_{number}"), ())
        assert (await backlog.settle(), ledger.calls) == (0, ["req_1", "req_2"])
        # However many it never takes, the others have their turn.
        assert (await backlog.settle(), len(backlog)) == (2, 3)


async def test_what_fails_for_another_reason_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with a_stage(tmp_path) as stage:
        backlog = Backlog(PickyLedger(stage.store.ledger, {"req_1"}, OverflowError("int too large")))
        backlog.add(a_record("req_1"), ())
        assert await backlog.settle() == 0
    assert "req_1 cannot be booked" in caplog.text


class SlowLedger(FaultyLedger):
    """Lets everybody else run before it books."""

    async def settle(self, request_id: str, record: RequestRecord, booked: Sequence[Touch]) -> None:
        self.calls.append(request_id)
        await asyncio.sleep(0)
        await self.ledger.settle(request_id, record, booked)


async def test_whoever_tries_at_the_same_time_books_each_once_and_loses_none(tmp_path: Path) -> None:
    async with a_stage(tmp_path) as stage:
        ledger = SlowLedger(stage.ledger)
        backlog = Backlog(ledger)
        for number in range(5):
            backlog.add(a_record(f"r{number}"), [])
        assert sum(await asyncio.gather(*(backlog.settle() for _ in range(3)))) == 5
        assert (len(backlog), sorted(ledger.calls)) == (0, [f"r{number}" for number in range(5)])
        assert len(await stage.rows()) == 5


async def test_what_is_being_tried_when_its_process_stops_still_waits(tmp_path: Path) -> None:
    async with a_stage(tmp_path) as stage:
        backlog = Backlog(SlowLedger(stage.ledger))
        backlog.add(a_record("r1"), [])
        trying = asyncio.create_task(backlog.settle())
        await asyncio.sleep(0)
        trying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await trying
        assert (len(backlog), await backlog.settle()) == (1, 1)
