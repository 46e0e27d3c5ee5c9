"""Whatever becomes of requests and answers on their way, money moves once: never twice, never not at all."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from farebox.adapters.aws.dynamodb.client import Patience
from farebox.adapters.aws.store import DynamoStore
from farebox.domain.budget import Touch
from farebox.domain.errors import StoreFault
from farebox.domain.record import Outcome
from farebox.wire.http1 import Http1Transport
from tests.contracts.ledger_model import LedgerModel, key_of
from tests.support.builders import NOON, FixedClock, a_budget, a_hold, a_record, a_scope, a_touch
from tests.support.dynamo import BRISK, Deployment, deployed
from tests.support.fault_proxy import Fault, FaultProxy
from tests.support.ministack import Ministack

Answer = TypeVar("Answer")

BUDGETS = (a_budget(name="day", limit=100), a_budget(name="month", limit=150, period="month"))
TEAM = a_budget(name="team", limit=100, scope=a_scope(workspace="platform"))
REPEATS = 60
HASTY = replace(BRISK, tries=2)
"""Gives up early, so that whole steps are repeated and not only their requests."""


@dataclass(frozen=True)
class Step:
    """One call on a ledger; `process` says whose memory of open holds it is made with."""

    verb: str
    request: str
    amounts: tuple[int, int]
    process: int


steps = st.lists(
    st.builds(
        Step,
        verb=st.sampled_from(["reserve", "reserve", "top_up", "settle", "settle", "sweep", "void"]),
        request=st.sampled_from(["r1", "r2", "r3"]),
        amounts=st.tuples(st.integers(0, 80), st.integers(0, 80)),
        process=st.integers(0, 1),
    ),
    min_size=1,
    max_size=9,
)


async def insisting(call: Callable[[], Awaitable[Answer]]) -> Answer:
    """Repeat a step until the store has answered, as callers do that must not lose it."""
    for _ in range(REPEATS):
        try:
            return await call()
        except StoreFault as fault:
            if "ran out and was booked" in str(fault):
                raise
    raise AssertionError("the store never answered")


def touches(step: Step) -> tuple[Touch, ...]:
    return tuple(a_touch(amount, budget=budget) for budget, amount in zip(BUDGETS, step.amounts, strict=True))


async def take(step: Step, sequence: int, store: DynamoStore, model: LedgerModel) -> None:
    """Do a step on both, the store's as often as it takes."""
    ledger, request, wanted = store.ledger, step.request, touches(step)
    if step.verb in ("reserve", "top_up"):
        hold = a_hold(request, *wanted, sequence=1 if step.verb == "reserve" else sequence)
        if step.verb == "top_up" and request in model.swept:
            with pytest.raises(StoreFault):
                await insisting(lambda: ledger.top_up(hold))
            return
        if step.verb == "reserve":
            expected = model.reserve(request, wanted)
            shortage = await insisting(lambda: ledger.reserve(hold))
        else:
            expected = model.top_up(request, sequence, wanted)
            shortage = await insisting(lambda: ledger.top_up(hold))
        assert (shortage and key_of(shortage.touch)) == expected
    elif step.verb == "void":
        model.void(request)
        await insisting(lambda: ledger.void(request))
    else:
        is_sweep = step.verb == "sweep"
        model.settle(request, wanted, is_sweep=is_sweep)
        record = a_record(request, outcome=Outcome.EXPIRED if is_sweep else Outcome.FINISHED)
        await insisting(lambda: ledger.settle(request, record, wanted))


async def compare(store: DynamoStore, model: LedgerModel) -> None:
    standings = await store.reports.standings(BUDGETS, NOON)
    expected = [model.standing(a_touch(budget=budget)) for budget in BUDGETS]
    assert [row.standing for row in standings] == expected
    assert await store.reports.verify() == []
    records = (await store.reports.requests()).rows
    assert sorted(record.id for record in records) == sorted(model.booked)
    assert {record.id for record in records if record.outcome is Outcome.EXPIRED} == model.swept


