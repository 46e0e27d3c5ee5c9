"""A server on loopback that sends exactly the bytes a test says, when it says so."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from farebox.wire.http import Origin


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it came: the head with its empty line, and the body its content-length announced."""

    head: bytes
    body: bytes


class Peer:
    """The server's end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def receive_head(self) -> bytes:
        return await self._reader.readuntil(b"\r\n\r\n")

    async def receive(self) -> Received:
        head = await self.receive_head()
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)\r\n", head)
        body = await self._reader.readexactly(int(length[1])) if length else b""
        return Received(head, body)

    async def receive_bytes(self, count: int) -> bytes:
        return await self._reader.readexactly(count)

    async def send(self, data: bytes) -> None:
        """Returns when the client's side has room again, so a client that does not read blocks this."""
        self._writer.write(data)
        await self._writer.drain()

    async def answer(self, data: bytes) -> Received:
        """Take one request and send `data` for it."""
        received = await self.receive()
        await self.send(data)
        return received

    async def until_closed(self) -> bytes:
        """Wait for the client to hang up; gives what it sent before that."""
        rest = b""
        with contextlib.suppress(ConnectionError):
            while piece := await self._reader.read(65_536):
                rest += piece
        return rest

    def reset(self) -> None:
        """Hang up with RST."""
        linger = struct.pack("ii", 1, 0)
        self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._writer.transport.abort()

    def hang_up_now(self) -> None:
        """Have the end at the client's socket before this returns, with no turn of the event loop."""
        fileno = self._writer.get_extra_info("socket").fileno()
        with socket.socket(fileno=socket.dup(fileno)) as own:
            own.shutdown(socket.SHUT_WR)

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await self._writer.wait_closed()


Script = Callable[[Peer], Awaitable[None]]


class RawServer:
    """Serves the n-th connection by the n-th script; one more connection than scripts fails the test."""

    def __init__(self, scripts: tuple[Script, ...], ssl_context: ssl.SSLContext | None) -> None:
        self._scripts = scripts
        self._ssl_context = ssl_context
        self._server: asyncio.Server | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self.connections = 0
        self.origin = Origin("http", "127.0.0.1", 0)

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._ssl_context)
        port = self._server.sockets[0].getsockname()[1]
        self.origin = Origin("https" if self._ssl_context else "http", "127.0.0.1", port)

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        async with asyncio.timeout(20):
            await asyncio.gather(*self._tasks)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        script = self._scripts[self.connections] if self.connections < len(self._scripts) else _unexpected
        self.connections += 1
        task = asyncio.create_task(self._run(script, Peer(reader, writer)))
        self._tasks.append(task)

    async def _run(self, script: Script, peer: Peer) -> None:
        try:
            await script(peer)
        except ConnectionError:
            pass  # A client that hung up is the test's to judge.
        finally:
            await peer.close()


async def _unexpected(peer: Peer) -> None:
    raise AssertionError("one more connection than this test has scripts")


@contextlib.asynccontextmanager
async def raw_server(*scripts: Script, ssl_context: ssl.SSLContext | None = None) -> AsyncIterator[RawServer]:
    """Leaving waits until every script has ended and raises what went wrong there; a hanging test fails."""
    server = RawServer(scripts, ssl_context)
    await server.open()
    try:
        async with asyncio.timeout(60):
            yield server
    finally:
        await server.close()


def answering(*answers: bytes) -> Script:
    """One request after the other on the same connection, each with the next answer; then hang up."""

    async def script(peer: Peer) -> None:
        for data in answers:
            await peer.answer(data)

    return script


def answering_open(*answers: bytes) -> Script:
    """The same, but the client must hang up first."""

    async def script(peer: Peer) -> None:
        for data in answers:
            await peer.answer(data)
        assert await peer.until_closed() == b""

    return script
