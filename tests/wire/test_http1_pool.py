"""Which connection a request takes, when it is kept, and that none is ever left behind."""

from __future__ import annotations

import asyncio

import pytest

from farebox.domain.errors import UpstreamCut, UpstreamUnreachable
from farebox.wire.http import HttpRequest, Origin
from farebox.wire.http1 import Http1Transport
from tests.support.http1_client import CHUNKED, OK, PATIENT, all_closed, ask, get, post, read_all
from tests.support.raw_server import Peer, answering, answering_open, raw_server


async def test_one_connection_serves_one_request_after_the_other(transport: Http1Transport) -> None:
    chunked = CHUNKED + b"2\r\nhi\r\n0\r\n\r\n"
    no_content = b"HTTP/1.1 204 No Content\r\n\r\n"
    async with raw_server(answering_open(OK, chunked, no_content, OK)) as server:
        assert await ask(transport, post(server)) == b"hello"
        assert await ask(transport, get(server)) == b"hi"
        assert await ask(transport, post(server)) == b""
        assert await ask(transport, post(server)) == b"hello"
        assert (server.connections, transport.open_connections) == (1, 1)
        await transport.aclose()
        assert transport.open_connections == 0


async def test_two_requests_at_a_time_take_two_connections_and_both_are_kept(
    transport: Http1Transport,
) -> None:
    async with raw_server(answering_open(OK, OK), answering_open(OK, OK)) as server:
        for _ in range(2):
            both = asyncio.gather(ask(transport, post(server)), ask(transport, post(server)))
            assert [*await both] == [b"hello", b"hello"]
        assert (server.connections, transport.open_connections) == (2, 2)
        await transport.aclose()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello",
        OK + b"HTTP/1.1 200 OK\r\n",
        OK + b"H",
        b"HTTP/1.1 200 OK\r\n\r\nhello",
    ],
    ids=["close", "1.0", "1.0 keep-alive", "a second answer", "one byte too many", "until close"],
)
async def test_a_connection_that_did_not_end_cleanly_is_not_used_again(
    transport: Http1Transport, answer: bytes
) -> None:
    async with raw_server(answering(answer), answering(OK)) as server:
        assert await ask(transport, post(server)) == b"hello"
        assert await ask(transport, post(server)) == b"hello"
        assert server.connections == 2


async def test_giving_back_an_unread_answer_drops_its_connection(transport: Http1Transport) -> None:
    async def script(peer: Peer) -> None:
        await peer.answer(CHUNKED + b"5\r\nhello\r\n")
        await peer.until_closed()

    async with raw_server(script) as server:
        answer = await transport.send(post(server), PATIENT)
        await answer.aclose()
        assert transport.open_connections == 0
        await answer.aclose()


async def test_abort_wakes_a_waiting_reader(transport: Http1Transport) -> None:
    async def script(peer: Peer) -> None:
        await peer.answer(CHUNKED)
        await peer.until_closed()

    async with raw_server(script) as server:
        answer = await transport.send(post(server), PATIENT)
        waiting = asyncio.ensure_future(answer.receive())
        await asyncio.sleep(0)
        answer.abort()
        answer.abort()
        with pytest.raises(UpstreamCut, match="given up"):
            await waiting
        await answer.aclose()


async def test_abort_after_the_end_changes_nothing(transport: Http1Transport) -> None:
    async with raw_server(answering_open(OK, OK)) as server:
        answer = await transport.send(post(server), PATIENT)
        assert await read_all(answer) == b"hello"
        answer.abort()
        await answer.aclose()
        assert await answer.receive() == b""
        assert await ask(transport, post(server)) == b"hello"
        await transport.aclose()


async def test_cancelling_send_drops_the_connection(transport: Http1Transport) -> None:
    arrived = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.receive()
        arrived.set()
        await peer.until_closed()

    async with raw_server(script) as server:
        sending = asyncio.ensure_future(transport.send(post(server), PATIENT))
        await arrived.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        await all_closed(transport)


async def test_a_cancelled_reader_may_read_on_and_closing_leaves_nothing_open(
    transport: Http1Transport,
) -> None:
    cancelled = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.answer(CHUNKED)
        await cancelled.wait()
        await peer.send(b"5\r\nhello\r\n")
        await peer.until_closed()

    async with raw_server(script) as server:
        answer = await transport.send(post(server), PATIENT)
        reading = asyncio.ensure_future(answer.receive())
        await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        cancelled.set()
        assert await answer.receive() == b"hello"
        await answer.aclose()
        assert transport.open_connections == 0


async def test_nobody_listening_is_unreachable(transport: Http1Transport) -> None:
    async with raw_server() as server:
        origin = server.origin
    with pytest.raises(UpstreamUnreachable) as raised:
        await transport.send(HttpRequest(b"GET", origin, b"/", []), PATIENT)
    assert (raised.value.host, raised.value.dispatched) == ("127.0.0.1", False)


async def test_a_host_that_is_no_name_is_unreachable(transport: Http1Transport) -> None:
    with pytest.raises(UpstreamUnreachable):
        await transport.send(
            HttpRequest(b"GET", Origin("http", "a" * 70 + ".invalid", 80), b"/", []), PATIENT
        )


