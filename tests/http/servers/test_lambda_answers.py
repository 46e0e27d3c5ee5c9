"""Through the real wrapper: what an answer and a request are, from the client's side and from Lambda's."""

from __future__ import annotations

import gzip

import pytest

from tests.http.servers.conftest import Function
from tests.support.cloud.app.streaming_app import PIECE, PIECES
from tests.support.cloud.client import asking
from tests.support.cloud.function_url import EVENT_BYTES_MAX, FunctionUrl
from tests.support.cloud.gates import Gates

JSON = ("content-type", "application/json")


async def test_each_chunk_is_with_the_client_before_the_next_one_is_made(
    function: Function, gates: Gates
) -> None:
    async with FunctionUrl(function()) as url, asking(url.port, "/steps") as reply:
        assert await anext(reply.pieces) == b"one "
        assert not gates.is_reached("two")
        gates.open("one")
        assert await anext(reply.pieces) == b"two "
        gates.open("two", "settled")
        assert await reply.read() == b"three"


async def test_an_answer_is_settled_between_its_last_byte_and_the_next_request(
    function: Function, gates: Gates
) -> None:
    gates.open("one", "two")
    async with FunctionUrl(function(), environments=1) as url:
        async with asking(url.port, "/steps") as reply:
            assert await reply.read() == b"one two three"
            assert reply.is_whole
        await gates.reached("settled")
        (environment,) = url.environments
        assert not environment.api.asked.is_set()
        async with asking(url.port, "/echo") as refused:
            assert refused.status == 429
        gates.open("settled")
        await url.all_frozen()
        assert environment.api.asked.is_set()
        async with asking(url.port, "/echo") as served:
            assert served.status == 201
        await url.all_frozen()
        assert [(one.ending, one.is_cold) for one in url.invocations] == [("whole", True), ("whole", False)]


async def test_status_headers_and_cookies_stand_before_the_body(function: Function) -> None:
    async with FunctionUrl(function()) as url:
        async with asking(url.port, "/echo", body=b"{}", headers=[JSON]) as reply:
            assert await reply.read() == b"{}"
        assert reply.status == 201
        assert reply.head.value("x-many") == "one, two"
        assert reply.head.values("set-cookie") == ["a=1; Path=/", "b=2"]
        assert reply.head.value("content-length") is None
        (invocation,) = url.invocations
        assert invocation.prelude is not None
        assert invocation.prelude.cookies == ["a=1; Path=/", "b=2"]


async def test_a_request_arrives_as_it_was_sent_in_both_encodings(function: Function) -> None:
    text, packed = '{"words": "żółw"}'.encode(), gzip.compress(b"words", mtime=0)
    sent = [
        (text, [JSON], b'"isBase64Encoded":false'),
        (packed, [JSON, ("content-encoding", "gzip")], b'"isBase64Encoded":true'),
        (bytes(range(256)), [("content-type", "application/octet-stream")], b'"isBase64Encoded":true'),
    ]
    own = [("cookie", "a=1; b=2"), ("x-own", "one"), ("x-own", "two")]
    async with FunctionUrl(function()) as url:
        for body, headers, encoding in sent:
            target = "/echo/a%2Fb?beta=true&x=%20"
            async with asking(url.port, target, body=body, headers=[*headers, *own]) as reply:
                assert await reply.read() == body
            await url.all_frozen()
            assert encoding in url.invocations[-1].event
            assert reply.head.value("x-target") == "POST /echo/a%2Fb ? beta=true&x=%20"
            assert reply.head.value("x-asked-cookie") == "a=1; b=2"
            assert reply.head.value("x-asked-x-own") == "one,two"


async def test_large_bodies_pass_both_ways_and_larger_ones_are_refused_by_lambda(function: Function) -> None:
    large = b'"%b"' % (b"x" * (EVENT_BYTES_MAX - 4_096))
    async with FunctionUrl(function()) as url:
        async with asking(url.port, "/echo", body=large, headers=[JSON]) as reply:
            assert await reply.read() == large
        await url.all_frozen()
        async with asking(url.port, "/large") as reply:
            assert await reply.read() == PIECE * PIECES
        await url.all_frozen()
        async with asking(url.port, "/echo", body=b'"%b"' % (b"x" * EVENT_BYTES_MAX)) as refused:
            assert refused.status == 413
        assert (len(url.invocations), url.too_large) == (2, 1)


@pytest.mark.parametrize("losses", [1, 2])
async def test_a_connection_lost_while_frozen_costs_no_request(function: Function, losses: int) -> None:
    async with FunctionUrl(function()) as url:
        for _ in range(losses + 1):
            async with asking(url.port, "/echo", body=b"{}", headers=[JSON]) as reply:
                assert await reply.read() == b"{}"
            await url.all_frozen()
            await url.environments[0].api.drop_connections()
        assert [invocation.is_cold for invocation in url.invocations] == [True, *[False] * losses]