async def run(
    port: int, plan: list[Step], faults: list[Fault], patience: Patience, *, forgets_tokens: bool
) -> None:
    clock, transport, model = FixedClock(), Http1Transport(), LedgerModel()
    deployment = deployed(port)
    async with FaultProxy(port, faults, forgets_tokens=forgets_tokens) as proxy:
        stores = [
            deployment.store(transport, clock, port=proxy.port, patience=patience, shards=shards)
            for shards in (2, 3)
        ]
        for sequence, step in enumerate(plan, 2):
            await take(step, sequence, stores[step.process], model)
        await proxy.deliver_late()
        await compare(stores[0], model)
        await transport.aclose()


patiences = st.sampled_from([BRISK, HASTY, replace(BRISK, tries=1)])
scripts = st.lists(st.sampled_from([fault for fault in Fault if fault is not Fault.LATE]), max_size=25)
late_scripts = st.lists(st.sampled_from(list(Fault)), max_size=25)


@given(plan=steps, faults=scripts, patience=patiences)
@settings(max_examples=60)
def test_no_fault_moves_money_twice_or_not_at_all(
    ministack: Ministack, plan: list[Step], faults: list[Fault], patience: Patience
) -> None:
    asyncio.run(run(ministack.port, plan, faults, patience, forgets_tokens=True))


# Only a client token tells a request that was on its way while its request was voided from a new one.
@given(plan=steps, faults=late_scripts)
@settings(max_examples=30)
def test_a_request_that_arrives_late_changes_nothing_any_more(
    ministack: Ministack, plan: list[Step], faults: list[Fault]
) -> None:
    asyncio.run(run(ministack.port, plan, faults, BRISK, forgets_tokens=False))


@pytest.mark.proof
@pytest.mark.timeout(600)
@given(plan=steps, faults=scripts, patience=patiences)
@settings(max_examples=800)
def test_no_fault_moves_money_twice_or_not_at_all_at_length(
    ministack: Ministack, plan: list[Step], faults: list[Fault], patience: Patience
) -> None:
    asyncio.run(run(ministack.port, plan, faults, patience, forgets_tokens=True))


async def test_a_reservation_of_unknown_outcome_is_given_back_by_a_void(
    deployment: Deployment, transport: Http1Transport
) -> None:
    clock = FixedClock()
    async with FaultProxy(deployment.port, [Fault.CUT_AFTER]) as proxy:
        store = deployment.store(transport, clock, port=proxy.port, patience=replace(BRISK, tries=1))
        with pytest.raises(StoreFault):
            await store.ledger.reserve(a_hold("r1", a_touch(40, budget=TEAM)))
        (row,) = await store.reports.standings([TEAM], NOON)
        assert (row.standing.settled, row.standing.held) == (0, 40)
        await store.ledger.void("r1")
        (row,) = await store.reports.standings([TEAM], NOON)
        assert (row.standing.settled, row.standing.held) == (0, 0)
        assert await store.reports.verify() == []


async def test_a_reservation_that_nobody_knows_of_is_swept_like_a_dead_processs(
    deployment: Deployment, transport: Http1Transport
) -> None:
    clock = FixedClock()
    async with FaultProxy(deployment.port, [Fault.CUT_AFTER]) as proxy:
        store = deployment.store(transport, clock, port=proxy.port, patience=replace(BRISK, tries=1))
        hold = a_hold("r1", a_touch(40, budget=TEAM))
        with pytest.raises(StoreFault):
            await store.ledger.reserve(hold)
        assert await store.ledger.expired_holds(hold.lease_until) == [hold]


async def test_a_step_whose_answer_was_lost_is_known_by_its_hold_alone(
    deployment: Deployment, transport: Http1Transport
) -> None:
    clock = FixedClock()
    async with FaultProxy(deployment.port, forgets_tokens=True, is_terse=True) as proxy:
        store = deployment.store(transport, clock, port=proxy.port)
        for number, hold in enumerate(
            [a_hold("r1", a_touch(40, budget=TEAM)), a_hold("r1", a_touch(90, budget=TEAM), sequence=2)]
        ):
            proxy.faults.append(Fault.CUT_AFTER)
            step = store.ledger.top_up if number else store.ledger.reserve
            assert await step(hold) is None
        # A second 50 on top of the 90 would not fit, and the answer says no more than that.
        assert proxy.seen.count("GetItem") == 1
        await store.ledger.settle("r1", a_record("r1"), [a_touch(70, budget=TEAM)])
        (row,) = await store.reports.standings([TEAM], NOON)
        assert (row.standing.settled, row.standing.held) == (70, 0)
