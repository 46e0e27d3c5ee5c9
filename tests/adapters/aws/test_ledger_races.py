"""Many processes at once on one bucket: exactly what fits is granted, and nothing is lost."""

import asyncio
from datetime import timedelta

import pytest
from msgspec.structs import replace

from farebox.adapters.aws.ledger.holds import LEASE_SHARDS
from farebox.adapters.aws.store import DynamoStore
from farebox.domain.budget import Budget, Standing
from farebox.domain.errors import StoreFault
from farebox.ports import Hold
from farebox.wire.http1 import Http1Transport
from tests.support.builders import NOON, FixedClock, a_budget, a_hold, a_record, a_scope, a_touch
from tests.support.dynamo import BRISK, Deployment
from tests.support.fault_proxy import Fault, FaultProxy

DAY = a_budget(name="day", limit=1_000)
TEAM = a_budget(name="team", limit=1_000, scope=a_scope(workspace="platform"))
MONTH = a_budget(name="month", usd=9_000_000_000_000, period="month")


async def standing(store: DynamoStore, budget: Budget) -> Standing:
    (row,) = await store.reports.standings([budget], NOON)
    return row.standing


@pytest.mark.parametrize("day", [TEAM, DAY], ids=["narrow", "wide"])
async def test_eight_processes_are_granted_exactly_what_fits(
    deployment: Deployment, transport: Http1Transport, day: Budget
) -> None:
    stores = [deployment.store(transport, FixedClock()) for _ in range(8)]

    async def spend(number: int, store: DynamoStore) -> int:
        granted = 0
        for attempt in range(30):
            hold = a_hold(f"{number}-{attempt}", a_touch(7, budget=MONTH), a_touch(7, budget=day))
            granted += await store.ledger.reserve(hold) is None
        return granted

    granted = await asyncio.gather(*(spend(number, store) for number, store in enumerate(stores)))
    assert sum(granted) == 142
    assert [await standing(stores[0], each) for each in (day, MONTH)] == [Standing(0, 994), Standing(0, 994)]
    assert await stores[0].reports.verify() == []


async def test_what_is_spent_at_once_through_conflicts_adds_up(
    deployment: Deployment, transport: Http1Transport
) -> None:
    async with FaultProxy(deployment.port, [Fault.CONFLICT, Fault.CUT_AFTER, Fault.PASS] * 60) as proxy:
        patience = replace(BRISK, tries=60)
        stores = [
            deployment.store(transport, FixedClock(), port=proxy.port, patience=patience) for _ in range(6)
        ]

        async def spend(number: int, store: DynamoStore) -> None:
            for attempt in range(10):
                request_id = f"{number}-{attempt}"
                touch = a_touch(9, budget=MONTH)
                assert await store.ledger.reserve(a_hold(request_id, touch)) is None
                await store.ledger.settle(request_id, a_record(request_id), [a_touch(5, budget=MONTH)])

        await asyncio.gather(*(spend(number, store) for number, store in enumerate(stores)))
        assert len(proxy.faults) == 0
        assert await standing(stores[0], MONTH) == Standing(300, 0)
        assert await stores[0].reports.verify() == []


async def test_of_two_sweepers_and_the_request_itself_each_books_at_most_once(
    deployment: Deployment, transport: Http1Transport
) -> None:
    stores = [deployment.store(transport, FixedClock()) for _ in range(3)]
    for number in range(10):
        hold = a_hold(f"r{number}", a_touch(40, budget=DAY))
        await stores[0].ledger.reserve(hold)
        await asyncio.gather(
            stores[0].ledger.settle(hold.request_id, a_record(hold.request_id), [a_touch(25, budget=DAY)]),
            *(store.ledger.settle(hold.request_id, hold.draft, hold.touches) for store in stores[1:]),
        )
    assert await standing(stores[0], DAY) == Standing(250, 0)
    assert await stores[0].reports.verify() == []


async def test_more_expired_holds_than_one_sweep_takes_come_longest_first(
    deployment: Deployment, transport: Http1Transport
) -> None:
    store = deployment.store(transport, FixedClock())
    holds: list[Hold] = [
        a_hold(f"r{number}", lease_until=NOON + timedelta(seconds=number))
        for number in range(5 * len(LEASE_SHARDS))
    ]
    for hold in reversed(holds):
        await store.ledger.reserve(hold)
    now = NOON + timedelta(seconds=30)
    assert await store.ledger.expired_holds(now, limit=7) == holds[:7]
    assert await store.ledger.expired_holds(now) == holds[:31]


async def test_a_store_that_is_away_refuses_closed(deployment: Deployment, transport: Http1Transport) -> None:
    async with FaultProxy(deployment.port, [Fault.CUT_BEFORE] * 8) as proxy:
        store = deployment.store(transport, FixedClock(), port=proxy.port)
        with pytest.raises(StoreFault, match=r"TransactWriteItems: .* broke off its answer"):
            await store.ledger.reserve(a_hold("r1", a_touch(7, budget=DAY)))
        assert await standing(store, DAY) == Standing()


async def test_each_step_is_one_round_trip_for_the_process_that_reserved(
    deployment: Deployment, transport: Http1Transport
) -> None:
    async with FaultProxy(deployment.port) as proxy:
        ledger = deployment.store(transport, FixedClock(), port=proxy.port).ledger
        touch = a_touch(7, budget=TEAM)
        await ledger.reserve(a_hold("r1", touch))
        await ledger.top_up(a_hold("r1", a_touch(9, budget=TEAM), sequence=2))
        await ledger.settle("r1", a_record("r1"), [touch])
        await ledger.reserve(a_hold("r2", touch))
        await ledger.void("r2")
        await ledger.settle("refused", a_record("refused"), [])
        assert proxy.seen == ["TransactWriteItems"] * 6
        refused = await ledger.reserve(a_hold("r3", a_touch(2_000, budget=TEAM)))
        assert refused is not None
        assert refused.standing == Standing(7, 0)
        assert proxy.seen == ["TransactWriteItems"] * 7
