"""The pace of buckets is read from indexes, and of a shorter time where there is more than is looked at."""

from datetime import timedelta

from farebox.adapters.aws.dynamodb.items import Items
from farebox.adapters.aws.ledger.rows import TIME_SHARDS
from farebox.adapters.aws.ledger.spending import DynamoSpendingHistory
from farebox.domain.budget.forecast import Spending
from farebox.wire.http1 import Http1Transport
from tests.support.builders import NOON, FixedClock, a_budget, a_record, a_touch
from tests.support.dynamo import Deployment
from tests.support.fault_proxy import FaultProxy

MINUTE = timedelta(minutes=1)
DAY = a_budget(name="day", limit=10_000)
KEY = ("day", "usd", "")


async def test_only_the_newest_rows_are_summed_where_there_are_too_many(
    deployment: Deployment, transport: Http1Transport
) -> None:
    client = deployment.client(transport, FixedClock())
    ledger = deployment.store(transport, FixedClock()).ledger
    for number in range(60):
        at = NOON - number * MINUTE
        record = a_record(f"r{number}", at=at)
        await ledger.settle(record.id, record, [a_touch(1, budget=DAY, at=at)])
    whole = DynamoSpendingHistory(Items(client), deployment.names, rows_of_a_shard=60)
    assert await whole.recent(NOON - 60 * MINUTE) == {KEY: Spending(60, NOON - 59 * MINUTE)}
    cut = DynamoSpendingHistory(Items(client), deployment.names, rows_of_a_shard=5)
    spending = (await cut.recent(NOON - 60 * MINUTE))[KEY]
    assert spending.is_cut
    assert spending.first_at is not None
    # A row a minute: nothing of the time that is told of is left out.
    assert spending.amount == (NOON - spending.first_at) // MINUTE + 1
    assert 5 <= spending.amount <= 5 * len(TIME_SHARDS)


async def test_nothing_is_scanned_and_no_row_is_read_by_itself(
    deployment: Deployment, transport: Http1Transport
) -> None:
    async with FaultProxy(deployment.port) as proxy:
        store = deployment.store(transport, FixedClock(), port=proxy.port)
        await store.ledger.settle("r1", a_record("r1", overrun_picodollars=3), [a_touch(1, budget=DAY)])
        proxy.seen.clear()
        assert (await store.spending.recent(NOON))[KEY] == Spending(1, NOON)
        assert await store.spending.overruns(NOON) == {(*KEY, DAY.window_at(NOON).key): 3}
        assert proxy.seen == ["Query"] * (len(TIME_SHARDS) + 1)
