"""What only the policy in DynamoDB does: parts, looks from time to time, a bound on what requests touch."""

from datetime import timedelta

import pytest

from farebox.adapters.aws.dynamodb.items import Items
from farebox.adapters.aws.policies import REFRESH_MS, STALE_MS, DynamoPolicies
from farebox.adapters.aws.stamps import Stamps
from farebox.adapters.aws.width import MAX_TOUCHES
from farebox.domain.errors import ConfigInvalid, Conflict, StoreFault
from farebox.ports import Resource
from farebox.wire.http1 import Http1Transport
from tests.support.builders import FixedClock, a_resource
from tests.support.dynamo import Deployment, ask
from tests.support.fault_proxy import Fault, FaultProxy


def policies(
    deployment: Deployment,
    transport: Http1Transport,
    clock: FixedClock,
    *,
    port: int = 0,
    part_bytes: int = 200,
) -> DynamoPolicies:
    items = Items(deployment.client(transport, clock, port=port or deployment.port))
    return DynamoPolicies(items, deployment.names, clock, Stamps(clock, items.token()), part_bytes=part_bytes)


async def write(store: DynamoPolicies, version: int, *upserts: Resource) -> int:
    return await store.write(upserts=upserts, deletes=[], expected_version=version, actor="root")


def parts(deployment: Deployment) -> int:
    items = ask(deployment.port, "Scan", {"TableName": deployment.names.keys})["Items"]
    return sum(item["pk"]["S"].startswith("policy#") for item in items)


async def test_a_policy_of_many_parts_is_read_whole_and_leaves_none_behind(
    deployment: Deployment, transport: Http1Transport
) -> None:
    clock = FixedClock()
    store = policies(deployment, transport, clock)
    many = [
        a_resource(
            name=f"p{number:03d}",
            document={"slug": f"p{number:03d}", "type": "demo", "credential": f"env:{number**9:x}"},
        )
        for number in range(120)
    ]
    await write(store, 0, *many)
    assert await store.resources() == (1, many)
    before = parts(deployment)
    await write(store, 1, a_resource(name="z-last"))
    assert before > 3
    assert parts(deployment) - before in (0, 1)
    assert (await policies(deployment, transport, clock).resources())[1] == [*many, a_resource(name="z-last")]


async def test_a_write_that_lost_leaves_no_parts_behind(
    deployment: Deployment, transport: Http1Transport
) -> None:
    clock = FixedClock()
    store = policies(deployment, transport, clock, part_bytes=40)
    async with FaultProxy(deployment.port) as proxy:
        slow = policies(deployment, transport, clock, port=proxy.port, part_bytes=40)
        stored = await slow._read()
        await write(store, 0, a_resource(name="first"))
        before = parts(deployment)
        with pytest.raises(Conflict, match="version 1, not 0"):
            await slow._replace(stored, [a_resource(name="second")], [])
        assert parts(deployment) == before
        assert await store.resources() == (1, [a_resource(name="first")])


async def test_a_write_whose_answer_was_lost_is_not_taken_for_another(
    deployment: Deployment, transport: Http1Transport
) -> None:
    clock = FixedClock()
    async with FaultProxy(deployment.port, [Fault.CUT_AFTER], forgets_tokens=True) as proxy:
        store = policies(deployment, transport, clock, port=proxy.port, part_bytes=9_999)
        assert await write(store, 0, a_resource()) == 1
        assert proxy.spoilt == [Fault.CUT_AFTER]


async def test_the_version_is_looked_at_from_time_to_time_only(
    deployment: Deployment, transport: Http1Transport
) -> None:
    clock = FixedClock()
    writer = policies(deployment, transport, clock)
    async with FaultProxy(deployment.port) as proxy:
        reader = policies(deployment, transport, clock, port=proxy.port, part_bytes=9_999)
        await write(writer, 0, a_resource("budget", "month"))
        assert (await reader.current()).version == 1
        await write(writer, 1, a_resource("budget", "day"))
        clock.advance(timedelta(milliseconds=REFRESH_MS - 1))
        assert (await reader.current()).version == 1
        clock.advance(timedelta(milliseconds=1))
        assert (await reader.current()).version == 2
        kept = await reader.current()
        clock.advance(timedelta(milliseconds=REFRESH_MS))
        assert await reader.current() is kept


async def test_while_the_store_is_away_the_last_snapshot_serves_for_five_minutes(
    deployment: Deployment, transport: Http1Transport
) -> None:
    clock = FixedClock()
    async with FaultProxy(deployment.port, spoils_reads=True) as proxy:
        store = policies(deployment, transport, clock, port=proxy.port, part_bytes=9_999)
        await write(store, 0, a_resource("budget", "month"))
        known = await store.current()
        proxy.faults.extend([Fault.SERVER_ERROR] * 100)
        clock.advance(timedelta(milliseconds=REFRESH_MS))
        assert await store.current() is known
        asked = len(proxy.seen)
        assert await store.current() is known
        assert len(proxy.seen) == asked
        clock.advance(timedelta(milliseconds=STALE_MS - REFRESH_MS))
        with pytest.raises(StoreFault):
            await store.current()
        proxy.faults.clear()
        assert (await store.current()).version == 1


async def test_budgets_that_one_transaction_could_not_hold_are_refused(
    deployment: Deployment, transport: Http1Transport
) -> None:
    clock = FixedClock()
    store = policies(deployment, transport, clock)
    everywhere = {"scope": {}, "usd": "10", "period": "day"}
    budgets = [
        a_resource("budget", f"b{number}", document={"name": f"b{number}", **everywhere})
        for number in range(MAX_TOUCHES + 1)
    ]
    with pytest.raises(ConfigInvalid, match="could touch 91 of them"):
        await write(store, 0, *budgets)
    assert await write(store, 0, *budgets[:-1]) == 1
