"""A request whose body is written piece by piece, each a chunk that leaves at once."""

from __future__ import annotations

from farebox.wire.http import Headers
from farebox.wire.http1.exchange import Exchange


class Upload:
    """Write, then `end` or `abort`, then read `answer`. Not to be shared by tasks."""

    __slots__ = ("_exchange",)

    def __init__(self, exchange: Exchange, head: bytes) -> None:
        self._exchange = exchange
        exchange.start_upload(head)

    @property
    def has_room(self) -> bool:
        """Whether `wait_for_room` would return at once."""
        return self._exchange.has_room

    def write(self, piece: bytes) -> None:
        """Send one chunk, unless it is empty, which would end the body."""
        if piece:
            self._exchange.write(b"%x\r\n%b\r\n" % (len(piece), piece))

    async def wait_for_room(self) -> None:
        """Wait until the peer has taken most of what was written. Raises `UpstreamFault`."""
        await self._exchange.wait_for_room()

    def end(self, trailers: Headers | None = None) -> None:
        """Say that the body is whole, and behind it what only now is known."""
        lines = b"".join(b"%b: %b\r\n" % trailer for trailer in trailers or ())
        self._exchange.end_upload(b"0\r\n%b\r\n" % lines)

    def abort(self) -> None:
        """Drop the connection, so that the peer sees half a body."""
        self._exchange.abort()

    async def answer(self) -> Exchange:
        """Wait for the head of the answer. Raises `UpstreamFault`."""
        await self._exchange.wait_for_head()
        return self._exchange
