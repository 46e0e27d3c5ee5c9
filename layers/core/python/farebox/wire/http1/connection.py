"""One socket to an upstream. An exchange reads it while a request is on it; in between it watches itself."""

from __future__ import annotations

import asyncio
import select
from typing import cast

from farebox.wire.http import Origin


class Connection(asyncio.Protocol):
    """Counted in `census` from the moment it is open until the socket is gone.

    The transport's protocol is the exchange during a request and this object otherwise, so that no layer
    stands between a read and the code that wants it. Whoever is the protocol when the socket goes must tell
    `connection_lost` here.
    """

    __slots__ = ("_census", "dead", "gone", "idle_since", "origin", "rested_at", "transport", "used")

    transport: asyncio.Transport
    gone: asyncio.Future[None]

    def __init__(self, origin: Origin, census: set[Connection]) -> None:
        self.origin = origin
        self._census = census
        self.dead = False
        self.used = False
        self.idle_since = self.rested_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        # Any unsent byte counts as "not written yet": the exchange is told when the last one has left.
        self.transport.set_write_buffer_limits(high=0)
        self.gone = asyncio.get_running_loop().create_future()
        self._census.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.dead = True
        self._census.discard(self)
        if not self.gone.done():
            self.gone.set_result(None)

    def data_received(self, data: bytes) -> None:
        """Nothing was asked, so nothing may come."""
        self.drop()

    def eof_received(self) -> None:
        self.drop()

    def drop(self) -> None:
        """Close now, whatever is still unsent or unread."""
        if not self.dead:
            self.dead = True
            self.transport.set_protocol(self)
            self.transport.abort()

    def rest(self, now: float) -> None:
        """Back from an exchange, ready for the next."""
        self.used = True
        self.idle_since = now
        self.transport.set_protocol(self)

    def is_stale(self) -> bool:
        """Whether the peer has closed or spoken since, also when the event loop has not seen it yet."""
        if self.dead or self.transport.is_closing():
            return True
        poll = select.poll()
        poll.register(self.transport.get_extra_info("socket").fileno(), select.POLLIN)
        return bool(poll.poll(0))
