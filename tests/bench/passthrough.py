"""The other floor: an empty ASGI pass-through on aiohttp under uvicorn, with nothing of a gateway in it."""

from __future__ import annotations

import socket
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import aiohttp
import uvicorn

Message = MutableMapping[str, Any]
HOP_HEADERS = frozenset({b"host", b"content-length", b"transfer-encoding", b"connection"})


class PassThrough:
    """Carries each request to one upstream and each piece of the answer back as it comes."""

    def __init__(self, upstream_port: int) -> None:
        self._upstream = f"http://127.0.0.1:{upstream_port}"
        self._session: aiohttp.ClientSession | None = None

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        """Serve one request."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                auto_decompress=False, connector=aiohttp.TCPConnector(limit=0)
            )
        headers = [
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in scope["headers"]
            if name not in HOP_HEADERS
        ]
        url = f"{self._upstream}{scope['path']}?{scope['query_string'].decode('latin-1')}"
        body = await _body(receive)
        async with self._session.request(scope["method"], url, data=body, headers=headers) as answer:
            kept = [(name.lower(), value) for name, value in answer.raw_headers]
            kept = [(name, value) for name, value in kept if name not in HOP_HEADERS]
            await send({"type": "http.response.start", "status": answer.status, "headers": kept})
            async for piece in answer.content.iter_any():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})


async def _body(receive: Callable[[], Awaitable[Message]]) -> bytes:
    pieces: list[bytes] = []
    while True:
        message = await receive()
        pieces.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(pieces)


def main() -> None:
    """Serve on a free port, printed first, until told to stop."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    print(listener.getsockname()[1], flush=True)
    config = uvicorn.Config(
        PassThrough(int(sys.argv[1])),
        loop="uvloop",
        http="httptools",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
    )
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
