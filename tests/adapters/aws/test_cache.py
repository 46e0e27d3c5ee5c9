"""Cached answers in a deployment: what does not fit an item is an object, and what is damaged a miss."""

import os
from datetime import timedelta

import pytest

from farebox.adapters.aws.dynamodb.actions import put
from farebox.adapters.aws.dynamodb.items import Items
from farebox.adapters.aws.services.cache import DynamoResponseCache
from farebox.adapters.aws.tables import EXPIRES_AT
from farebox.adapters.cache_entry import pack
from farebox.domain.errors import StoreFault
from farebox.wire.http1 import Http1Transport
from tests.support.builders import NOON, FixedClock, a_cache_entry
from tests.support.dynamo import Deployment, ask

KEY = b"\7" * 32
ITEM = {"pk": {"S": f"answer#{KEY.hex()}"}, "sk": {"S": "-"}}
LARGE = os.urandom(500_000)


def stored(deployment: Deployment) -> dict[str, dict[str, str]]:
    answer = ask(deployment.port, "GetItem", {"TableName": deployment.names.cache, "Key": ITEM})
    item: dict[str, dict[str, str]] = answer["Item"]
    return item


async def test_an_item_names_the_second_from_which_it_may_be_dropped(
    deployment: Deployment, transport: Http1Transport
) -> None:
    cache = deployment.store(transport, FixedClock()).cache
    ends = NOON + timedelta(seconds=60, milliseconds=1)
    await cache.put(KEY, a_cache_entry(expires_at=ends))
    assert stored(deployment)[EXPIRES_AT] == {"N": str(int(NOON.timestamp()) + 61)}


async def test_the_largest_item_is_within_what_dynamodb_takes(
    deployment: Deployment, transport: Http1Transport
) -> None:
    deployment.create_bucket()
    cache = deployment.store(transport, FixedClock()).cache
    fits = a_cache_entry(os.urandom(389_000))
    assert await cache.put(KEY, fits)
    assert "data" in stored(deployment)
    assert await cache.get(KEY, NOON) == fits
    assert await cache.put(KEY, a_cache_entry(LARGE))
    assert "object" in stored(deployment)


async def test_without_a_bucket_a_large_answer_is_not_kept(
    deployment: Deployment, transport: Http1Transport
) -> None:
    client = deployment.client(transport, FixedClock())
    cache = DynamoResponseCache(Items(client), deployment.names)
    assert not await cache.put(KEY, a_cache_entry(LARGE))
    assert await cache.get(KEY, NOON) is None
    assert await cache.put(KEY, a_cache_entry(b"small"))


async def test_an_answer_whose_object_or_bucket_is_gone_is_a_miss(
    deployment: Deployment, transport: Http1Transport, caplog: pytest.LogCaptureFixture
) -> None:
    deployment.create_bucket()
    client = deployment.client(transport, FixedClock())
    await deployment.store(transport, FixedClock()).cache.put(KEY, a_cache_entry(LARGE))
    assert await DynamoResponseCache(Items(client), deployment.names).get(KEY, NOON) is None
    item = {"pk": f"answer#{KEY.hex()}", "sk": "-", "object": "answers/gone"}
    await Items(client).write(put(deployment.names.cache, item))
    assert await deployment.store(transport, FixedClock()).cache.get(KEY, NOON) is None
    assert "gone" in caplog.text


@pytest.mark.parametrize("data", [b"", b"fbc1", pack(a_cache_entry())[:-4], None])
async def test_an_item_that_is_no_entry_is_a_miss(
    deployment: Deployment, transport: Http1Transport, data: bytes | None
) -> None:
    item = {"pk": f"answer#{KEY.hex()}", "sk": "-", "data": data}
    await Items(deployment.client(transport, FixedClock())).write(put(deployment.names.cache, item))
    assert await deployment.store(transport, FixedClock()).cache.get(KEY, NOON) is None


async def test_a_bucket_that_is_not_there_is_a_fault_and_leaves_no_item(
    deployment: Deployment, transport: Http1Transport
) -> None:
    cache = deployment.store(transport, FixedClock()).cache
    with pytest.raises(StoreFault, match="S3 does not take"):
        await cache.put(KEY, a_cache_entry(LARGE))
    assert await cache.get(KEY, NOON) is None


async def test_an_object_is_put_and_got_whole_and_missed_where_it_is_not(
    deployment: Deployment, transport: Http1Transport
) -> None:
    deployment.create_bucket()
    objects = deployment.objects(transport, FixedClock())
    await objects.put("a/b", LARGE)
    assert await objects.get("a/b") == LARGE
    assert await objects.get("a/c") is None
