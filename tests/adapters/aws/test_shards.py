"""A bucket where everybody meets is kept in shards, and nobody but the store can tell."""

import asyncio

import pytest
from msgspec.structs import replace

from farebox.adapters.aws.ledger.buckets.keys import BucketKey, is_wide
from farebox.adapters.aws.store import DynamoStore
from farebox.domain.budget import Budget, Shortage, Standing
from farebox.wire.http1 import Http1Transport
from tests.support.builders import NOON, FixedClock, a_budget, a_hold, a_record, a_scope, a_touch
from tests.support.dynamo import Deployment
from tests.support.fault_proxy import FaultProxy

DAY = a_budget(name="day", limit=100)
DAY_KEY = BucketKey("day", "usd", DAY.window_at(NOON).key, "", 0)
STEP = "TransactWriteItems"


async def standing(store: DynamoStore, budget: Budget = DAY) -> Standing:
    (row,) = await store.reports.standings([budget], NOON)
    return row.standing


async def granted(store: DynamoStore, request_id: str, amount: int, budget: Budget = DAY) -> bool:
    return await store.ledger.reserve(a_hold(request_id, a_touch(amount, budget=budget))) is None


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        (a_scope(), True),
        (a_scope(organisation="default"), True),
        (a_scope(model="*"), True),
        (a_scope(workspace="platform"), False),
        (a_scope(model="*", user="*"), False),
        (a_scope(metadata__team="*"), False),
        (a_scope(session="*"), False),
    ],
)
def test_a_bucket_is_wide_unless_its_scope_names_somebody(scope: object, expected: bool) -> None:
    assert is_wide(a_budget(scope=scope)) == expected


async def test_after_the_first_use_of_a_window_each_step_is_one_round_trip(
    deployment: Deployment, transport: Http1Transport
) -> None:
    async with FaultProxy(deployment.port) as proxy:
        store = deployment.store(transport, FixedClock(), port=proxy.port)
        assert await granted(store, "first", 1)
        assert proxy.seen == [STEP, "BatchGetItem", STEP, STEP]
        proxy.seen.clear()
        for number in range(8):
            assert await granted(store, f"r{number}", 2)
            await store.ledger.settle(f"r{number}", a_record(f"r{number}"), [a_touch(1, budget=DAY)])
        assert proxy.seen == [STEP] * 16


async def test_a_refusal_reads_the_shards_once_and_changes_nothing(
    deployment: Deployment, transport: Http1Transport
) -> None:
    async with FaultProxy(deployment.port) as proxy:
        store = deployment.store(transport, FixedClock(), port=proxy.port)
        assert await granted(store, "first", 90)
        proxy.seen.clear()
        touch = a_touch(11, budget=DAY)
        assert await store.ledger.reserve(a_hold("second", touch)) == Shortage(touch, Standing(0, 90))
        assert proxy.seen == [STEP, "BatchGetItem"]


async def test_one_request_can_have_what_all_shards_have(
    deployment: Deployment, transport: Http1Transport
) -> None:
    store = deployment.store(transport, FixedClock())
    assert await granted(store, "small", 3)
    assert await granted(store, "large", 97)
    assert await standing(store) == Standing(0, 100)
    await store.ledger.void("large")
    topped_up = a_hold("small", a_touch(100, budget=DAY), sequence=2)
    assert await store.ledger.top_up(topped_up) is None
    assert await store.reports.verify() == []


async def test_requests_spread_over_all_shards(deployment: Deployment, transport: Http1Transport) -> None:
    store = deployment.store(transport, FixedClock())
    budget = replace(DAY, limit=10_000)
    await asyncio.gather(*(granted(store, f"r{number}", 1, budget) for number in range(64)))
    items = await store.buckets.items_of(DAY_KEY)
    used = [item["used"] for item in items if item is not None]
    assert len(used) == 8
    assert all(used)
    assert await standing(store, budget) == Standing(0, 64)


