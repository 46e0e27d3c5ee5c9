"""Holds that dead processes left are booked, once, and a store that fails is tried again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from farebox.domain.budget import Touch
from farebox.domain.errors import StoreFault
from farebox.domain.event import Event, RequestFinished
from farebox.domain.record import RequestRecord
from farebox.gateway.charging.leases import Leases
from farebox.jobs.sweep import BATCH, Sweeper
from farebox.ports import Hold
from tests.gateway.peers import FaultyLedger
from tests.support.builders import FixedClock, a_budget, a_hold, a_record, a_touch
from tests.support.wings import Wing, local_wing, open_store

HELD = 300_000_000


class Listener:
    """An event bus that remembers."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    async def emit(self, event: Event) -> None:
        self.events.append(event)


@pytest.fixture
async def wing(tmp_path: Path) -> AsyncIterator[Wing]:
    clock = FixedClock()
    store = open_store(tmp_path, clock)
    yield local_wing(store, clock)
    assert await store.reports.verify() == []
    store.close()


async def leave(wing: Wing, number: int) -> Hold:
    hold = a_hold(f"req_{number}", a_touch(HELD))
    assert await wing.ledger.reserve(hold) is None
    return hold


async def settled(wing: Wing) -> tuple[int, int]:
    [standing] = await wing.reports.standings([a_budget()], wing.clock.now())
    return standing.standing.settled, standing.standing.held


async def test_a_hold_is_left_alone_while_its_lease_runs(wing: Wing) -> None:
    await leave(wing, 1)
    wing.clock.advance(timedelta(seconds=59))
    listener = Listener()
    assert await Sweeper(wing.ledger, wing.policies, listener, wing.clock).sweep() == 0
    assert (await settled(wing), listener.events) == ((0, HELD), [])


async def test_a_hold_whose_lease_ran_out_is_booked_whole_and_told(wing: Wing) -> None:
    hold = await leave(wing, 1)
    wing.clock.advance(timedelta(seconds=60))
    listener = Listener()
    assert await Sweeper(wing.ledger, wing.policies, listener, wing.clock).sweep() == 1
    assert await settled(wing) == (HELD, 0)
    assert listener.events == [RequestFinished(hold.draft)]
    assert list((await wing.reports.requests()).rows) == [hold.draft]


async def test_two_sweepers_at_once_book_a_hold_once(wing: Wing) -> None:
    for number in range(5):
        await leave(wing, number)
    wing.clock.advance(timedelta(seconds=60))
    sweepers = [Sweeper(wing.ledger, wing.policies, Listener(), wing.clock) for _ in range(2)]
    await asyncio.gather(*(sweeper.sweep() for sweeper in sweepers))
    assert await settled(wing) == (5 * HELD, 0)
    assert len((await wing.reports.requests()).rows) == 5


async def test_more_holds_than_fit_in_a_batch_are_all_booked(wing: Wing) -> None:
    for number in range(BATCH + 1):
        await leave(wing, number)
    wing.clock.advance(timedelta(seconds=60))
    assert await Sweeper(wing.ledger, wing.policies, Listener(), wing.clock).sweep() == BATCH + 1
    assert await settled(wing) == ((BATCH + 1) * HELD, 0)


async def test_a_request_that_settles_while_the_sweeper_looks_is_booked_at_its_own_cost(wing: Wing) -> None:
    await leave(wing, 1)
    wing.clock.advance(timedelta(seconds=60))
    ledger = Quicker(wing)
    await Sweeper(ledger, wing.policies, Listener(), wing.clock).sweep()
    assert await settled(wing) == (7, 0)
    assert [row.charged_picodollars for row in (await wing.reports.requests()).rows] == [7]


class Quicker(FaultyLedger):
    """The request itself is booked between the sweeper's look and its step."""

    def __init__(self, wing: Wing) -> None:
        super().__init__(wing.ledger)

    async def expired_holds(self, now: datetime, *, limit: int = 100) -> Sequence[Hold]:
        found = await super().expired_holds(now, limit=limit)
        for hold in found:
            record = a_record(hold.request_id, charged_picodollars=7, cost_picodollars=7)
            await self.ledger.settle(hold.request_id, record, [a_touch(7)])
        return found


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)


