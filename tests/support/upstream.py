"""A real HTTP/1.1 server on loopback that answers by script and remembers every request byte for byte.

It runs on a thread of its own, so synchronous and asynchronous tests use it alike:

    with ScriptedUpstream([sse_message("Hi.", usage=usage(input_tokens=3, output_tokens=2))]) as upstream:
        ...
        assert upstream.requests[0].target == b"/v1/messages"
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from tests.support.upstream_replies import (
    Ending,
    Framing,
    Gate,
    Pause,
    Piece,
    Reply,
    ToolCall,
    error_reply,
    json_message,
    json_reply,
    message_events,
    sse,
    sse_message,
    sse_reply,
    usage,
)

__all__ = [
    "Ending",
    "Framing",
    "Gate",
    "Pause",
    "Received",
    "Reply",
    "Script",
    "ScriptedUpstream",
    "ToolCall",
    "error_reply",
    "json_message",
    "json_reply",
    "message_events",
    "sse",
    "sse_message",
    "sse_reply",
    "usage",
]

HOST = "127.0.0.1"
WAIT_S = 10.0
_HEAD_END = b"\r\n\r\n"


@dataclass(slots=True, eq=False)
class Received:
    """One request as it came. `connection` counts connections from 0.

    `bytes_sent` is how much of the answer, framing included, went out; `is_answered` is set when all of it
    has, `hung_up` when the client left before that.
    """

    connection: int
    method: bytes
    target: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes
    bytes_sent: int = 0
    is_answered: bool = False
    hung_up: bool = False

    def header(self, name: str) -> bytes | None:
        """Give the first value under a name, in any case."""
        wanted = name.lower().encode()
        return next((value for key, value in self.headers if key.lower() == wanted), None)


Script = Sequence[Reply] | Callable[[Received], Reply]
"""Replies in order of arrival, or a function. HEAD is answered with an empty 200 and takes no reply."""


class ScriptedUpstream:
    """The server. Read `requests` once `wait_until` or the client's own answer says that they have come.

    What a script function raises is raised again when the server ends.
    """

    def __init__(self, script: Script = (), *, port: int = 0) -> None:
        self.requests: list[Received] = []
        self._answer = script if callable(script) else _in_order(script)
        self._changed = threading.Condition()
        self._connections: set[_Connection] = set()
        self._accepted = 0
        self._failures: list[BaseException] = []
        self._socket = socket.create_server((HOST, port))
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="scripted-upstream", daemon=True)

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    @property
    def base_url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def open_connections(self) -> int:
        """How many connections clients keep open at this moment, idle ones included."""
        return len(self._connections)

    @property
    def messages(self) -> list[Received]:
        """The requests for a message, without token counts, model lists and probes."""
        return [
            request
            for request in self.requests
            if request.method == b"POST" and request.target.partition(b"?")[0].endswith(b"/v1/messages")
        ]

    def wait_until(self, condition: Callable[[Self], bool], *, timeout_s: float = WAIT_S) -> None:
        """Block until something that happened makes the condition true. Raises `TimeoutError`."""
        with self._changed:
            if not self._changed.wait_for(lambda: condition(self), timeout_s):
                raise TimeoutError(f"the upstream has {self.requests} and {self.open_connections} open")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(WAIT_S)
        if self._failures and error is None:
            raise self._failures[0]

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        server = await self._loop.create_server(self._accept, sock=self._socket)
        await self._stopping.wait()
        server.close()
        for connection in list(self._connections):
            connection.reset()
        await asyncio.gather(*(connection.ended.wait() for connection in list(self._connections)))

    def _accept(self) -> _Connection:
        self._accepted += 1
        return _Connection(self._accepted - 1, self)

    def _ended(self, serving: asyncio.Task[None]) -> None:
        if not serving.cancelled() and (failure := serving.exception()):
            self._failures.append(failure)

    def _note(self, change: Callable[[], object]) -> None:
        with self._changed:
            change()
            self._changed.notify_all()


class _Left(Exception):
    """The client closed or reset the connection."""


@dataclass(slots=True, eq=False)
class _Connection(asyncio.Protocol):
    number: int
    owner: ScriptedUpstream
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    _buffer: bytearray = field(default_factory=bytearray)
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)
    _left: asyncio.Event = field(default_factory=asyncio.Event)
    _flushed: asyncio.Event = field(default_factory=asyncio.Event)
    _transport: asyncio.Transport = field(init=False)
    _serving: asyncio.Task[None] = field(init=False)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.set_write_buffer_limits(high=0)
        self._transport = transport
        self._flushed.set()
        self.owner._note(lambda: self.owner._connections.add(self))
        self._serving = asyncio.get_running_loop().create_task(self._serve())
        self._serving.add_done_callback(self.owner._ended)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._arrived.set()

    def eof_received(self) -> None:
        self._left.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._left.set()
        self.owner._note(lambda: self.owner._connections.discard(self))

    def pause_writing(self) -> None:
        self._flushed.clear()

    def resume_writing(self) -> None:
        self._flushed.set()

    def reset(self) -> None:
        """Send RST instead of FIN."""
        raw = self._transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self._transport.abort()

    async def _serve(self) -> None:
        try:
            while await self._serve_one():
                pass
        except _Left:
            pass
        finally:
            self._transport.close()
            self.ended.set()

    async def _serve_one(self) -> bool:
        """Read one request and answer it; say whether the connection may go on."""
        received = await self._read()
        self.owner._note(lambda: self.owner.requests.append(received))
        reply = Reply() if received.method == b"HEAD" else self.owner._answer(received)
        try:
            is_whole = await self._send(received, reply)
        except _Left:
            self.owner._note(lambda: setattr(received, "hung_up", True))
            raise
        self.owner._note(lambda: setattr(received, "is_answered", is_whole))
        goes_on = (received.header("connection") or b"").lower() != b"close"
        return is_whole and goes_on and reply.framing in {Framing.CHUNKED, Framing.LENGTH}

    async def _read(self) -> Received:
        while (end := self._buffer.find(_HEAD_END)) < 0:
            await self._more()
        first, *lines = bytes(self._buffer[:end]).split(b"\r\n")
        method, target, _ = first.split(b" ")
        headers = [(name, value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
        received = Received(self.number, method, target, headers, b"")
        whole = end + len(_HEAD_END) + int(received.header("content-length") or 0)
        while len(self._buffer) < whole:
            await self._more()
        received.body = bytes(self._buffer[end + len(_HEAD_END) : whole])
        del self._buffer[:whole]
        return received

    async def _more(self) -> None:
        self._arrived.clear()
        await self._unless_left(self._arrived.wait())

    async def _send(self, received: Received, reply: Reply) -> bool:
        """Play the reply; say whether it came to its proper end."""
        for piece in _on_the_wire(reply):
            if isinstance(piece, bytes):
                await self._write(received, piece)
            elif isinstance(piece, Gate):
                await self._unless_left(piece.passed())
            elif isinstance(piece, Pause):
                await self._unless_left(asyncio.sleep(piece.seconds))
            elif piece is Ending.STALL:
                await self._unless_left(asyncio.Event().wait())
            else:
                await self._unless_left(self._flushed.wait())
                if piece is Ending.CUT:
                    self.reset()
                return False
        return True

    async def _write(self, received: Received, data: bytes) -> None:
        await asyncio.sleep(0)
        await self._unless_left(self._flushed.wait())
        self._transport.write(data)
        sent = received.bytes_sent + len(data)
        self.owner._note(lambda: setattr(received, "bytes_sent", sent))

    async def _unless_left(self, happening: Awaitable[object]) -> None:
        waiting = asyncio.ensure_future(happening)
        leaving = asyncio.ensure_future(self._left.wait())
        try:
            await asyncio.wait({waiting, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                raise _Left
        finally:
            waiting.cancel()
            leaving.cancel()


def _on_the_wire(reply: Reply) -> Iterator[Piece]:
    """Put head and framing around the pieces."""
    yield from reply.before_head
    if reply.framing is not Framing.RAW:
        yield _head(reply)
    is_chunked = reply.framing is Framing.CHUNKED
    for piece in reply.pieces:
        if isinstance(piece, bytes) and is_chunked:
            if piece:
                yield b"%x\r\n%b\r\n" % (len(piece), piece)
        else:
            yield piece
    if is_chunked:
        yield b"0\r\n\r\n"


def _head(reply: Reply) -> bytes:
    framing = {
        Framing.CHUNKED: ("Transfer-Encoding", "chunked"),
        Framing.LENGTH: ("Content-Length", str(len(reply.body) if reply.length is None else reply.length)),
    }.get(reply.framing, ("Connection", "close"))
    lines = [f"HTTP/1.1 {reply.status} Scripted", *(f"{name}: {value}" for name, value in reply.headers)]
    return "\r\n".join([*lines, ": ".join(framing), "", ""]).encode("latin-1")


def _in_order(replies: Sequence[Reply]) -> Callable[[Received], Reply]:
    left = iter(replies)
    over = error_reply(500, "api_error", "The script is over.", ("X-Should-Retry", "false"))
    return lambda received: next(left, over)


def _say_hello(received: Received) -> Reply:
    body = json.loads(received.body or b"{}")
    used = usage(input_tokens=max(1, len(received.body) // 4), output_tokens=7)
    return (sse_message if body.get("stream") else json_message)(usage=used)


def _never_answer(received: Received) -> Reply:
    return Reply(before_head=(Ending.STALL,))


SCRIPTS: Mapping[str, Callable[[Received], Reply]] = {"hello": _say_hello, "silent": _never_answer}


def main() -> None:
    """Serve one of the named scripts until the process is told to stop."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--script", choices=sorted(SCRIPTS), default="hello")
    options = parser.parse_args()
    stops = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, stops)
    with ScriptedUpstream(SCRIPTS[options.script], port=options.port) as upstream:
        print(f"listening on {upstream.base_url}", flush=True)
        signal.sigwait(stops)


if __name__ == "__main__":
    main()
