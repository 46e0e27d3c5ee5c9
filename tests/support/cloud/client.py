"""An HTTP client that sees each chunk, and whether an answer was whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from tests.support.cloud.http import Flawed, Head, Headers, body_pieces, head_bytes, read_head


class Reply:
    """The head of an answer; `pieces` are its chunks as they come, `is_whole` that it came to its end."""

    def __init__(self, head: Head, reader: asyncio.StreamReader) -> None:
        self.head, self.is_whole = head, False
        self.pieces = self._pieces(reader)

    @property
    def status(self) -> int:
        return int(self.head.start.split(" ")[1])

    async def read(self) -> bytes:
        """Give all that comes, be it whole or not."""
        return b"".join([piece async for piece in self.pieces])

    async def _pieces(self, reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
        with suppress(asyncio.IncompleteReadError):
            async for piece in body_pieces(reader, self.head):
                yield piece
            self.is_whole = True


@asynccontextmanager
async def asking(
    port: int, target: str, *, body: bytes = b"", headers: Headers | None = None
) -> AsyncIterator[Reply]:
    """Send a request, a POST where it has a body, and wait for the head of its answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    try:
        method = "POST" if body else "GET"
        own = [("host", "gateway"), ("content-length", str(len(body)))]
        writer.write(head_bytes(f"{method} {target} HTTP/1.1", [*own, *(headers or [])]) + body)
        head = await read_head(reader)
        if head is None:
            raise Flawed("no answer")
        yield Reply(head, reader)
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
