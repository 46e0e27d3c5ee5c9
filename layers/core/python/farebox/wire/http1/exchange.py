"""One request and its answer on one connection: waiting, bounds in time, bounds in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from farebox.domain.errors import UpstreamCut, UpstreamFault, UpstreamTimeout
from farebox.wire.http import Headers, Silence, Timeouts
from farebox.wire.http1.connection import Connection
from farebox.wire.http1.parser import AnswerParser

BUFFER_LIMIT_BYTES = 262_144
UPLOAD_BUFFER_BYTES = 65_536
_JOIN_LIMIT_BYTES = 65_536
_SAFE_TWICE = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"})


class Exchange(asyncio.Protocol):
    """An `HttpAnswer` that is `Diverting`. The connection goes back as soon as the last byte of the answer is
    in, read or not.

    One timer serves all bounds. It is not moved when bytes arrive; when it fires it looks at what was heard
    meanwhile and sleeps on until the next bound.
    """

    __slots__ = (
        "_buffered_bytes",
        "_connection",
        "_failure",
        "_give_back",
        "_heard_at",
        "_hushed_at",
        "_is_body_open",
        "_loop",
        "_method",
        "_now",
        "_over",
        "_parser",
        "_paused",
        "_room",
        "_sent_at",
        "_silence_ms",
        "_take",
        "_timeouts",
        "_timer",
        "_total_due",
        "_unsent",
        "_unsent_bytes",
        "_waiter",
        "close_delimited",
        "headers",
        "status",
    )

    def __init__(
        self,
        connection: Connection,
        method: bytes,
        timeouts: Timeouts,
        silence_ms: int | None,
        give_back: Callable[[Connection], None],
    ) -> None:
        self.status = 0
        self.headers: Headers = []
        self.close_delimited = False
        self._connection = connection
        self._method = method
        self._timeouts = timeouts
        self._silence_ms = silence_ms
        self._give_back = give_back
        self._parser = AnswerParser(headless=method == b"HEAD")
        self._loop = asyncio.get_running_loop()
        self._now = self._loop.time
        self._sent_at = self._heard_at = self._hushed_at = self._now()
        self._total_due = self._sent_at + timeouts.total_ms / 1000
        self._buffered_bytes = self._unsent_bytes = 0
        self._over = self._paused = self._unsent = self._is_body_open = False
        self._room: asyncio.Future[None] | None = None
        self._failure: UpstreamFault | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._take: Callable[[bytes], bool] | None = None
        self._timer: asyncio.TimerHandle | None = None

    # The caller's side.

    def start(self, head: bytes, body: bytes) -> None:
        """Write the whole request at once; the transport keeps what the peer does not take yet."""
        transport = self._connection.transport
        transport.set_protocol(self)
        if len(body) <= _JOIN_LIMIT_BYTES:
            transport.write(head + body)
        else:
            transport.write(head)
            transport.write(body)
        self._unsent_bytes = transport.get_write_buffer_size()
        self._unsent = self._unsent_bytes > 0 or transport.is_closing()
        self._arm()

    def start_upload(self, head: bytes) -> None:
        """Write the head; the body follows by `write`, and until `end_upload` the connection is ours."""
        self._is_body_open = True
        self._connection.transport.set_write_buffer_limits(high=UPLOAD_BUFFER_BYTES)
        self.start(head, b"")

    def write(self, data: bytes) -> None:
        """Write a piece of the body; nothing once the exchange has failed, which `wait_for_head` tells."""
        if not self._over:
            self._connection.transport.write(data)

    async def wait_for_room(self) -> None:
        """Wait while the peer is slower than we. Raises what broke the exchange, an answer that came before
        the body was whole included: nobody reads on.
        """
        if self._room is not None:
            await self._room
        if self._failure is not None:
            raise self._failure
        if self._over:
            raise self._cut("it answered before it had all of the request")

    @property
    def has_room(self) -> bool:
        """Whether `wait_for_room` would return at once."""
        return self._room is None and not self._over

    def end_upload(self, data: bytes) -> None:
        """Write the last piece of the body."""
        self.write(data)
        self._is_body_open = False
        if not self._over:
            self._connection.transport.set_write_buffer_limits(high=0)

    @property
    def may_send_again(self) -> bool:
        """Whether a peer that closed cannot have acted on this request, or acting twice does no harm.

        True when not one byte of an answer came and the connection went before the request was wholly written
        (so the peer never had all of it), or the method is safe to repeat. A POST that was wholly written may
        have been worked on and billed: never repeated.
        """
        return not self._parser.started and (self._unsent or self._method in _SAFE_TWICE)

    async def wait_for_head(self) -> None:
        while not self._parser.head_done:
            if self._failure is not None:
                raise self._failure
            await self._next_news()
        self.status = self._parser.status
        self.headers = self._parser.headers
        self.close_delimited = self._parser.close_delimited

    async def receive(self) -> bytes:
        pieces = self._parser.pieces
        while not pieces:
            if self._failure is not None:
                raise self._failure
            if self._over:
                return b""
            await self._next_news()
        self._buffered_bytes = 0
        if len(pieces) == 1:
            data = pieces.pop()
        else:
            data = b"".join(pieces)
            pieces.clear()
        if self._paused:
            self._resume()
        return data

    def divert(self, take: Callable[[bytes], bool]) -> None:
        self._take = take

    def abort(self) -> None:
        if self._over and not self._parser.pieces:
            return
        self._parser.pieces.clear()
        if self._over:
            self._failure = UpstreamCut(self._connection.origin.host, "given up by farebox")
        else:
            self._fail(UpstreamCut(self._connection.origin.host, "given up by farebox"))

    async def aclose(self) -> None:
        if not self._over:
            self.abort()
        # Only a connection this exchange dropped: one given back may serve someone else by now.
        if self._failure is not None and self._connection.dead:
            await asyncio.shield(self._connection.gone)

    def _next_news(self) -> asyncio.Future[None]:
        if self._waiter is not None and not self._waiter.done():
            raise RuntimeError("two tasks read the same answer")
        self._waiter = self._loop.create_future()
        return self._waiter

    # The connection's side.

    def data_received(self, data: bytes) -> None:
        self._heard_at = self._now()
        parser, waiter = self._parser, self._waiter
        was_steady = parser.steady
        parser.feed(data)
        if self._take is not None and waiter is not None and was_steady and parser.steady:
            pieces = parser.pieces
            if len(pieces) == 1 and not waiter.done() and self._take(pieces[0]):
                pieces.clear()
                return
        self._buffered_bytes += len(data)
        if not (was_steady and parser.steady):
            self._turn()
        elif self._buffered_bytes > BUFFER_LIMIT_BYTES:
            self._pause()
        elif not parser.pieces:
            return
        self._wake()

    def eof_received(self) -> None:
        if self._parser.ends_at_close:
            self._finish()
            self._wake()
        else:
            self._fail(self._cut("the connection ended before the answer did"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._connection.connection_lost(exc)
        self._fail(self._cut(f"the connection was lost ({exc})" if exc else "the connection was lost"))

    def pause_writing(self) -> None:
        if self._is_body_open and self._room is None:
            self._room = self._loop.create_future()

    def resume_writing(self) -> None:
        self._unsent = False
        self._make_room()

    def _make_room(self) -> None:
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)

    def _turn(self) -> None:
        """After a feed that may have brought the head, the end, or nonsense."""
        if self._parser.complete:
            self._finish()
        elif self._parser.flaw is not None:
            self._fail(self._cut(self._parser.flaw))
        elif self._parser.head_done:
            self._arm()
            if self._buffered_bytes > BUFFER_LIMIT_BYTES:
                self._pause()

    def _finish(self) -> None:
        """The answer is whole. Its connection serves on only if request and answer both ended cleanly."""
        connection, transport = self._connection, self._connection.transport
        self._end()
        self._make_room()
        # An answer to half a request leaves a connection on which the other half would be the next request.
        reusable = self._parser.keep_alive and not transport.is_closing() and not self._is_body_open
        if reusable and transport.get_write_buffer_size() == 0:
            if self._paused:
                transport.resume_reading()
            connection.rest(self._now())
            self._give_back(connection)
        else:
            connection.drop()

    def _fail(self, failure: UpstreamFault) -> None:
        if self._over:
            return
        self._failure = failure
        self._end()
        self._connection.drop()
        self._wake()
        self._make_room()

    def _end(self) -> None:
        self._over = True
        self._parser.close()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(None)

    def _cut(self, detail: str) -> UpstreamCut:
        return UpstreamCut(self._connection.origin.host, detail)

    def _pause(self) -> None:
        if not self._paused and not self._over:
            self._paused = True
            self._connection.transport.pause_reading()

    def _resume(self) -> None:
        """Silence while we did not listen is not the upstream's."""
        self._paused = False
        if not self._over:
            self._heard_at = self._now()
            self._connection.transport.resume_reading()
            self._arm()

    # The timer.

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._next_due(), self._tick)

    def _next_due(self) -> float:
        if not self._parser.head_done:
            return min(self._total_due, self._sent_at + self._timeouts.first_byte_ms / 1000)
        heard_at = self._now() if self._paused else self._heard_at
        due = min(self._total_due, heard_at + self._timeouts.idle_ms / 1000)
        if self._silence_ms is None:
            return due
        return min(due, max(heard_at, self._hushed_at) + self._silence_ms / 1000)

    def _tick(self) -> None:
        self._timer = None
        now = self._now()
        if now >= self._total_due:
            self._time_out("total", self._timeouts.total_ms)
        elif not self._parser.head_done:
            self._tick_before_head(now)
        elif not self._paused:
            self._tick_in_body(now)
        if not self._over:
            self._arm()

    def _tick_before_head(self, now: float) -> None:
        if now < self._sent_at + self._timeouts.first_byte_ms / 1000:
            return
        unsent_bytes = self._connection.transport.get_write_buffer_size()
        if unsent_bytes < self._unsent_bytes:
            # A large body that still moves: the wait for an answer has not begun.
            self._unsent_bytes, self._sent_at = unsent_bytes, now
        else:
            self._time_out("first_byte", self._timeouts.first_byte_ms)

    def _tick_in_body(self, now: float) -> None:
        if now >= self._heard_at + self._timeouts.idle_ms / 1000:
            self._time_out("idle", self._timeouts.idle_ms)
        elif (
            self._silence_ms is not None
            and now >= max(self._heard_at, self._hushed_at) + self._silence_ms / 1000
        ):
            self._hushed_at = now
            if self._waiter is not None and not self._waiter.done():
                self._waiter.set_exception(Silence())

    def _time_out(self, waited_for: str, timeout_ms: int) -> None:
        self._fail(UpstreamTimeout(self._connection.origin.host, waited_for, timeout_ms))
