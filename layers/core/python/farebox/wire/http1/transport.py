"""The HTTP/1.1 client: a pool of kept-alive connections behind the two methods of `Transport`."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable

from farebox.domain.errors import UpstreamCut, UpstreamTimeout, UpstreamUnreachable
from farebox.domain.routing.hosts import AddressRule
from farebox.wire.http import HttpRequest, Origin, Timeouts
from farebox.wire.http1.addresses import Resolve, pinned_addresses, resolve
from farebox.wire.http1.connection import Connection
from farebox.wire.http1.exchange import Exchange
from farebox.wire.http1.request import request_head
from farebox.wire.http1.upload import Upload


class Http1Transport:
    """Any number of connections at a time, one request on each, the warmest reused first.

    A reused connection that the peer closes before a single byte of an answer is replaced by a fresh one,
    once, and only where `Exchange.may_send_again` says that the peer cannot have done the work. For a host
    that somebody chose, `chosen_hosts` says which addresses will do.
    """

    def __init__(
        self,
        ssl_context: ssl.SSLContext | None = None,
        *,
        max_idle_per_origin: int = 64,
        idle_keep_s: float = 50.0,
        chosen_hosts: AddressRule | None = None,
        resolve: Resolve = resolve,
        seconds: Callable[[], float] | None = None,
    ) -> None:
        """`seconds` is a clock that counts what the process was frozen for; else the event loop's serves."""
        self._ssl_context = ssl_context
        self._chosen_hosts, self._resolve = chosen_hosts or AddressRule(), resolve
        self._max_idle_per_origin = max_idle_per_origin
        self._idle_keep_s = idle_keep_s
        self._seconds = seconds
        self._idle: dict[Origin, deque[Connection]] = {}
        self._census: set[Connection] = set()
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def open_connections(self) -> int:
        """Sockets that are open, busy or idle."""
        return len(self._census)

    async def send(
        self, request: HttpRequest, timeouts: Timeouts, *, silence_ms: int | None = None
    ) -> Exchange:
        head = request_head(request)
        connection = self._take_idle(request.origin) or await self._connect(request.origin, timeouts)
        while True:
            exchange = Exchange(connection, request.method, timeouts, silence_ms, self._give_back)
            exchange.start(head, request.body)
            try:
                await exchange.wait_for_head()
            except asyncio.CancelledError:
                exchange.abort()
                raise
            except UpstreamCut:
                if not (connection.used and exchange.may_send_again):
                    raise
            else:
                return exchange
            # A fresh connection is not `used`, so this happens once.
            connection = await self._connect(request.origin, timeouts)

    async def upload(self, request: HttpRequest, timeouts: Timeouts) -> Upload:
        """Send the head alone and give the body to the caller to write. It is never sent again.

        Raises `UpstreamUnreachable` and, for the connecting, `UpstreamTimeout`.
        """
        head = request_head(request, is_chunked=True)
        connection = self._take_idle(request.origin) or await self._connect(request.origin, timeouts)
        exchange = Exchange(connection, request.method, timeouts, None, self._give_back)
        return Upload(exchange, head)

    async def aclose(self) -> None:
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        resting = [connection for idle in self._idle.values() for connection in idle]
        self._idle.clear()
        for connection in resting:
            connection.drop()
        for connection in resting:
            await connection.gone

    def _take_idle(self, origin: Origin) -> Connection | None:
        idle = self._idle.get(origin)
        # The sweeper may be late: a frozen process wakes with connections that nobody knows any more.
        keep_from = self._now() - self._idle_keep_s
        while idle:
            connection = idle.pop()
            if connection.rested_at > keep_from and not connection.is_stale():
                return connection
            connection.drop()
        return None

    def _give_back(self, connection: Connection) -> None:
        if self._closed:
            connection.drop()
            return
        connection.rested_at = self._now()
        idle = self._idle.setdefault(connection.origin, deque())
        idle.append(connection)
        if len(idle) > self._max_idle_per_origin:
            idle.popleft().drop()
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().call_later(self._idle_keep_s, self._sweep)

    def _now(self) -> float:
        return asyncio.get_running_loop().time() if self._seconds is None else self._seconds()

    def _sweep(self) -> None:
        """Drop what has rested too long, come back when the next one will have."""
        loop = asyncio.get_running_loop()
        keep_from = loop.time() - self._idle_keep_s
        for origin, idle in list(self._idle.items()):
            while idle and (idle[0].dead or idle[0].idle_since <= keep_from):
                idle.popleft().drop()
            if not idle:
                del self._idle[origin]
        oldest = min((idle[0].idle_since for idle in self._idle.values()), default=None)
        self._sweeper = None
        if oldest is not None:
            self._sweeper = loop.call_at(oldest + self._idle_keep_s, self._sweep)

    async def _connect(self, origin: Origin, timeouts: Timeouts) -> Connection:
        try:
            async with asyncio.timeout(timeouts.connect_ms / 1000) as bound:
                if origin.is_chosen:
                    connection = await self._connect_pinned(origin)
                else:
                    connection = await self._open(origin, origin.host)
        except (OSError, UnicodeError) as fault:
            if bound.expired():
                late = UpstreamTimeout(origin.host, "connect", timeouts.connect_ms)
                late.dispatched = False
                raise late from fault
            raise UpstreamUnreachable(origin.host, str(fault) or type(fault).__name__) from fault
        if connection.dead:
            raise UpstreamUnreachable(origin.host, "it spoke or hung up before the request")
        return connection

    async def _connect_pinned(self, origin: Origin) -> Connection:
        """Try the checked addresses in their order; the name stays what TLS asks the peer for."""
        *others, last = await pinned_addresses(origin, self._chosen_hosts, self._resolve)
        for address in others:
            try:
                return await self._open(origin, address)
            except OSError:
                continue
        return await self._open(origin, last)

    async def _open(self, origin: Origin, address: str) -> Connection:
        context = self._tls_for(origin)
        _, connection = await asyncio.get_running_loop().create_connection(
            lambda: Connection(origin, self._census),
            address,
            origin.port,
            ssl=context,
            server_hostname=origin.host if context else None,
        )
        return connection

    def _tls_for(self, origin: Origin) -> ssl.SSLContext | None:
        if origin.scheme != "https":
            return None
        if self._ssl_context is None:
            self._ssl_context = ssl.create_default_context()
            self._ssl_context.set_alpn_protocols(["http/1.1"])
        return self._ssl_context
