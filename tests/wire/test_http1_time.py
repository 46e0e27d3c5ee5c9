"""Bounds in time and memory. Where a bound is the subject, real time passes: tens of ms each."""

from __future__ import annotations

import asyncio

import pytest

from farebox.domain.errors import UpstreamTimeout
from farebox.wire.http import Silence, Timeouts
from farebox.wire.http1 import Http1Transport
from farebox.wire.http1.exchange import BUFFER_LIMIT_BYTES, Exchange
from tests.support.http1_client import CHUNKED, OK, PATIENT, all_closed, ask, post, read_all
from tests.support.raw_server import Peer, answering, raw_server


async def silences_until_idle(answer: Exchange) -> int:
    told = 0
    while True:
        try:
            await answer.receive()
        except Silence:
            told += 1
        except UpstreamTimeout as late:
            return told if late.waited_for == "idle" else -1


async def test_a_slow_head_times_out_on_the_first_byte(transport: Http1Transport) -> None:
    async def script(peer: Peer) -> None:
        await peer.receive()
        await peer.send(b"HTTP/1.1 200 OK\r\n")
        await peer.until_closed()

    async with raw_server(script) as server:
        with pytest.raises(UpstreamTimeout) as raised:
            await transport.send(post(server), Timeouts(first_byte_ms=40))
        assert (raised.value.waited_for, raised.value.timeout_ms) == ("first_byte", 40)
        await all_closed(transport)


async def test_a_stalled_body_times_out_as_idle(transport: Http1Transport) -> None:
    async def script(peer: Peer) -> None:
        await peer.answer(CHUNKED + b"5\r\nhello\r\n")
        await peer.until_closed()

    async with raw_server(script) as server:
        answer = await transport.send(post(server), Timeouts(idle_ms=40))
        assert await answer.receive() == b"hello"
        with pytest.raises(UpstreamTimeout) as raised:
            await answer.receive()
        assert (raised.value.waited_for, raised.value.timeout_ms) == ("idle", 40)


async def test_an_answer_that_never_stalls_times_out_in_total(transport: Http1Transport) -> None:
    async def script(peer: Peer) -> None:
        await peer.answer(CHUNKED)
        while True:
            await peer.send(b"1\r\na\r\n")
            await asyncio.sleep(0)

    async with raw_server(script) as server:
        answer = await transport.send(post(server), Timeouts(total_ms=50))
        with pytest.raises(UpstreamTimeout) as raised:
            await read_all(answer)
        assert (raised.value.waited_for, raised.value.timeout_ms) == ("total", 50)


async def test_silence_is_told_again_and_again_and_loses_nothing(transport: Http1Transport) -> None:
    heard = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.answer(CHUNKED)
        await heard.wait()
        await peer.send(b"5\r\nhello\r\n0\r\n\r\n")

    async with raw_server(script) as server:
        answer = await transport.send(post(server), PATIENT, silence_ms=20)
        for _ in range(2):
            with pytest.raises(Silence):
                await answer.receive()
        heard.set()
        assert await read_all(answer) == b"hello"


async def test_silence_does_not_put_off_the_idle_bound(transport: Http1Transport) -> None:
    async def script(peer: Peer) -> None:
        await peer.answer(CHUNKED)
        await peer.until_closed()

    async with raw_server(script) as server:
        answer = await transport.send(post(server), Timeouts(idle_ms=50), silence_ms=15)
        assert 1 <= await silences_until_idle(answer) <= 3


async def test_a_reader_that_does_not_read_stops_the_server(transport: Http1Transport) -> None:
    piece = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
    sent = 0
    blocked = asyncio.Event()

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.answer(CHUNKED)
        for _ in range(512):
            sending = asyncio.ensure_future(peer.send(piece))
            if not (await asyncio.wait([sending], timeout=0.05))[0]:
                blocked.set()
            await sending
            sent += 1
        await peer.send(b"0\r\n\r\n")

    async with raw_server(script) as server:
        answer = await transport.send(post(server), Timeouts(idle_ms=30_000))
        await blocked.wait()
        assert sent < 512
        first = await answer.receive()
        # What was read in one go may lie above the limit, a second such read may not.
        assert len(first) <= 2 * BUFFER_LIMIT_BYTES
        total = len(first)
        while data := await answer.receive():
            assert len(data) <= 2 * BUFFER_LIMIT_BYTES
            total += len(data)
        assert total == 512 * 65_536


async def test_time_in_which_we_did_not_listen_is_not_the_upstreams_silence(
    transport: Http1Transport,
) -> None:
    blocked = asyncio.Event()
    body = b"x" * 16_000_000

    async def script(peer: Peer) -> None:
        sending = asyncio.ensure_future(
            peer.answer(b"HTTP/1.1 200 OK\r\ncontent-length: 16000000\r\n\r\n" + body)
        )
        # Longer than the client's idle bound.
        assert not (await asyncio.wait([sending], timeout=0.1))[0]
        blocked.set()
        await sending

    async with raw_server(script) as server:
        answer = await transport.send(post(server), Timeouts(idle_ms=50))
        await blocked.wait()
        assert len(await read_all(answer)) == len(body)


async def test_thirty_two_megabytes_go_up(transport: Http1Transport) -> None:
    body = bytes(range(256)) * 131_072
    seen = []

    async def script(peer: Peer) -> None:
        seen.append(await peer.answer(OK))
        await peer.until_closed()

    async with raw_server(script) as server:
        assert await ask(transport, post(server, body)) == b"hello"
        await transport.aclose()
    assert seen[0].body == body


async def test_an_answer_during_the_upload_is_received_and_its_connection_dropped(
    transport: Http1Transport,
) -> None:
    refusal = b"HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\n\r\nlarge"

    async def script(peer: Peer) -> None:
        await peer.receive_head()
        await peer.send(refusal)
        await peer.until_closed()

    async with raw_server(script, answering(OK)) as server:
        answer = await transport.send(post(server, b"x" * 33_554_432), PATIENT)
        assert (answer.status, await read_all(answer)) == (413, b"large")
        await all_closed(transport)
        assert await ask(transport, post(server)) == b"hello"


async def test_an_upload_that_moves_does_not_count_as_waiting_for_the_first_byte(
    transport: Http1Transport,
) -> None:
    """The server takes the body in bites with pauses that are shorter than the bound and together longer."""
    bites = 10
    body = b"x" * 33_554_430
    never = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.receive_head()
        for _ in range(bites):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(never.wait(), 0.03)
            await peer.receive_bytes(len(body) // bites)
        await peer.send(OK)

    async with raw_server(script) as server:
        assert await ask(transport, post(server, body), Timeouts(first_byte_ms=200)) == b"hello"
