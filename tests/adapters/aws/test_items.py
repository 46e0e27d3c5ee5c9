"""Answers that come in several pieces are put together, and what is left out is asked for again."""

import json
from typing import Any

import pytest

from farebox.adapters.aws.dynamodb.actions import put
from farebox.adapters.aws.dynamodb.items import MAX_ACTIONS, Items
from farebox.domain.errors import StoreFault
from tests.adapters.aws.test_client import Peer, a_client, ok

KEYS = [{"id": f"k{number}"} for number in range(130)]


def wire(*ids: str) -> list[dict[str, Any]]:
    return [{"id": {"S": each}} for each in ids]


def asked(peer: Peer) -> list[dict[str, Any]]:
    return [json.loads(request.body) for request in peer.asked]


async def test_a_batch_asks_again_for_what_was_left_out() -> None:
    left = {"t": {"ConsistentRead": True, "Keys": wire("k1")}}
    client, peer = a_client(
        ok(Responses={"t": wire("k0")}, UnprocessedKeys=left),
        ok(Responses={}, UnprocessedKeys=left),
        ok(Responses={"t": wire("k1")}, UnprocessedKeys={}),
    )
    assert await Items(client).get_many("t", KEYS[:2]) == KEYS[:2]
    assert [request["RequestItems"] for request in asked(peer)[1:]] == [left, left]


async def test_a_batch_that_never_gets_anything_is_given_up() -> None:
    left = {"t": {"ConsistentRead": True, "Keys": wire("k0", "k1")}}
    client, peer = a_client(*(ok(Responses={}, UnprocessedKeys=left) for _ in range(20)))
    with pytest.raises(StoreFault, match="2 items were not to be had"):
        await Items(client).get_many("t", KEYS[:2])
    assert len(peer.asked) == 12


async def test_more_keys_than_a_batch_takes_are_several_batches() -> None:
    client, peer = a_client(*(ok(Responses={"t": []}) for _ in range(2)))
    assert await Items(client).get_many("t", KEYS, names=["id"]) == []
    tables = [request["RequestItems"]["t"] for request in asked(peer)]
    assert [len(table["Keys"]) for table in tables] == [100, 30]
    assert {table["ProjectionExpression"] for table in tables} == {"#id"}


async def test_no_keys_are_no_call() -> None:
    client, peer = a_client()
    assert await Items(client).get_many("t", []) == []
    assert peer.asked == []


async def test_a_query_goes_from_page_to_page_and_stops_at_its_limit() -> None:
    client, peer = a_client(
        ok(Items=wire("a", "b"), LastEvaluatedKey={"id": {"S": "b"}}),
        ok(Items=[], LastEvaluatedKey={"id": {"S": "c"}}),
        ok(Items=wire("d", "e")),
    )
    found = [item["id"] async for item in Items(client).query("t", "#id = :id", limit=3, id="x")]
    assert found == ["a", "b", "d"]
    assert [request.get("ExclusiveStartKey") for request in asked(peer)] == [
        None,
        {"id": {"S": "b"}},
        {"id": {"S": "c"}},
    ]


async def test_a_step_of_more_writes_than_a_transaction_takes_is_not_sent() -> None:
    client, peer = a_client()
    with pytest.raises(StoreFault, match="101 writes of at most 100"):
        await Items(client).transact([put("t", key) for key in KEYS[: MAX_ACTIONS + 1]])
    assert peer.asked == []
