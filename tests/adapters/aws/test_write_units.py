"""What one request costs in write units, as docs/ledger-dynamodb.md says it does."""

from typing import Any

from farebox.adapters.aws.dynamodb.client import DynamoClient
from farebox.adapters.aws.dynamodb.items import Items
from farebox.adapters.aws.ledger.steps import DynamoLedger
from farebox.adapters.aws.limits.limiter import DynamoRateLimits
from farebox.adapters.aws.stamps import Stamps
from farebox.domain.budget import Touch
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


def holding(count: int) -> tuple[Touch, ...]:
    buckets = ("", "", "alice@example.com", "platform/alice")
    return tuple(
        a_touch(330_000_000, budget=budget, bucket=bucket)
        for budget, bucket in zip(BUDGETS[:count], buckets, strict=False)
    )


async def units(deployment: Deployment, transport: Http1Transport, count: int) -> list[float]:
    clock = FixedClock()
    meter = Meter(deployment.client(transport, clock))
    ledger = DynamoLedger(Items(meter), deployment.names, Stamps(clock, "one"))  # type: ignore[arg-type]  # same calls
    hold = a_hold(RECORD.id, *holding(count), draft=RECORD)
    await ledger.reserve(hold)
    await ledger.settle(RECORD.id, RECORD, hold.touches)
    return meter.units


async def test_a_request_costs_the_units_that_the_documentation_says(
    ministack: Ministack, transport: Http1Transport
) -> None:
    assert [await units(deployed(ministack.port), transport, count) for count in (1, 4)] == [
        [7, 11],
        [13, 19],
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
