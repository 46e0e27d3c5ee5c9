"""Small requests, patient bounds and whole reads for tests of the HTTP/1.1 client."""

from __future__ import annotations

import asyncio

from farebox.wire.http import HttpAnswer, HttpRequest, Timeouts
from farebox.wire.http1 import Http1Transport
from tests.support.raw_server import RawServer

PATIENT = Timeouts(connect_ms=10_000, first_byte_ms=10_000, idle_ms=10_000, total_ms=20_000)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def post(server: RawServer, body: bytes = b"{}") -> HttpRequest:
    return HttpRequest(b"POST", server.origin, b"/v1/messages?beta=true", [(b"x-a", b"1")], body)


def get(server: RawServer) -> HttpRequest:
    return HttpRequest(b"GET", server.origin, b"/", [])


async def read_all(answer: HttpAnswer) -> bytes:
    body = b""
    while piece := await answer.receive():
        body += piece
    assert await answer.receive() == b""
    return body


async def ask(transport: Http1Transport, request: HttpRequest, timeouts: Timeouts = PATIENT) -> bytes:
    return await read_all(await transport.send(request, timeouts))


async def all_closed(transport: Http1Transport) -> None:
    """Wait until the event loop has reported every socket gone; never returns when one is leaked."""
    async with asyncio.timeout(10):
        while transport.open_connections:
            await asyncio.sleep(0)
