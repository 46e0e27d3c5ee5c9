"""Rate limits in DynamoDB: the laptop's answers, few round trips, and no draw that counts twice or never."""

import asyncio
import re
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from farebox.adapters.aws.dynamodb.client import DynamoClient
from farebox.adapters.aws.dynamodb.items import Items
from farebox.adapters.aws.limits.limiter import CLEARED_FROM, DynamoRateLimits
from farebox.adapters.aws.limits.marks import MARKS_MAX, TURN_S
from farebox.adapters.aws.store import DynamoStore
from farebox.adapters.local.rate_limits import LocalRateLimits
from farebox.domain.budget.rate_limit import PERIODS, Draw, Level, LimitUnit, RateLimit
from farebox.domain.errors import StoreFault
from farebox.ports import RateLimiter
from farebox.wire.http1 import Http1Transport
from tests.contracts.test_rate_limiter import (
    AGENTS,
    PLACES,
    REQUESTS,
    TOKENS,
    admit,
    agent,
    is_admitted,
    place,
    requests,
    tokens,
    used,
)
from tests.support.builders import NOON, FixedClock, a_scope
from tests.support.dynamo import BRISK, Deployment, ask, deployed
from tests.support.fault_proxy import Fault, FaultProxy
from tests.support.ministack import Ministack
from tests.support.wings import open_store

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
PER_SECOND = RateLimit("rps", a_scope(), LimitUnit.REQUESTS, 2, "second")


