"""Whatever becomes of writes on their way and whoever else decides, a crossing is decided and told once."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from farebox.adapters.aws.ledger.thresholds import KEPT, UNTOLD_KEPT
from farebox.adapters.aws.store import DynamoStore
from farebox.adapters.aws.tables import EXPIRES_AT
from farebox.domain.budget import Window
from farebox.domain.budget.alert import Crossing
from farebox.domain.errors import StoreFault
from farebox.wire.http1 import Http1Transport
from tests.contracts.test_thresholds import a_crossing
from tests.support.builders import NOON, FixedClock, a_record, a_touch
from tests.support.dynamo import BRISK, Deployment, ask, deployed
from tests.support.fault_proxy import Fault, FaultProxy
from tests.support.ministack import Ministack

Answer = TypeVar("Answer")
REPEATS = 60
CROSSINGS = tuple(a_crossing(share, at=NOON + timedelta(seconds=share)) for share in (50, 80, 100))


async def insisting(call: Callable[[], Awaitable[Answer]], gave_up: list[StoreFault]) -> Answer:
    for _ in range(REPEATS):
        try:
            return await call()
        except StoreFault as fault:
            gave_up.append(fault)
    raise AssertionError("the store never answered")


async def decide_and_tell(
    port: int, asked: Sequence[Sequence[int]], faults: Sequence[Fault], *, forgets_tokens: bool, tries: int
) -> None:
    """Decide from two processes at once, then tell what is untold from both."""
    clock, transport, deployment = FixedClock(), Http1Transport(), deployed(port)
    async with FaultProxy(port, faults, forgets_tokens=forgets_tokens) as proxy:
        patience = replace(BRISK, tries=tries)
        stores = [
            deployment.store(transport, clock, port=proxy.port, patience=patience).thresholds
            for _ in range(2)
        ]
        decided: list[Crossing] = []
        gave_up: list[StoreFault] = []
        for number, which in enumerate(asked):
            wanted = [CROSSINGS[each] for each in which]
            store = stores[number % 2]
            decided += await insisting(partial(store.decide, wanted), gave_up)
        await proxy.deliver_late()
        named = {CROSSINGS[each] for which in asked for each in which}
        untold = await stores[0].untold()
        assert list(untold) == sorted(named, key=lambda each: each.at)
        assert len(decided) == len(set(decided))
        assert set(decided) <= named
        # A step that gave up may have been done: then nobody is given what it decided, but it is untold.
        assert gave_up or set(decided) == named
        for crossing in untold:
            await asyncio.gather(
                *(insisting(partial(store.told, crossing, NOON), gave_up) for store in stores)
            )
        await proxy.deliver_late()
        proxy.faults.clear()
        assert await stores[0].untold() == []
        assert await stores[1].decide(CROSSINGS) == [each for each in CROSSINGS if each not in named]
    await transport.aclose()


asked = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=3, unique=True), min_size=1, max_size=5)


@given(
    asked=asked,
    faults=st.lists(st.sampled_from([fault for fault in Fault if fault is not Fault.LATE]), max_size=15),
    tries=st.sampled_from([1, 2, BRISK.tries]),
)
@settings(max_examples=40)
def test_no_fault_decides_a_crossing_twice_or_loses_it(
    ministack: Ministack, asked: list[list[int]], faults: list[Fault], tries: int
) -> None:
    asyncio.run(decide_and_tell(ministack.port, asked, faults, forgets_tokens=True, tries=tries))


@given(asked=asked, faults=st.lists(st.sampled_from(list(Fault)), max_size=15))
@settings(max_examples=20)
def test_a_decision_that_arrives_late_is_none_of_its_own(
    ministack: Ministack, asked: list[list[int]], faults: list[Fault]
) -> None:
    asyncio.run(decide_and_tell(ministack.port, asked, faults, forgets_tokens=False, tries=BRISK.tries))


async def test_of_eight_processes_one_decides(deployment: Deployment, transport: Http1Transport) -> None:
    stores = [deployment.store(transport, FixedClock()).thresholds for _ in range(8)]
    answers = await asyncio.gather(*(store.decide(CROSSINGS) for store in stores))
    assert sorted(each.threshold for answer in answers for each in answer) == [50, 80, 100]


async def test_each_step_is_few_round_trips_and_no_scan(
    deployment: Deployment, transport: Http1Transport
) -> None:
    async with FaultProxy(deployment.port) as proxy:
        store: DynamoStore = deployment.store(transport, FixedClock(), port=proxy.port)
        await store.ledger.settle("r1", a_record("r1"), [a_touch(9)])
        proxy.seen.clear()
        await store.thresholds.drawn(["r1"])
        await store.thresholds.decide(CROSSINGS)
        (first, *_) = await store.thresholds.untold()
        await store.thresholds.told(first, NOON)
        assert proxy.seen == [
            *["BatchGetItem"] * 2,
            "TransactWriteItems",
            "Query",
            *["GetItem", "TransactWriteItems"],
        ]


async def test_a_decision_outlives_its_window_and_one_without_end_stays(
    deployment: Deployment, transport: Http1Transport
) -> None:
    thresholds = deployment.store(transport, FixedClock()).thresholds
    ever = a_crossing(50, window=Window("total", None, None))
    await thresholds.decide([a_crossing(80), ever])
    items = ask(deployment.port, "Scan", {"TableName": deployment.names.budgets})["Items"]
    ends = [int(item[EXPIRES_AT]["N"]) for item in items if EXPIRES_AT in item]
    end = a_crossing().window.end
    assert end is not None
    # What nobody could be told goes first: `told` finds it by its decision.
    assert sorted(ends) == [int((end + kept).timestamp()) for kept in (UNTOLD_KEPT, KEPT)]
    assert len(items) == 4


async def test_the_audit_does_not_take_decisions_for_buckets(
    deployment: Deployment, transport: Http1Transport
) -> None:
    store = deployment.store(transport, FixedClock())
    await store.thresholds.decide(CROSSINGS)
    assert await store.reports.verify() == []


async def test_a_store_that_is_away_is_said(deployment: Deployment, transport: Http1Transport) -> None:
    async with FaultProxy(deployment.port, [Fault.CUT_BEFORE] * 8) as proxy:
        thresholds = deployment.store(transport, FixedClock(), port=proxy.port).thresholds
        with pytest.raises(StoreFault):
            await thresholds.decide(CROSSINGS)
        assert await thresholds.untold() == []
