"""What an answer says and how it ends, over real sockets on both event loops."""

from __future__ import annotations

import asyncio

import pytest

from farebox.domain.errors import UpstreamCut
from farebox.wire.http import HttpRequest
from farebox.wire.http1 import Http1Transport
from tests.support.http1_client import CHUNKED, OK, PATIENT, ask, post, read_all
from tests.support.raw_server import Peer, answering, raw_server


async def test_a_request_goes_out_as_its_line_its_headers_and_its_length(transport: Http1Transport) -> None:
    seen = []

    async def script(peer: Peer) -> None:
        seen.append(await peer.answer(OK))

    async with raw_server(script) as server:
        answer = await transport.send(post(server), PATIENT)
        assert (answer.status, answer.headers) == (200, [(b"content-length", b"5")])
        assert await read_all(answer) == b"hello"
    (received,) = seen
    host = f"127.0.0.1:{server.origin.port}".encode()
    assert received.head == (
        b"POST /v1/messages?beta=true HTTP/1.1\r\nhost: " + host + b"\r\nx-a: 1\r\ncontent-length: 2\r\n\r\n"
    )
    assert received.body == b"{}"


async def test_each_event_is_given_as_soon_as_it_arrives(transport: Http1Transport) -> None:
    read = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.answer(CHUNKED)
        for event in (b"5\r\nfirst\r\n", b"6\r\nsecond\r\n", b"0\r\n\r\n"):
            await peer.send(event)
            await read.wait()
            read.clear()

    async with raw_server(script) as server:
        answer = await transport.send(post(server), PATIENT)
        assert await answer.receive() == b"first"
        read.set()
        assert await answer.receive() == b"second"
        read.set()
        assert await answer.receive() == b""
        read.set()


async def test_an_answer_to_head_has_no_body(transport: Http1Transport) -> None:
    async with raw_server(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")) as server:
        answer = await transport.send(HttpRequest(b"HEAD", server.origin, b"/", []), PATIENT)
        assert answer.headers == [(b"content-length", b"5")]
        assert await read_all(answer) == b""


async def test_a_body_without_framing_ends_with_the_connection(transport: Http1Transport) -> None:
    async with raw_server(answering(b"HTTP/1.1 200 OK\r\n\r\nhello")) as server:
        answer = await transport.send(post(server), PATIENT)
        assert answer.close_delimited
        assert await read_all(answer) == b"hello"


async def test_a_reset_is_no_end_of_a_body_without_framing(transport: Http1Transport) -> None:
    read = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.answer(b"HTTP/1.1 200 OK\r\n\r\nhello")
        await read.wait()
        peer.reset()

    async with raw_server(script) as server:
        answer = await transport.send(post(server), PATIENT)
        assert await answer.receive() == b"hello"
        read.set()
        with pytest.raises(UpstreamCut, match="lost"):
            await answer.receive()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello",
        CHUNKED + b"5\r\nhel",
        CHUNKED + b"5\r\nhello\r\n",
        CHUNKED + b"5\r\nhello\r\n0\r\n",
        CHUNKED + b"5\r\nhello\r\n0\r\nx-trailer: 1\r\n",
        CHUNKED + b"5\r\nhello\r\nzz\r\n",
        CHUNKED + b"5\r\nhelloXX",
        b"SSH-2.0-server\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
    ],
)
async def test_an_answer_that_breaks_off_never_ends_cleanly(transport: Http1Transport, answer: bytes) -> None:
    async with raw_server(answering(answer)) as server:
        with pytest.raises(UpstreamCut):
            await ask(transport, post(server))


async def test_what_arrived_before_a_cut_is_given_first_and_the_cut_every_time_after(
    transport: Http1Transport,
) -> None:
    async with raw_server(answering(CHUNKED + b"5\r\nhello\r\n")) as server:
        answer = await transport.send(post(server), PATIENT)
        assert await answer.receive() == b"hello"
        for _ in range(2):
            with pytest.raises(UpstreamCut, match="before the answer did"):
                await answer.receive()


async def test_pieces_that_wait_are_given_as_one(transport: Http1Transport) -> None:
    async with raw_server(answering(CHUNKED + b"1\r\na\r\n1\r\nb\r\n0\r\n\r\n")) as server:
        answer = await transport.send(post(server), PATIENT)
        assert [await answer.receive(), await answer.receive()] == [b"ab", b""]


async def test_answers_before_the_real_one_are_skipped(transport: Http1Transport) -> None:
    early = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
    async with raw_server(answering(early + OK)) as server:
        answer = await transport.send(post(server), PATIENT)
        assert (answer.status, answer.headers) == (200, [(b"content-length", b"5")])


async def test_two_tasks_cannot_read_the_same_answer(transport: Http1Transport) -> None:
    async def script(peer: Peer) -> None:
        await peer.answer(CHUNKED)
        await peer.until_closed()

    async with raw_server(script) as server:
        answer = await transport.send(post(server), PATIENT)
        first = asyncio.ensure_future(answer.receive())
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="two tasks"):
            await answer.receive()
        answer.abort()
        with pytest.raises(UpstreamCut):
            await first