async def test_a_window_keeps_the_number_of_shards_that_it_began_with(
    deployment: Deployment, transport: Http1Transport
) -> None:
    eight, two, twelve = (deployment.store(transport, FixedClock(), shards=shards) for shards in (8, 2, 12))
    assert await granted(eight, "r0", 10)
    for number, store in enumerate([two, twelve] * 4, 1):
        assert await granted(store, f"r{number}", 10)
    await twelve.ledger.settle("alone", a_record("alone"), [a_touch(10, budget=DAY)])
    for store in (eight, two, twelve):
        assert await standing(store) == Standing(10, 90)
        assert not await granted(store, "late", 1)
        assert len(await store.buckets.items_of(DAY_KEY)) == 8
    assert await two.reports.verify() == []


async def test_another_limit_counts_at_once_and_keeps_what_was_spent(
    deployment: Deployment, transport: Http1Transport
) -> None:
    store = deployment.store(transport, FixedClock())
    assert await granted(store, "r1", 60)
    await store.ledger.settle("r1", a_record("r1"), [a_touch(60, budget=DAY)])
    lowered, raised = replace(DAY, limit=70), replace(DAY, limit=130)
    assert not await granted(store, "r2", 11, lowered)
    assert await granted(store, "r3", 10, lowered)
    assert await granted(store, "r4", 60, raised)
    assert not await granted(store, "r5", 1)
    await store.ledger.void("r4")
    assert await granted(store, "r6", 30)
    assert await store.reports.verify() == []


async def test_what_goes_beyond_its_hold_is_nobody_elses_to_spend(
    deployment: Deployment, transport: Http1Transport
) -> None:
    store = deployment.store(transport, FixedClock())
    assert await granted(store, "open", 30)
    assert await granted(store, "over", 10)
    await store.ledger.settle("over", a_record("over"), [a_touch(85, budget=DAY)])
    assert await standing(store) == Standing(85, 30)
    refused = await asyncio.gather(*(granted(store, f"r{number}", 1) for number in range(16)))
    assert not any(refused)
    await store.ledger.settle("open", a_record("open"), [a_touch(5, budget=DAY)])
    assert await granted(store, "last", 10)
    assert not await granted(store, "more", 1)
    assert await store.reports.verify() == []


async def test_a_cut_closes_every_shard(deployment: Deployment, transport: Http1Transport) -> None:
    store = deployment.store(transport, FixedClock())
    assert await granted(store, "open", 10)
    await store.ledger.exhaust([a_touch(budget=DAY)])
    refused = await asyncio.gather(*(granted(store, f"r{number}", 1) for number in range(24)))
    assert not any(refused)
    assert (await standing(store)).is_marked


async def test_a_reset_gives_every_shard_its_room_back(
    deployment: Deployment, transport: Http1Transport
) -> None:
    store = deployment.store(transport, FixedClock())
    for number in range(10):
        await granted(store, f"r{number}", 10)
        await store.ledger.settle(f"r{number}", a_record(f"r{number}"), [a_touch(10, budget=DAY)])
    assert not await granted(store, "none", 1)
    assert await store.reports.reset(DAY, None, NOON, "root") == 1
    assert len((await store.reports.audit()).rows) == 1
    assert await granted(store, "all", 100)
    assert await store.reports.verify() == []


async def test_the_buckets_of_a_wide_budget_are_listed_by_name(
    deployment: Deployment, transport: Http1Transport
) -> None:
    store = deployment.store(transport, FixedClock())
    models = a_budget(name="models", limit=100, scope=a_scope(model="*"))
    for number in range(12):
        touch = a_touch(5, budget=models, bucket=("opus", "haiku")[number % 2])
        assert await store.ledger.reserve(a_hold(f"r{number}", touch)) is None
    rows = await store.reports.standings([models], NOON)
    assert [(row.bucket, row.standing) for row in rows] == [
        ("haiku", Standing(0, 30)),
        ("opus", Standing(0, 30)),
    ]
