"""Body bytes that are handed on as they arrive, and those that still go to whoever waits for them."""

from __future__ import annotations

import asyncio

import pytest

from farebox.domain.errors import UpstreamCut
from farebox.wire.http import Diverting
from farebox.wire.http1 import Http1Transport
from tests.support.http1_client import CHUNKED, PATIENT, post
from tests.support.raw_server import Peer, raw_server

END = b"0\r\n\r\n"


class Taker:
    """Takes every piece but those it was told to leave, and lets others wait for the next it is offered."""

    def __init__(self, *left: bytes) -> None:
        self.taken: list[bytes] = []
        self._left = left
        self.offered: asyncio.Queue[bytes] = asyncio.Queue()

    def __call__(self, piece: bytes) -> bool:
        self.offered.put_nowait(piece)
        if piece in self._left:
            return False
        self.taken.append(piece)
        return True


async def test_what_arrives_while_the_reader_waits_is_taken_without_waking_it(
    transport: Http1Transport,
) -> None:
    taker = Taker()

    async def script(peer: Peer) -> None:
        await peer.answer(CHUNKED)
        for piece in (b"one", b"two"):
            await reader_waits.wait()
            await peer.send(b"3\r\n%b\r\n" % piece)
            await taker.offered.get()
        await peer.send(END)

    reader_waits = asyncio.Event()
    async with raw_server(script) as server:
        answer = await transport.send(post(server), PATIENT)
        assert isinstance(answer, Diverting)
        answer.divert(taker)
        reading = asyncio.ensure_future(answer.receive())
        await asyncio.sleep(0)
        reader_waits.set()
        assert await reading == b""
    assert taker.taken == [b"one", b"two"]


async def test_what_is_not_taken_is_received_in_its_place(transport: Http1Transport) -> None:
    taker = Taker(b"two")
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.answer(CHUNKED)
        await go_on.wait()
        for piece in (b"one", b"two"):
            await peer.send(b"3\r\n%b\r\n" % piece)
            await taker.offered.get()
        go_on.clear()
        await go_on.wait()
        await peer.send(b"3\r\nten\r\n")
        await taker.offered.get()
        await peer.send(END)

    async with raw_server(script) as server:
        answer = await transport.send(post(server), PATIENT)
        assert isinstance(answer, Diverting)
        answer.divert(taker)
        reading = asyncio.ensure_future(answer.receive())
        await asyncio.sleep(0)
        go_on.set()
        assert await reading == b"two"
        assert taker.taken == [b"one"]
        reading = asyncio.ensure_future(answer.receive())
        await asyncio.sleep(0)
        go_on.set()
        assert await reading == b""
    assert taker.taken == [b"one", b"ten"]


async def test_what_comes_before_the_reader_waits_is_received(transport: Http1Transport) -> None:
    taker = Taker()

    async def script(peer: Peer) -> None:
        await peer.answer(CHUNKED + b"3\r\none\r\n3\r\ntwo\r\n" + END)

    async with raw_server(script) as server:
        answer = await transport.send(post(server), PATIENT)
        assert isinstance(answer, Diverting)
        answer.divert(taker)
        body = b""
        while piece := await answer.receive():
            body += piece
    assert (body, taker.taken) == (b"onetwo", [])


async def test_a_cut_behind_what_was_taken_is_the_readers(transport: Http1Transport) -> None:
    taker = Taker()
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.answer(CHUNKED)
        await go_on.wait()
        await peer.send(b"3\r\none\r\n")
        await taker.offered.get()

    async with raw_server(script) as server:
        answer = await transport.send(post(server), PATIENT)
        assert isinstance(answer, Diverting)
        answer.divert(taker)
        reading = asyncio.ensure_future(answer.receive())
        await asyncio.sleep(0)
        go_on.set()
        with pytest.raises(UpstreamCut):
            await reading
    assert taker.taken == [b"one"]
