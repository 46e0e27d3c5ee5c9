"""A function for tests of the runtime: every path is another way to answer."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

from farebox.domain.errors import ConfigInvalid

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Scope]]
Send = Callable[[Scope], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

SECRET = "sk-canary-of-the-function"
PIECE = bytes(range(256)) * 256
PIECES = 128


@asynccontextmanager
async def handler() -> AsyncIterator[App]:
    """Open the app."""
    yield app


@asynccontextmanager
async def handler_at_gate() -> AsyncIterator[App]:
    """Open the app behind a gate."""
    await pass_gate("opened")
    yield app


@asynccontextmanager
async def handler_misconfigured() -> AsyncIterator[App]:
    """Refuse to open, for a reason that is fit to be told."""
    raise ConfigInvalid("FAREBOX_STAGE", "has no value")
    yield app


@asynccontextmanager
async def handler_broken() -> AsyncIterator[App]:
    """Refuse to open, for a reason that is not."""
    raise RuntimeError(SECRET)
    yield app


async def pass_gate(name: str) -> None:
    """Wait until the test opens the gate."""
    host, _, port = os.environ["GATES"].rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(name.encode() + b"\n")
    await reader.readline()
    writer.close()


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer as the path says."""
    await _ANSWERS[scope["path"].split("/")[1]](scope, receive, send)


async def _echo(scope: Scope, receive: Receive, send: Send) -> None:
    request = await receive()
    headers = [
        (b"content-type", b"application/octet-stream"),
        (b"content-length", str(len(request["body"])).encode()),
        (b"x-many", b"one"),
        (b"X-Many", b"two"),
        (b"set-cookie", b"a=1; Path=/"),
        (b"set-cookie", b"b=2"),
        (b"x-target", b"%b %b ? %b" % (scope["method"].encode(), scope["raw_path"], scope["query_string"])),
        *((b"x-asked-" + name, value) for name, value in scope["headers"] if name in {b"cookie", b"x-own"}),
    ]
    await send({"type": "http.response.start", "status": 201, "headers": headers})
    await send({"type": "http.response.body", "body": request["body"]})


async def _steps(scope: Scope, receive: Receive, send: Send) -> None:
    await _begin(send, b"one ")
    await pass_gate("one")
    await send({"type": "http.response.body", "body": b"two ", "more_body": True})
    await pass_gate("two")
    await send({"type": "http.response.body", "body": b"three"})
    await pass_gate("settled")


async def _large(scope: Scope, receive: Receive, send: Send) -> None:
    await _begin(send, b"")
    for _ in range(PIECES):
        await send({"type": "http.response.body", "body": PIECE, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _half(scope: Scope, receive: Receive, send: Send) -> None:
    await _begin(send, b"half of ")


async def _half_then_raise(scope: Scope, receive: Receive, send: Send) -> None:
    await _begin(send, b"half of ")
    raise RuntimeError(SECRET)


async def _raise(scope: Scope, receive: Receive, send: Send) -> None:
    raise RuntimeError(SECRET)


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()


async def _stuck(scope: Scope, receive: Receive, send: Send) -> None:
    """Wait for a client to leave, which Lambda never tells; book when it is stopped."""
    await receive()
    if scope["path"] == "/stuck/midway":
        await _begin(send, b"half of ")
    try:
        await receive()
    finally:
        await pass_gate("booked")


async def _begin(send: Send, first: bytes) -> None:
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": first, "more_body": True})


_ANSWERS: dict[str, App] = {
    "echo": _echo,
    "steps": _steps,
    "large": _large,
    "half": _half,
    "half-then-raise": _half_then_raise,
    "raise": _raise,
    "nothing": _nothing,
    "stuck": _stuck,
}
