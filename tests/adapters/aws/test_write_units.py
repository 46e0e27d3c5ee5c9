"""What one request costs in write units, as docs/ledger-dynamodb.md says it does."""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from farebox.adapters.aws.dynamodb.client import DynamoClient
from farebox.adapters.aws.dynamodb.items import Items
from farebox.adapters.aws.ledger.buckets.shards import Buckets
from farebox.adapters.aws.ledger.steps import DynamoLedger
from farebox.adapters.aws.limits.limiter import DynamoRateLimits
from farebox.adapters.aws.stamps import Stamps
from farebox.domain.budget import Budget, Touch
from farebox.domain.budget.rate_limit import Draw, LimitUnit, RateLimit
from farebox.wire.http1 import Http1Transport
from tests.support.builders import NOON, FixedClock, a_budget, a_hold, a_record, a_scope, a_touch, an_attempt
from tests.support.dynamo import Deployment, deployed
from tests.support.ministack import Ministack

BUDGETS = (
    a_budget(name="organisation-month", period="month"),
    a_budget(name="platform-month", scope=a_scope(workspace="platform"), period="month"),
    a_budget(name="user-week", scope=a_scope(user="*"), period="week"),
    a_budget(name="key-day", scope=a_scope(key="*")),
)
RECORD = a_record("0196c1f0a2b34c5d8e9f001122334455", attempts=(an_attempt(),), rates={"input": "3000000"})


class Meter:
    """Asks for the units of each write, and adds them up."""

    def __init__(self, client: DynamoClient) -> None:
        self._client = client
        self.units: list[float] = []

    async def call(self, operation: str, payload: dict[str, Any]) -> dict[str, Any]:
        answer = await self._client.call(operation, {**payload, "ReturnConsumedCapacity": "TOTAL"})
        if operation == "BatchGetItem":  # the emulator does not say
            return answer
        consumed = answer["ConsumedCapacity"]
        parts = consumed if isinstance(consumed, list) else [consumed]
        self.units.append(sum(each["CapacityUnits"] for each in parts))
        return answer

    def token(self) -> str:
        return self._client.token()


def holding(budgets: Sequence[Budget]) -> tuple[Touch, ...]:
    buckets = {"user-week": "alice@example.com", "key-day": "platform/alice"}
    return tuple(
        a_touch(330_000_000, budget=budget, bucket=buckets.get(budget.name, "")) for budget in budgets
    )


async def units(
    deployment: Deployment, transport: Http1Transport, budgets: Sequence[Budget]
) -> list[list[float]]:
    clock = FixedClock()
    meter = Meter(deployment.client(transport, clock))
    items = Items(meter)  # type: ignore[arg-type]  # same calls
    buckets = Buckets(items, deployment.names.budgets)
    ledger = DynamoLedger(items, deployment.names, Stamps(clock, "one"), buckets)
    hold = a_hold(RECORD.id, *holding(budgets), draft=RECORD)
    await ledger.reserve(a_hold("first", *holding(budgets), draft=RECORD))
    first, meter.units = meter.units, []
    await ledger.reserve(hold)
    await ledger.settle(RECORD.id, RECORD, hold.touches)
    return [first, meter.units]


async def test_a_request_costs_the_units_that_the_documentation_says(
    ministack: Ministack, transport: Http1Transport
) -> None:
    narrow, wide = BUDGETS[3:], BUDGETS[:1]
    assert [
        await units(deployed(ministack.port), transport, budgets) for budgets in (narrow, wide, BUDGETS)
    ] == [
        [[7], [7, 11]],
        [[16, 7], [7, 11]],
        [[16, 13], [13, 19]],
    ]


async def test_limits_of_one_scope_cost_one_unit_a_step_and_transactions_two_an_item(
    deployment: Deployment, transport: Http1Transport
) -> None:
    clock = FixedClock()
    meter = Meter(deployment.client(transport, clock))
    limiter = DynamoRateLimits(Items(meter), deployment.names, clock)  # type: ignore[arg-type]  # same calls
    scope = a_scope(key="*")
    limits = (
        RateLimit("key-rpm", scope, LimitUnit.REQUESTS, 120, "minute"),
        RateLimit("key-tpm", scope, LimitUnit.TOKENS, 10**6, "minute"),
        RateLimit("at-once", scope, LimitUnit.CONCURRENT, 10),
    )
    of_one_key = [Draw(limit, "platform/alice", 1, RECORD.id) for limit in limits]
    of_all = Draw(RateLimit("everybody", a_scope(), LimitUnit.REQUESTS, 10**6, "minute"), "")
    leases = {LimitUnit.CONCURRENT: NOON}
    await limiter.admit(of_one_key, NOON, leases)
    meter.units.clear()
    await limiter.admit(of_one_key, NOON, leases)
    await limiter.correct(of_one_key, NOON)
    assert meter.units == [1, 1]
    meter.units.clear()
    await limiter.admit([*of_one_key, of_all], NOON, leases)
    await limiter.correct([*of_one_key, of_all], NOON)
    assert meter.units == [4, 4]


async def test_room_is_moved_between_two_shards_and_spread_over_all_at_the_documented_cost(
    deployment: Deployment, transport: Http1Transport
) -> None:
    meter = Meter(deployment.client(transport, FixedClock()))
    items = Items(meter)  # type: ignore[arg-type]  # same calls
    buckets = Buckets(items, deployment.names.budgets)
    ledger = DynamoLedger(items, deployment.names, Stamps(FixedClock(), "one"), buckets)
    day = a_budget(name="day", limit=80)

    async def units_of(request_id: str, amount: int, limit: int) -> list[float]:
        meter.units.clear()
        touch = a_touch(amount, budget=replace(day, limit=limit))
        assert await ledger.reserve(a_hold(request_id, touch, draft=RECORD)) is None
        return list(meter.units)

    assert await units_of("r1", 10, 80) == [16, 7]
    assert await units_of("r1-again", 0, 80) == [7]
    assert await units_of("r2", 15, 80) == [4, 7]
    assert await units_of("r3", 60, 90) == [16, 7]
    meter.units.clear()
    await ledger.settle("r1", RECORD, [a_touch(500, budget=day)])
    assert meter.units[0] == 16
