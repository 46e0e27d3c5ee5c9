"""What only reports over DynamoDB meet: drift that lasts, resets under fire, names too long for a key."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

from farebox.adapters.aws.codec import cursor_text
from farebox.adapters.aws.dynamodb.attributes import Item, Value
from farebox.adapters.aws.dynamodb.items import Items
from farebox.adapters.aws.ledger.buckets.keys import partition_of
from farebox.adapters.aws.ledger.buckets.shards import Buckets
from farebox.adapters.aws.ledger.outbox import DynamoLedgerRows
from farebox.adapters.aws.ledger.reports import DynamoReports
from farebox.adapters.aws.stamps import Stamps
from farebox.adapters.aws.store import DynamoStore
from farebox.domain.budget import Budget, Shortage, Standing
from farebox.domain.errors import StoreFault
from farebox.wire.http1 import Http1Transport
from tests.support.builders import NOON, FixedClock, a_budget, a_hold, a_record, a_scope, a_touch
from tests.support.dynamo import Deployment, ask
from tests.support.fault_proxy import Fault, FaultProxy

DAY = a_budget(name="day", limit=100)
SESSIONS = a_budget(name="sessions", limit=100, scope=a_scope(session="*"))
TEAM = a_budget(name="team", limit=100, scope=a_scope(workspace="platform"))
WHERE = "window 2026-11-23T00:00:00Z"


async def book(store: DynamoStore, request_id: str, amount: int) -> None:
    await store.ledger.settle(request_id, a_record(request_id), [a_touch(amount, budget=DAY)])


def damage(deployment: Deployment, budget: Budget, shard: int | None, change: str, **values: Any) -> None:
    """Write past the ledger."""
    partition = partition_of(budget.name, "usd", budget.window_at(NOON).key, shard)
    ask(
        deployment.port,
        "UpdateItem",
        {
            "TableName": deployment.names.budgets,
            "Key": {"pk": {"S": partition}, "sk": {"S": "="}},
            "UpdateExpression": change,
            "ExpressionAttributeValues": values,
        },
    )


async def test_drift_is_told_bucket_by_bucket(deployment: Deployment, transport: Http1Transport) -> None:
    store = deployment.store(transport, FixedClock())
    await store.ledger.settle("r1", a_record("r1"), [a_touch(30, budget=TEAM)])
    await store.ledger.reserve(a_hold("r2", a_touch(20, budget=TEAM)))
    damage(deployment, TEAM, None, "SET settled = :s, held = :h", **{":s": {"N": "31"}, ":h": {"N": "0"}})
    where = f"budget 'team', bucket '', {WHERE}"
    assert await store.reports.verify() == [
        f"{where}: held is 0, but open holds make 20 (picodollars)",
        f"{where}: settled is 31, but ledger rows make 30 (picodollars)",
    ]
    damage(
        deployment,
        TEAM,
        None,
        "SET settled = :s, held = :h, used = :u",
        **{":s": {"N": "30"}, ":h": {"N": "20"}, ":u": {"N": "49"}},
    )
    assert await store.reports.verify() == [f"{where}: used is 49, but both together make 50 (picodollars)"]


async def test_drift_of_a_shard_is_told_and_room_that_nobody_gave_it(
    deployment: Deployment, transport: Http1Transport
) -> None:
    store = deployment.store(transport, FixedClock())
    await store.ledger.reserve(a_hold("r1", a_touch(20, budget=DAY)))
    damage(deployment, DAY, 3, "ADD held :h, room :r", **{":h": {"N": "4"}, ":r": {"N": "7"}})
    assert await store.reports.verify() == [
        f"budget 'day', bucket '', shard 3, {WHERE}: held is 4, but open holds make 0 (picodollars)",
        f"budget 'day', bucket '', {WHERE}: limit is 107, but its shards are for 100 (picodollars)",
    ]


async def test_a_request_that_is_settled_and_still_holds_is_told(
    deployment: Deployment, transport: Http1Transport
) -> None:
    store = deployment.store(transport, FixedClock())
    await store.ledger.reserve(a_hold("r1"))
    hold = ask(
        deployment.port,
        "GetItem",
        {"TableName": deployment.names.budgets, "Key": {"pk": {"S": "hold#r1"}, "sk": {"S": "-"}}},
    )["Item"]
    await store.ledger.settle("r1", a_record("r1"), [])
    ask(deployment.port, "PutItem", {"TableName": deployment.names.budgets, "Item": hold})
    assert await store.reports.verify() == ["request r1 is settled and still holds"]


async def test_what_moves_while_the_sums_are_read_is_no_drift(
    deployment: Deployment, transport: Http1Transport
) -> None:
    store = deployment.store(transport, FixedClock())

    async def spend() -> None:
        for number in range(25):
            request_id = f"r{number}"
            await store.ledger.reserve(a_hold(request_id, a_touch(2, budget=DAY)))
            await book(store, request_id, 1)

    spending = asyncio.ensure_future(spend())
    while not spending.done():
        assert [line for line in await store.reports.verify() if "still holds" in line] == []
    assert await store.reports.verify() == []


async def test_a_reset_whose_answer_was_lost_is_done_once(
    deployment: Deployment, transport: Http1Transport
) -> None:
    async with FaultProxy(deployment.port, forgets_tokens=True) as proxy:
        store = deployment.store(transport, FixedClock(), port=proxy.port)
        await book(store, "r1", 30)
        proxy.faults.append(Fault.CUT_AFTER)
        assert await store.reports.reset(DAY, None, NOON, "root") == 1
        assert len((await store.reports.audit()).rows) == 1
        assert [row.standing for row in await store.reports.standings([DAY], NOON)] == [Standing()]
        assert await store.reports.verify() == []


async def test_a_reset_beside_settlements_loses_none(
    deployment: Deployment, transport: Http1Transport
) -> None:
    store = deployment.store(transport, FixedClock())
    await book(store, "r0", 30)
    await asyncio.gather(
        store.reports.reset(DAY, None, NOON, "root"),
        *(book(store, f"r{number}", 1) for number in range(1, 6)),
    )
    (row,) = await store.reports.standings([DAY], NOON)
    assert row.standing.settled <= 5
    assert await store.reports.verify() == []


async def test_a_bucket_named_longer_than_a_key_is_a_bucket_like_others(
    deployment: Deployment, transport: Http1Transport
) -> None:
    store = deployment.store(transport, FixedClock())
    first, second = ("é" * 1_000 + end for end in "ab")
    touch = a_touch(60, budget=SESSIONS, bucket=first)
    assert await store.ledger.reserve(a_hold("r1", touch)) is None
    assert await store.ledger.reserve(a_hold("r2", touch)) == Shortage(touch, Standing(0, 60))
    assert await store.ledger.reserve(a_hold("r3", a_touch(60, budget=SESSIONS, bucket=second))) is None
    assert [row.bucket for row in await store.reports.standings([SESSIONS], NOON)] == [first, second]
    assert await store.reports.verify() == []


async def test_entries_of_one_change_are_read_across_pages(
    deployment: Deployment, transport: Http1Transport
) -> None:
    clock = FixedClock()
    store = deployment.store(transport, clock)
    for number in range(3):
        await book(store, f"r{number}", 5)
        await store.reports.reset(DAY, None, NOON, f"root {number}")
    actors, cursor = [], None
    for _ in range(3):
        page = await store.reports.audit(limit=1, cursor=cursor)
        actors.append([entry.actor for entry in page.rows])
        cursor = page.next
    assert (actors, cursor) == ([["root 2"], ["root 1"], ["root 0"]], None)


class Strict(Items):
    """Refuses, as DynamoDB does and its emulator does not, to look between an end and a beginning."""

    async def query(
        self,
        table: str,
        condition: str,
        *,
        index: str | None = None,
        descending: bool = False,
        limit: int | None = None,
        **values: Value,
    ) -> AsyncIterator[Item]:
        low, high = (values.get(name) for name in ("after" if "after" in values else "first", "last"))
        if isinstance(low, str) and isinstance(high, str) and low > high:
            raise StoreFault("Query: ValidationException")
        async for item in super().query(
            table, condition, index=index, descending=descending, limit=limit, **values
        ):
            yield item


async def test_a_time_that_ends_before_it_begins_has_no_rows(
    deployment: Deployment, transport: Http1Transport
) -> None:
    clock, hour = FixedClock(), timedelta(hours=1)
    items = Strict(deployment.client(transport, clock))
    await book(deployment.store(transport, clock), "r1", 1)
    buckets = Buckets(items, deployment.names.budgets)
    reports = DynamoReports(items, deployment.names, Stamps(clock, "p"), buckets)
    assert len(await reports.usage(by="key", since=NOON - hour, until=NOON + hour)) == 1
    assert await reports.usage(by="key", since=NOON + hour, until=NOON - hour) == []
    rows = DynamoLedgerRows(items, deployment.names)
    # A cursor of a later time than what is asked for now.
    beyond = cursor_text(f"{2 * 10**15:017d}#{0:017d}#r1")
    assert (await rows.ids(NOON - hour, NOON + hour)).rows == ["r1"]
    assert (await rows.ids(NOON - hour, NOON + hour, cursor=beyond)).rows == []
