"""A request whose body leaves piece by piece: its chunks on the wire, and what it does to its connection."""

from __future__ import annotations

import asyncio

import pytest

from farebox.domain.errors import UpstreamCut
from farebox.wire.http import HttpRequest
from farebox.wire.http1 import Http1Transport
from farebox.wire.http1.exchange import UPLOAD_BUFFER_BYTES
from farebox.wire.http1.upload import Upload
from tests.support.http1_client import OK, PATIENT, ask, post, read_all
from tests.support.raw_server import Peer, RawServer, answering, raw_server

HEAD = b"POST /v1/messages HTTP/1.1\r\nhost: 127.0.0.1:%d\r\ntransfer-encoding: chunked\r\n\r\n"


async def an_upload(transport: Http1Transport, server: RawServer) -> Upload:
    request = HttpRequest(b"POST", server.origin, b"/v1/messages", [])
    return await transport.upload(request, PATIENT)


async def test_a_chunk_is_with_the_peer_before_the_next_is_written(transport: Http1Transport) -> None:
    written: asyncio.Queue[None] = asyncio.Queue()
    seen: asyncio.Queue[bytes] = asyncio.Queue()

    async def script(peer: Peer) -> None:
        seen.put_nowait(await peer.receive_head())
        for size in (6, 20):
            await written.get()
            seen.put_nowait(await peer.receive_bytes(size))
        await peer.send(OK)
        assert await peer.until_closed() == b""

    async with raw_server(script) as server:
        upload = await an_upload(transport, server)
        assert await seen.get() == HEAD % server.origin.port
        upload.write(b"x")
        upload.write(b"")
        written.put_nowait(None)
        assert await seen.get() == b"1\r\nx\r\n"
        upload.write(b"0123456789")
        upload.end()
        written.put_nowait(None)
        assert await seen.get() == b"a\r\n0123456789\r\n0\r\n\r\n"
        assert await read_all(await upload.answer()) == b"hello"
        await transport.aclose()


async def test_trailers_stand_behind_the_last_chunk(transport: Http1Transport) -> None:
    async def script(peer: Peer) -> None:
        await peer.receive_head()
        assert await peer.receive_bytes(17) == b"0\r\na: b\r\nc: d\r\n\r\n"
        await peer.send(OK)

    async with raw_server(script) as server:
        upload = await an_upload(transport, server)
        upload.end([(b"a", b"b"), (b"c", b"d")])
        assert await read_all(await upload.answer()) == b"hello"


async def test_the_connection_of_a_whole_upload_serves_the_next_request(transport: Http1Transport) -> None:
    async def script(peer: Peer) -> None:
        await peer.receive_head()
        await peer.receive_bytes(5)
        await peer.send(OK)
        await peer.answer(OK)
        assert await peer.until_closed() == b""

    async with raw_server(script) as server:
        upload = await an_upload(transport, server)
        upload.end()
        assert await read_all(await upload.answer()) == b"hello"
        assert await ask(transport, post(server)) == b"hello"
        assert server.connections == 1
        await transport.aclose()


async def test_an_answer_to_half_an_upload_leaves_a_connection_that_serves_no_other(
    transport: Http1Transport,
) -> None:
    async def script(peer: Peer) -> None:
        await peer.receive_head()
        await peer.send(OK)
        assert await peer.until_closed() == b""

    async with raw_server(script, answering(OK)) as server:
        upload = await an_upload(transport, server)
        assert await read_all(await upload.answer()) == b"hello"
        upload.write(b"the other half")
        upload.end()
        assert await ask(transport, post(server)) == b"hello"
        assert server.connections == 2


async def test_a_slow_peer_makes_the_writer_wait_and_gets_every_byte(transport: Http1Transport) -> None:
    go = asyncio.Event()
    piece, count = b"x" * UPLOAD_BUFFER_BYTES, 0

    async def script(peer: Peer) -> None:
        await peer.receive_head()
        await go.wait()
        frame = b"%x\r\n%b\r\n" % (len(piece), piece)
        assert await peer.receive_bytes(len(frame) * count) == frame * count
        await peer.receive_bytes(5)
        await peer.send(OK)

    async with raw_server(script) as server:
        upload = await an_upload(transport, server)
        while upload.has_room:
            upload.write(piece)
            count += 1
            await asyncio.sleep(0)
        waiting = asyncio.create_task(upload.wait_for_room())
        await asyncio.sleep(0)
        assert not waiting.done()
        go.set()
        await waiting
        upload.end()
        assert await read_all(await upload.answer()) == b"hello"


@pytest.mark.parametrize("waits", [True, False])
async def test_a_peer_that_hangs_up_midway_is_told_to_whoever_waits_or_writes(
    transport: Http1Transport, waits: bool
) -> None:
    async def script(peer: Peer) -> None:
        await peer.receive_head()

    async with raw_server(script) as server:
        upload = await an_upload(transport, server)
        if waits:
            with pytest.raises(UpstreamCut):
                await upload.answer()
        while upload.has_room:
            upload.write(b"x" * UPLOAD_BUFFER_BYTES)
            await asyncio.sleep(0)
        with pytest.raises(UpstreamCut):
            await upload.wait_for_room()
        upload.write(b"nobody hears this")
        upload.end()
        with pytest.raises(UpstreamCut):
            await upload.answer()


@pytest.mark.parametrize("waits", [True, False])
async def test_a_peer_that_answers_midway_is_told_to_whoever_waits_or_writes(
    transport: Http1Transport, waits: bool
) -> None:
    """It will take no more: Lambda refuses an answer that is too large, say, and reads no further."""
    go = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.receive_head()
        await go.wait()
        await peer.send(OK)
        await peer.until_closed()

    async with raw_server(script) as server:
        upload = await an_upload(transport, server)
        if waits:
            while upload.has_room:
                upload.write(b"x" * UPLOAD_BUFFER_BYTES)
                await asyncio.sleep(0)
        waiting = asyncio.create_task(_full(upload))
        await asyncio.sleep(0)
        go.set()
        async with asyncio.timeout(5):
            with pytest.raises(UpstreamCut):
                await waiting
            assert await read_all(await upload.answer()) == b"hello"


async def _full(upload: Upload) -> None:
    """Write on and on, as an app does that has a long answer."""
    while True:
        upload.write(b"x")
        await asyncio.sleep(0)
        if not upload.has_room:
            await upload.wait_for_room()


async def test_an_aborted_upload_is_half_a_body(transport: Http1Transport) -> None:
    async def script(peer: Peer) -> None:
        await peer.receive_head()
        assert await peer.until_closed() in (b"", b"1\r\nx\r\n")

    async with raw_server(script) as server:
        upload = await an_upload(transport, server)
        upload.write(b"x")
        upload.abort()
        with pytest.raises(UpstreamCut):
            await upload.answer()


async def test_a_connection_that_rested_through_a_freeze_is_not_used_again() -> None:
    seconds = 100.0
    transport = Http1Transport(idle_keep_s=50, seconds=lambda: seconds)
    async with raw_server(answering(OK), answering(OK)) as server:
        assert await ask(transport, post(server)) == b"hello"
        seconds += 50
        assert await ask(transport, post(server)) == b"hello"
        assert server.connections == 2
        await transport.aclose()