async def test_a_connection_closed_while_idle_is_not_used_again(transport: Http1Transport) -> None:
    async with raw_server(answering(OK), answering(OK)) as server:
        assert await ask(transport, post(server)) == b"hello"
        await all_closed(transport)
        assert await ask(transport, post(server)) == b"hello"


async def test_a_close_that_the_event_loop_has_not_seen_yet_is_seen(transport: Http1Transport) -> None:
    """The server hangs up and no turn of the loop lies between that and the next request."""
    peers: list[Peer] = []

    async def script(peer: Peer) -> None:
        peers.append(peer)
        await peer.answer(OK)
        await peer.until_closed()

    async with raw_server(script, answering(OK)) as server:
        assert await ask(transport, post(server)) == b"hello"
        peers[0].hang_up_now()
        assert await ask(transport, post(server)) == b"hello"
        assert server.connections == 2


async def test_bytes_nobody_asked_for_end_an_idle_connection(transport: Http1Transport) -> None:
    idle = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.answer(OK)
        await idle.wait()
        await peer.send(OK)
        await peer.until_closed()

    async with raw_server(script, answering(OK)) as server:
        assert await ask(transport, post(server)) == b"hello"
        idle.set()
        await all_closed(transport)
        assert await ask(transport, post(server)) == b"hello"


async def take_and_hang_up(peer: Peer) -> None:
    """Serve one request, then take another whole one and hang up without a word."""
    await peer.answer(OK)
    await peer.receive()


async def test_a_post_that_was_wholly_written_is_never_sent_twice(transport: Http1Transport) -> None:
    async with raw_server(take_and_hang_up) as server:
        assert await ask(transport, post(server)) == b"hello"
        with pytest.raises(UpstreamCut) as raised:
            await ask(transport, post(server))
        assert (server.connections, raised.value.dispatched) == (1, True)


async def test_a_get_on_a_stale_connection_is_sent_again(transport: Http1Transport) -> None:
    async with raw_server(take_and_hang_up, answering(OK)) as server:
        assert await ask(transport, get(server)) == b"hello"
        assert await ask(transport, get(server)) == b"hello"
        assert server.connections == 2


async def test_a_get_is_sent_again_once_and_only_after_a_reused_connection(
    transport: Http1Transport,
) -> None:
    async def take(peer: Peer) -> None:
        await peer.receive()

    async with raw_server(take_and_hang_up, take, take) as server:
        assert await ask(transport, get(server)) == b"hello"
        with pytest.raises(UpstreamCut):
            await ask(transport, get(server))
        assert server.connections == 2
        with pytest.raises(UpstreamCut):
            await ask(transport, get(server))
        assert server.connections == 3


async def test_a_post_cut_while_still_being_written_is_sent_again(transport: Http1Transport) -> None:
    body = b"x" * 33_554_432

    async def hang_up_on_the_second(peer: Peer) -> None:
        await peer.answer(OK)
        await peer.receive_head()
        peer.reset()

    async with raw_server(hang_up_on_the_second, answering(OK)) as server:
        assert await ask(transport, post(server)) == b"hello"
        assert await ask(transport, post(server, body)) == b"hello"
        assert server.connections == 2


async def test_a_get_is_not_sent_again_once_a_byte_of_the_answer_came(transport: Http1Transport) -> None:
    async with raw_server(answering(OK, b"H")) as server:
        assert await ask(transport, get(server)) == b"hello"
        with pytest.raises(UpstreamCut):
            await ask(transport, get(server))


async def test_idle_connections_are_dropped_after_a_while() -> None:
    transport = Http1Transport(idle_keep_s=0.02)
    async with raw_server(answering_open(OK)) as server:
        assert await ask(transport, post(server)) == b"hello"
        assert transport.open_connections == 1
        await all_closed(transport)


async def test_no_more_idle_connections_are_kept_than_allowed() -> None:
    transport = Http1Transport(max_idle_per_origin=1)
    async with raw_server(*[answering_open(OK)] * 3) as server:
        await asyncio.gather(*(ask(transport, post(server)) for _ in range(3)))
        while transport.open_connections > 1:
            await asyncio.sleep(0)
        await transport.aclose()
        assert (server.connections, transport.open_connections) == (3, 0)


async def test_a_connection_that_ends_after_the_transport_was_closed_is_not_kept() -> None:
    transport = Http1Transport()
    closed = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.answer(CHUNKED)
        await closed.wait()
        await peer.send(b"0\r\n\r\n")
        await peer.until_closed()

    async with raw_server(script) as server:
        answer = await transport.send(post(server), PATIENT)
        await transport.aclose()
        closed.set()
        assert await read_all(answer) == b""
        await all_closed(transport)


async def test_a_server_that_speaks_first_is_refused(transport: Http1Transport) -> None:
    async def greet(peer: Peer) -> None:
        await peer.send(b"220 mail.invalid ESMTP\r\n")
        await peer.until_closed()

    async with raw_server(greet) as server:
        with pytest.raises((UpstreamUnreachable, UpstreamCut)):
            await ask(transport, post(server))


async def test_a_hundred_requests_at_once_leave_no_connection_open(transport: Http1Transport) -> None:
    async with raw_server(*[answering_open(OK)] * 100) as server:
        bodies = await asyncio.gather(*(ask(transport, post(server)) for _ in range(100)))
        assert bodies == [b"hello"] * 100
        await transport.aclose()
        assert transport.open_connections == 0