class LongestExpression(DynamoClient):
    """Measures what is sent, and knows what the emulator does not: which parentheses DynamoDB refuses."""

    def __init__(self, client: DynamoClient) -> None:
        self._client = client
        self.longest = 0

    async def call(self, operation: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        for action in payload.get("TransactItems", [{"Update": payload}]):
            (body,) = action.values()
            texts = (body.get(name, "") for name in ("UpdateExpression", "ConditionExpression"))
            self.longest = max(self.longest, *map(len, texts))
            assert not redundant_parentheses(body.get("ConditionExpression", ""))
        return await self._client.call(operation, payload)

    def token(self) -> str:
        return self._client.token()


def redundant_parentheses(condition: str) -> list[str]:
    """Give the groups that hold no OR, or that hold but another group."""
    groups = re.findall(r"(?<!\w)\(((?:[^()]|\([^()]*\))*)\)", condition)
    return [group for group in groups if " OR " not in group or group.startswith("(")]


def items_of(deployment: Deployment) -> list[dict[str, object]]:
    found: list[dict[str, object]] = ask(deployment.port, "Scan", {"TableName": deployment.names.budgets})[
        "Items"
    ]
    return found


@dataclass(frozen=True)
class Step:
    """One call; `after` is how long nothing happened before it, `process` who makes it."""

    verb: str
    after: timedelta
    request: int
    amount: int
    which: frozenset[int]
    process: int


steps = st.lists(
    st.builds(
        Step,
        verb=st.sampled_from(["admit", "admit", "admit", "correct", "renew"]),
        after=st.sampled_from([timedelta(0), timedelta(0), timedelta(milliseconds=300), SECOND, 40 * SECOND]),
        request=st.integers(0, 4),
        amount=st.integers(-30, 60),
        which=st.frozensets(st.integers(0, 4), min_size=1),
        process=st.integers(0, 1),
    ),
    min_size=1,
    max_size=14,
)


def draws_of(step: Step) -> list[Draw]:
    """Give draws on one, two or three items."""
    every = [
        requests(),
        tokens(step.amount),
        place(f"r{step.request}"),
        agent(f"a-{step.request}"),
        Draw(PER_SECOND, ""),
    ]
    return [draw for number, draw in enumerate(every) if number in step.which]


async def take(limiter: RateLimiter, step: Step, moment: datetime, started: datetime) -> Sequence[Level]:
    draws = draws_of(step)
    if step.verb == "admit":
        return await admit(limiter, *(replace(draw, amount=max(1, draw.amount)) for draw in draws), at=moment)
    if step.verb == "correct":
        await limiter.correct(draws, started)
    else:
        await limiter.renew([draw for draw in draws if draw.limit.counts_members], moment + MINUTE)
    return ()


async def compare(port: int, plan: Sequence[Step], folder: Path) -> None:
    """Do every step on both stores: they answer alike."""
    clock, transport = FixedClock(), Http1Transport()
    deployment = deployed(port)
    processes = [deployment.store(transport, clock).rate_limits for _ in range(2)]
    with closing(open_store(folder)) as store:
        laptop, started = LocalRateLimits(store.database), NOON
        for step in plan:
            clock.advance(step.after)
            moment = clock.now()
            answers = [await take(each, step, moment, started) for each in (laptop, processes[step.process])]
            assert answers[0] == answers[1]
            started = moment if step.verb == "admit" else started
    await transport.aclose()


@given(plan=steps)
@settings(max_examples=40)
def test_it_answers_what_the_laptop_answers(ministack: Ministack, plan: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(compare(ministack.port, plan, Path(folder)))


def most_in_a_window(admitted: Sequence[tuple[datetime, int]], length: timedelta) -> int:
    return max(
        (sum(n for at, n in admitted if end - length < at <= end) for end, _ in admitted),
        default=0,
    )


faults = st.sampled_from([Fault.PASS, *(fault for fault in Fault if fault is not Fault.PASS)])
arrivals = st.lists(
    st.tuples(st.floats(0, 0.3), st.lists(st.tuples(st.integers(1, 3), st.booleans()), max_size=4)),
    max_size=15,
)
"""How long after the last ones come which together: how much each takes, and whether it draws on another
limit too.
"""

Arrivals = Sequence[tuple[float, Sequence[tuple[int, bool]]]]


async def count_windows(port: int, per: str, limit: int, asked: Arrivals, script: Sequence[Fault]) -> None:
    clock, transport, deployment = FixedClock(), Http1Transport(), deployed(port)
    limited = RateLimit("l", a_scope(), LimitUnit.TOKENS, limit, per)
    other = RateLimit("other", a_scope(key="*"), LimitUnit.REQUESTS, 10**6, "minute")
    admitted: list[tuple[datetime, int]] = []
    unsure: list[tuple[datetime, int]] = []

    async def ask_for(limiter: RateLimiter, amount: int, is_wide: bool) -> None:
        draws = [Draw(limited, "", amount), *([Draw(other, "a")] if is_wide else [])]
        try:
            if await is_admitted(limiter, *draws, at=clock.now()):
                admitted.append((clock.now(), amount))
        except StoreFault:
            unsure.append((clock.now(), amount))

    async with FaultProxy(port, script) as proxy:
        processes = [deployment.store(transport, clock, port=proxy.port).rate_limits for _ in range(3)]
        for share, together in asked:
            clock.advance(share * PERIODS[per])
            await asyncio.gather(
                *(ask_for(processes[number % 3], *each) for number, each in enumerate(together))
            )
        await proxy.deliver_late()
        assert most_in_a_window(admitted, PERIODS[per]) <= limit
        counted = await used(processes[0], Draw(limited, ""), clock.now())
        one_slot_longer = PERIODS[per] + timedelta(microseconds=limited.slot_us)
        recent = [n for at, n in admitted + unsure if at > clock.now() - one_slot_longer]
        assert sum(n for at, n in admitted if at > clock.now() - PERIODS[per]) <= counted <= sum(recent)
    await transport.aclose()


@given(
    per=st.sampled_from(sorted(PERIODS)),
    limit=st.integers(1, 8),
    asked=arrivals,
    script=st.lists(faults, max_size=20),
)
@settings(max_examples=40)
def test_whatever_is_lost_on_the_way_no_window_has_more_than_the_limit_and_no_draw_counts_twice(
    ministack: Ministack, per: str, limit: int, asked: Arrivals, script: list[Fault]
) -> None:
    asyncio.run(count_windows(ministack.port, per, limit, asked, script))


@pytest.mark.proof
@pytest.mark.timeout(600)
@given(
    per=st.sampled_from(sorted(PERIODS)),
    limit=st.integers(1, 8),
    asked=arrivals,
    script=st.lists(faults, max_size=20),
)
@settings(max_examples=400)
def test_whatever_is_lost_on_the_way_no_window_has_more_than_the_limit_at_length(
    ministack: Ministack, per: str, limit: int, asked: Arrivals, script: list[Fault]
) -> None:
    asyncio.run(count_windows(ministack.port, per, limit, asked, script))


async def test_a_draw_and_a_correction_whose_answers_were_lost_count_once(
    deployment: Deployment, transport: Http1Transport
) -> None:
    async with FaultProxy(deployment.port, forgets_tokens=True) as proxy:
        limiter = deployment.store(transport, FixedClock(), port=proxy.port).rate_limits
        await admit(limiter, tokens(10))
        proxy.faults.append(Fault.CUT_AFTER)
        (level,) = await admit(limiter, tokens(50))
        assert (level.used, level.is_short) == (60, False)
        # A second 40 would not fit, and must not be asked of it.
        proxy.faults.append(Fault.SERVER_ERROR_AFTER)
        (level,) = await admit(limiter, tokens(40))
        assert (level.used, level.is_short) == (100, False)
        for fault in (Fault.CUT_AFTER, Fault.TWICE, Fault.CORRUPT):
            proxy.faults.append(fault)
            await limiter.correct([tokens(-20)], NOON)
        assert await used(limiter, tokens(1)) == 40


async def test_others_that_write_in_between_do_not_hide_a_lost_answer(
    deployment: Deployment, transport: Http1Transport
) -> None:
    clock = FixedClock()
    async with FaultProxy(deployment.port, [Fault.CUT_AFTER] * 20) as proxy:
        lossy = deployment.store(transport, clock, port=proxy.port).rate_limits
        others = [deployment.store(transport, clock).rate_limits for _ in range(3)]
        await admit(others[0], tokens(1))
        await asyncio.gather(*(admit(limiter, tokens(2)) for limiter in (*others, *[lossy] * 10)))
        assert await used(others[0], tokens(1)) == 1 + 2 * 13


async def test_a_request_is_one_round_trip_where_one_item_has_its_limits(
    deployment: Deployment, transport: Http1Transport
) -> None:
    ours = (requests(), place("r1"), Draw(PER_SECOND, ""))
    async with FaultProxy(deployment.port) as proxy:
        limiter = deployment.store(transport, FixedClock(), port=proxy.port).rate_limits
        assert await is_admitted(limiter, *ours)
        proxy.seen.clear()
        assert await is_admitted(limiter, *ours)
        await limiter.renew([place("r1")], NOON + 2 * MINUTE)
        await limiter.correct([requests(amount=-1), place("r1")], NOON)
        assert proxy.seen == ["UpdateItem"] * 3
        assert not await is_admitted(limiter, *ours)
        assert proxy.seen == ["UpdateItem"] * 4
        proxy.seen.clear()
        assert await is_admitted(limiter, requests(), tokens(5))
        assert not await is_admitted(limiter, requests(), tokens(96))
        assert proxy.seen == ["BatchGetItem", "TransactWriteItems", "BatchGetItem"]


async def test_limits_of_each_session_share_an_item_whatever_else_they_ask_for(
    deployment: Deployment, transport: Http1Transport
) -> None:
    pace = RateLimit("pace", a_scope(session="*"), LimitUnit.REQUESTS, 9, "minute")
    of_one_team = replace(pace, name="week", scope=a_scope(session="*", workspace="platform"), per="week")
    ours = (Draw(pace, "s"), Draw(of_one_team, "s"), agent("a-1"))
    async with FaultProxy(deployment.port) as proxy:
        limiter = deployment.store(transport, FixedClock(), port=proxy.port).rate_limits
        for _ in range(2):
            assert await is_admitted(limiter, *ours)
        assert await is_admitted(limiter, ours[0])
        assert set(proxy.seen) == {"UpdateItem"}
        assert [await used(limiter, each) for each in ours[:2]] == [3, 2]
        # Those of everybody keep to themselves.
        assert await is_admitted(limiter, requests(), Draw(replace(pace, scope=a_scope(model="m")), ""))
        assert proxy.seen[-1] == "TransactWriteItems"


async def test_eight_processes_are_let_through_exactly_as_often_as_the_limit_says(
    deployment: Deployment, transport: Http1Transport
) -> None:
    stores = [deployment.store(transport, FixedClock()) for _ in range(8)]
    one_item = (replace(REQUESTS, limit=50), replace(PLACES, limit=40))
    two_items = (replace(TOKENS, limit=30), replace(AGENTS, limit=25))

    async def ask_for(limits: tuple[RateLimit, ...], number: int, store: DynamoStore) -> bool:
        return await is_admitted(
            store.rate_limits, *(Draw(each, "b", member=f"m{number}") for each in limits)
        )

    for limits, fitting in ((one_item, 40), (two_items, 25)):
        answers = await asyncio.gather(*(ask_for(limits, number, stores[number % 8]) for number in range(80)))
        assert answers.count(True) == fitting
        assert await used(stores[0].rate_limits, Draw(limits[0], "b")) == fitting


async def test_an_item_stays_small_however_long_it_is_drawn_on(
    deployment: Deployment, transport: Http1Transport
) -> None:
    clock = FixedClock()
    limiter = deployment.store(transport, clock).rate_limits
    limits = [replace(REQUESTS, limit=10**6), replace(PLACES, limit=10**6)]
    for number in range(3 * CLEARED_FROM):
        assert await is_admitted(
            limiter, *(Draw(limit, "", member=f"m{number}") for limit in limits), at=clock.now()
        )
        clock.advance(10 * SECOND)
    (item,) = items_of(deployment)
    counted, places = (item[limit.key]["M"] for limit in limits)  # type: ignore[index]  # JSON
    assert len(counted) + len(places) < 2 * CLEARED_FROM
    marks = [item[name]["SS"] for name in ("m0", "m1", "m2") if name in item]  # type: ignore[index]  # JSON
    assert sum(map(len, marks)) <= 3
    assert await used(limiter, Draw(limits[0], ""), clock.now()) == 6


async def test_marks_are_gone_after_three_turns(deployment: Deployment, transport: Http1Transport) -> None:
    clock = FixedClock()
    limiter = deployment.store(transport, clock).rate_limits
    for _ in range(4):
        for _ in range(5):
            await admit(limiter, Draw(replace(REQUESTS, limit=10**6), ""), at=clock.now())
        clock.advance(TURN_S * SECOND)
    (item,) = items_of(deployment)
    assert [len(item[name]["SS"]) for name in ("m0", "m1", "m2") if name in item] == [5, 5]  # type: ignore[index]  # JSON


async def test_an_item_that_everybody_writes_is_written_by_transactions_for_a_while(
    deployment: Deployment, transport: Http1Transport
) -> None:
    clock, wide = FixedClock(), replace(REQUESTS, limit=10**6)
    async with FaultProxy(deployment.port) as proxy:
        limiter = deployment.store(transport, clock, port=proxy.port).rate_limits
        for _ in range(MARKS_MAX + 10):
            assert await is_admitted(limiter, Draw(wide, ""), at=clock.now())
        assert proxy.seen[-8:] == ["BatchGetItem", "TransactWriteItems"] * 4
        await limiter.correct([Draw(wide, "", -1)], clock.now())
        assert proxy.seen[-1] == "TransactWriteItems"
        for _ in range(3):
            clock.advance(TURN_S * SECOND)
            assert await is_admitted(limiter, Draw(wide, ""), at=clock.now())
        assert proxy.seen[-1] == "UpdateItem"
        assert await used(limiter, Draw(wide, ""), at=clock.now()) == MARKS_MAX + 12


async def test_whoever_clears_away_at_the_same_time_is_let_through_all_the_same(
    deployment: Deployment, transport: Http1Transport
) -> None:
    clock, wide = FixedClock(), replace(REQUESTS, limit=10**6)
    limiters = [deployment.store(transport, clock).rate_limits for _ in range(4)]
    for also in ((), (tokens(1),)):
        for _ in range(30):
            assert await is_admitted(limiters[0], Draw(wide, ""), *also, at=clock.now())
            clock.advance(SECOND)
        clock.advance(2 * MINUTE)
        answers = await asyncio.gather(
            *(is_admitted(limiters[n % 4], Draw(wide, ""), *also, at=clock.now()) for n in range(40))
        )
        assert answers == [True] * 40
        assert await used(limiters[0], Draw(wide, ""), clock.now()) == 40


def test_parentheses_that_change_nothing_are_found() -> None:
    assert redundant_parentheses("(a = :v)") == ["a = :v"]
    assert redundant_parentheses("((a = :v OR b = :w)) AND size(#c) < :d")
    assert not redundant_parentheses("(size(#a) < :v OR b = :w AND c = :x) AND attribute_exists(#d)")


async def test_expressions_stay_within_dynamodbs_rules(
    deployment: Deployment, transport: Http1Transport
) -> None:
    clock = FixedClock()
    client = LongestExpression(deployment.client(transport, clock))
    limiter = DynamoRateLimits(Items(client), deployment.names, clock)
    wide, many = replace(PLACES, limit=500), replace(REQUESTS, limit=10**6)
    places = [Draw(wide, "", member=f"r{number}") for number in range(300)]
    for each in places:
        assert await is_admitted(limiter, each, Draw(many, ""), at=clock.now())
        clock.advance(timedelta(milliseconds=200))
    await limiter.renew(places, clock.now() + 5 * MINUTE)
    assert await used(limiter, place("nobody"), clock.now() + 4 * MINUTE) == 300
    clock.advance(10 * MINUTE)
    assert await is_admitted(limiter, Draw(wide, "", member="r"), Draw(many, ""), at=clock.now())
    (item,) = items_of(deployment)
    assert len(item[wide.key]["M"]) == 1  # type: ignore[index]  # JSON
    assert 1_000 < client.longest < 4_096


async def test_an_item_says_when_nobody_needs_it_any_more(
    deployment: Deployment, transport: Http1Transport
) -> None:
    limiter = deployment.store(transport, FixedClock()).rate_limits
    assert await is_admitted(limiter, requests(), place("r1"))
    (item,) = items_of(deployment)
    (limiting,) = [item["expires_at_s"]]
    assert limiting == {"N": str(int((NOON + timedelta(days=10)).timestamp()))}


async def test_names_from_clients_may_be_long_or_strange(
    deployment: Deployment, transport: Http1Transport
) -> None:
    limiter = deployment.store(transport, FixedClock()).rate_limits
    session = "s" * 3_000
    for name in ("a" * 500, "a" * 501, "used", "#n0", "ü" * 500):
        wide = Draw(replace(AGENTS, limit=5), session, member=name)
        assert await is_admitted(limiter, wide)
        assert await is_admitted(limiter, wide)
    assert not await is_admitted(limiter, Draw(replace(AGENTS, limit=5), session, member="one more"))
    assert await is_admitted(limiter, Draw(AGENTS, session + "t", member="one more"))


async def test_a_store_that_is_away_is_said(deployment: Deployment, transport: Http1Transport) -> None:
    async with FaultProxy(deployment.port, [Fault.CUT_BEFORE] * 16) as proxy:
        limiter = deployment.store(transport, FixedClock(), port=proxy.port, patience=BRISK).rate_limits
        with pytest.raises(StoreFault):
            await admit(limiter, requests())
        with pytest.raises(StoreFault):
            await admit(limiter, requests(), tokens(1))
        assert await used(limiter, requests()) == 0


async def test_the_audit_of_the_ledger_does_not_take_counters_for_buckets(
    deployment: Deployment, transport: Http1Transport
) -> None:
    store = deployment.store(transport, FixedClock())
    assert await is_admitted(store.rate_limits, requests(), tokens(1), place("r1"))
    assert await store.reports.verify() == []