async def nothing_open() -> None:
    """Renew the leases of a process that has no request open."""


async def test_the_timer_renews_the_leases_of_its_own_process_before_it_sweeps(wing: Wing) -> None:
    hold = await leave(wing, 1)
    await leave(wing, 2)
    leases = Leases(wing.ledger, wing.clock, 60_000)
    leases.keep(hold)
    wing.clock.advance(timedelta(hours=8))
    listener = Listener()
    sweeper = Sweeper(wing.ledger, wing.policies, listener, wing.clock)
    running = asyncio.create_task(sweeper.run(1, leases.renew))
    await until(lambda: listener.events != [])
    assert await settled(wing) == (HELD, HELD)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_the_timer_sweeps_and_survives_a_store_that_cannot_answer(
    wing: Wing, caplog: pytest.LogCaptureFixture
) -> None:
    await leave(wing, 1)
    wing.clock.advance(timedelta(seconds=60))
    ledger = FaultyLedger(wing.ledger)
    ledger.failing = {"expired_holds"}
    running = asyncio.create_task(Sweeper(ledger, wing.policies, Listener(), wing.clock).run(1, nothing_open))
    await until(lambda: "not swept: The farebox store cannot answer" in caplog.text)
    assert await settled(wing) == (0, HELD)
    ledger.failing = set()
    await until(lambda: "booked 1 abandoned requests" in caplog.text)
    assert await settled(wing) == (HELD, 0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


class Choosy(FaultyLedger):
    """A ledger that never settles some requests."""

    refused: frozenset[str] = frozenset()

    async def settle(self, request_id: str, record: RequestRecord, booked: Sequence[Touch]) -> None:
        self.calls.append(request_id)
        if request_id in self.refused:
            raise StoreFault("ValidationException")
        await self.ledger.settle(request_id, record, booked)


async def test_a_hold_that_cannot_be_booked_keeps_no_other_from_being(wing: Wing) -> None:
    ledger = Choosy(wing.ledger)
    for number in range(BATCH + 5):
        await leave(wing, number)
        wing.clock.advance(timedelta(milliseconds=1))
    ledger.refused = frozenset({"req_0", "req_1"})
    wing.clock.advance(timedelta(seconds=60))
    sweeper = Sweeper(ledger, wing.policies, Listener(), wing.clock)
    with pytest.raises(StoreFault, match="2 are not"):
        await sweeper.sweep()
    assert await settled(wing) == ((BATCH + 3) * HELD, 2 * HELD)
    ledger.refused = frozenset()
    assert await sweeper.sweep() == 2


async def test_many_that_cannot_be_booked_come_behind_the_others_in_the_next_sweep(wing: Wing) -> None:
    ledger = Choosy(wing.ledger)
    for number in range(8):
        await leave(wing, number)
        wing.clock.advance(timedelta(milliseconds=1))
    ledger.refused = frozenset(f"req_{number}" for number in range(6))
    wing.clock.advance(timedelta(seconds=60))
    sweeper = Sweeper(ledger, wing.policies, Listener(), wing.clock)
    for _ in range(2):
        with pytest.raises(StoreFault):
            await sweeper.sweep()
    assert await settled(wing) == (2 * HELD, 6 * HELD)


async def test_a_store_that_is_away_is_not_asked_for_each_of_many_holds(wing: Wing) -> None:
    ledger = Choosy(wing.ledger)
    for number in range(30):
        await leave(wing, number)
    ledger.refused = frozenset(f"req_{number}" for number in range(30))
    wing.clock.advance(timedelta(seconds=60))
    with pytest.raises(StoreFault):
        await Sweeper(ledger, wing.policies, Listener(), wing.clock).sweep()
    assert len(ledger.calls) < 10
