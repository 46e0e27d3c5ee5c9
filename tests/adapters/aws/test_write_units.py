"""What one request costs in write units, as docs/ledger-dynamodb.md says it does."""

from typing import Any

from farebox.adapters.aws.dynamodb.client import DynamoClient
from farebox.adapters.aws.dynamodb.items import Items
from farebox.adapters.aws.ledger.steps import DynamoLedger
from farebox.adapters.aws.stamps import Stamps
from farebox.domain.budget import Touch
from farebox.wire.http1 import Http1Transport
from tests.support.builders import FixedClock, a_budget, a_hold, a_record, a_scope, a_touch, an_attempt
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
    """Asks for the units of each call, and adds them up."""

    def __init__(self, client: DynamoClient) -> None:
        self._client = client
        self.units: list[float] = []

    async def call(self, operation: str, payload: dict[str, Any]) -> dict[str, Any]:
        answer = await self._client.call(operation, {**payload, "ReturnConsumedCapacity": "TOTAL"})
        self.units.append(sum(each["CapacityUnits"] for each in answer["ConsumedCapacity"]))
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
