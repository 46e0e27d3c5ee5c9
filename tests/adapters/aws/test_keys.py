"""What only keys in DynamoDB meet: lost answers, and changes of one key at the same time."""

import asyncio
from datetime import timedelta

import pytest

from farebox.adapters.aws.key_store.keys import FRESH_MS, STALE_MS
from farebox.domain.errors import Conflict, StoreFault
from farebox.domain.identity import GatewayKey
from farebox.wire.http1 import Http1Transport
from tests.support.builders import NOON, FixedClock, a_hash, a_key
from tests.support.dynamo import Deployment, ask
from tests.support.fault_proxy import Fault, FaultProxy


async def test_changes_whose_answers_were_lost_are_made_once(
    deployment: Deployment, transport: Http1Transport
) -> None:
    async with FaultProxy(deployment.port, [Fault.CUT_AFTER] * 3, forgets_tokens=True) as proxy:
        store = deployment.store(transport, FixedClock(), port=proxy.port)
        await store.keys.add_gateway_key(a_key(), a_hash(1))
        proxy.faults.extend([Fault.CUT_AFTER])
        await store.keys.add_secret("key_1", a_hash(2), "fb-second", NOON)
        proxy.faults.extend([Fault.CUT_AFTER])
        await store.keys.update_gateway_key(a_key(name="alicia"))
        actions = [entry.action for entry in (await store.reports.audit()).rows]
        assert actions == ["update", "rotate", "create"]
        assert await store.keys.find_gateway_key(a_hash(2)) == a_key(name="alicia", shown="fb-second")


async def test_changes_at_once_are_all_made(deployment: Deployment, transport: Http1Transport) -> None:
    stores = [deployment.store(transport, FixedClock()) for _ in range(4)]
    await stores[0].keys.add_gateway_key(a_key(), a_hash(1))
    await asyncio.gather(
        *(
            store.keys.add_secret("key_1", a_hash(10 + number), "fb-next", NOON)
            for number, store in enumerate(stores)
        )
    )
    entries = (await stores[0].reports.audit()).rows
    # Four processes in one frozen moment: what they wrote has no order among them.
    assert sorted(entry.action for entry in entries) == ["create"] + ["rotate"] * 4


async def test_of_keys_made_at_once_under_one_name_one_is_made(
    deployment: Deployment, transport: Http1Transport
) -> None:
    store = deployment.store(transport, FixedClock())
    results = await asyncio.gather(
        *(store.keys.add_gateway_key(a_key(id=f"key_{number}"), a_hash(number)) for number in range(5)),
        return_exceptions=True,
    )
    assert sorted(type(result).__name__ for result in results) == ["Conflict"] * 4 + ["NoneType"]
    found = [await store.keys.find_gateway_key(a_hash(number)) for number in range(5)]
    assert [isinstance(key, GatewayKey) for key in found].count(True) == 1


async def test_a_secret_opens_one_key_only(deployment: Deployment, transport: Http1Transport) -> None:
    store = deployment.store(transport, FixedClock())
    await store.keys.add_gateway_key(a_key(), a_hash(1))
    with pytest.raises(Conflict, match="the id or the secret of 'bob'"):
        await store.keys.add_gateway_key(a_key(id="key_2", name="bob"), a_hash(1))
    assert await store.keys.find_gateway_key(a_hash(1)) == a_key()


async def test_secrets_that_have_stopped_are_forgotten(
    deployment: Deployment, transport: Http1Transport
) -> None:
    store = deployment.store(transport, FixedClock())
    await store.keys.add_gateway_key(a_key(), a_hash(1))
    for number in (2, 3):
        await store.keys.add_secret("key_1", a_hash(number), "fb-next", NOON)
    items = ask(deployment.port, "Scan", {"TableName": deployment.names.keys})["Items"]
    secrets = {item["pk"]["S"] for item in items if item["pk"]["S"].startswith("secret#")}
    assert secrets == {f"secret#{a_hash(number).hex()}" for number in (2, 3)}


async def test_authentication_is_one_read(deployment: Deployment, transport: Http1Transport) -> None:
    async with FaultProxy(deployment.port) as proxy:
        store = deployment.store(transport, FixedClock(), port=proxy.port)
        await store.keys.add_gateway_key(a_key(), a_hash(1))
        proxy.seen.clear()
        assert await store.keys.find_gateway_key(a_hash(1)) == a_key()
        assert proxy.seen == ["GetItem"]


async def test_a_key_that_was_found_serves_for_seconds_without_another_read(
    deployment: Deployment, transport: Http1Transport
) -> None:
    here, there = FixedClock(), FixedClock()
    admin, proxy = (deployment.store(transport, clock).keys for clock in (there, here))
    await admin.add_gateway_key(a_key(), a_hash(1))
    assert await proxy.find_gateway_key(a_hash(1)) == a_key()
    await admin.update_gateway_key(a_key(revoked_at=NOON))
    assert await admin.find_gateway_key(a_hash(1)) == a_key(revoked_at=NOON)
    assert await proxy.find_gateway_key(a_hash(1)) == a_key()
    here.advance(timedelta(milliseconds=FRESH_MS))
    assert await proxy.find_gateway_key(a_hash(1)) == a_key(revoked_at=NOON)
    assert FRESH_MS <= 5_000


async def test_a_key_that_is_not_there_is_looked_for_each_time(
    deployment: Deployment, transport: Http1Transport
) -> None:
    admin, proxy = (deployment.store(transport, FixedClock()).keys for _ in range(2))
    assert await proxy.find_gateway_key(a_hash(1)) is None
    await admin.add_gateway_key(a_key(), a_hash(1))
    assert await proxy.find_gateway_key(a_hash(1)) == a_key()


async def test_while_the_store_is_away_a_known_key_opens_for_five_minutes(
    deployment: Deployment, transport: Http1Transport
) -> None:
    clock = FixedClock()
    async with FaultProxy(deployment.port, spoils_reads=True) as proxy:
        keys = deployment.store(transport, clock, port=proxy.port).keys
        await keys.add_gateway_key(a_key(), a_hash(1))
        clock.advance(timedelta(milliseconds=1))
        await keys.find_gateway_key(a_hash(1))
        proxy.faults.extend([Fault.SERVER_ERROR] * 100)
        clock.advance(timedelta(milliseconds=STALE_MS - 1))
        assert await keys.find_gateway_key(a_hash(1)) == a_key()
        clock.advance(timedelta(milliseconds=1))
        with pytest.raises(StoreFault):
            await keys.find_gateway_key(a_hash(1))
        with pytest.raises(StoreFault):
            await keys.find_gateway_key(a_hash(2))
