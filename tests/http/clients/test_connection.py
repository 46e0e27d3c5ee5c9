"""A body that is refused is read to its end before the connection is let go, and no longer."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest

from farebox.domain.errors import BodyTooLarge
from farebox.http.clients.connection import ClientConnection


class Body:
    """Gives its pieces, and then nothing ever, as a server does whose client waits for an answer."""

    def __init__(self, *pieces: bytes) -> None:
        self.left = list(pieces)

    async def receive(self) -> MutableMapping[str, Any]:
        if not self.left:
            await asyncio.get_running_loop().create_future()
        piece = self.left.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(self.left)}


@pytest.mark.parametrize("pieces", [(b"x" * 20,), (b"x" * 20, b"x"), (b"x" * 5, b"x" * 6)])
async def test_a_body_that_came_whole_and_is_too_large_is_not_waited_for(pieces: tuple[bytes, ...]) -> None:
    """Lambda brings all of it at once, and a client of HTTP/2 announces no length."""
    body = Body(*pieces)
    client = ClientConnection({"headers": []}, body.receive, 10)
    with pytest.raises(BodyTooLarge):
        await client.read_body()
    async with asyncio.timeout(1):
        await client.drain()
    assert body.left == []
