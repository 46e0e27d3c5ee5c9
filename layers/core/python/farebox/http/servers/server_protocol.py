"""uvicorn's HTTP/1.1 connection with bounds on what it takes before anybody has shown a key.

httptools keeps a head, a trailer or an unfinished header in memory for as long as the client goes on, and
uvicorn waits for ever for the end of a head.
"""

from __future__ import annotations

import asyncio
from typing import ClassVar

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from farebox.http.errors import NO_RETRY, ErrorAnswer

HEAD_BYTES_MAX = 65_536
HEADERS_MAX = 200
URL_BYTES_MAX = 16_384
HEAD_TIMEOUT_S = 30.0
LINGER_S = 1.0

_MALFORMED = ErrorAnswer(400, "invalid_request_error", "The request is not valid HTTP/1.1.", NO_RETRY)
_HEAD_TOO_LARGE = ErrorAnswer(
    431,
    "request_too_large",
    f"The request's headers are larger than {HEAD_BYTES_MAX} bytes, or more than {HEADERS_MAX}.",
    NO_RETRY,
)
_URL_TOO_LONG = ErrorAnswer(
    414, "request_too_large", f"The request's URL is longer than {URL_BYTES_MAX} bytes.", NO_RETRY
)
_HEAD_TOO_LATE = ErrorAnswer(408, "timeout_error", "The request's headers did not arrive in time.", [])


class _Flawed(Exception):
    """Leaves httptools from inside a callback; `_flaw` has the answer."""


class BoundedHttpProtocol(HttpToolsProtocol):
    """A connection whose requests have a head of bounded size and time.

    What goes wrong while an earlier request is still being answered is not told, since it would be read as
    that answer: the connection ends after it.
    """

    head_timeout_s: ClassVar[float] = HEAD_TIMEOUT_S

    _in_head = True
    _has_begun = False
    _is_refused = False
    _steps = 0
    _unframed_bytes = 0
    _head_bytes = 0
    _flaw = _MALFORMED
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first head."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of the timer, which holds us."""
        self._cancel_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes in, unless enough is enough."""
        if self._is_refused:
            return
        was_in_head, steps = self._in_head, self._steps
        super().data_received(data)
        if self._steps != steps:
            self._unframed_bytes = 0
        else:
            # Not one callback that ends something: all of it waits in a head, a trailer, a chunk's extension.
            self._unframed_bytes += len(data)
            if self._unframed_bytes > HEAD_BYTES_MAX:
                self._refuse(_HEAD_TOO_LARGE)
        if self._timer is None and self._is_within_head(was_in_head):
            self._await_head()

    def on_message_begin(self) -> None:
        """Begin a head, which may stand behind the end of the request before it."""
        self._head_bytes = 0
        self._has_begun = True
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Take a piece of the URL."""
        super().on_url(url)
        if len(self.url) > URL_BYTES_MAX:
            self._flaw = _URL_TOO_LONG
            raise _Flawed

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header. What trails a body is counted and left out: the head was acted on long ago."""
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > HEAD_BYTES_MAX or len(self.headers) >= HEADERS_MAX:
            self._flaw = _HEAD_TOO_LARGE
            raise _Flawed
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """End the head, unless its URL is none."""
        super().on_headers_complete()
        self._in_head = self._has_begun = False
        self._steps += 1
        self._cancel_timer()

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._steps += 1
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End the request; the next bytes are another one's head."""
        self._in_head = True
        self._steps += 1
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what httptools cannot read, or one of our callbacks did not want."""
        self._refuse(self._flaw)

    def _is_within_head(self, was_in_head: bool) -> bool:
        """Whether bytes of an unfinished head have come, be they the blank lines that may precede it."""
        has_bytes = self._has_begun or (was_in_head and self._unframed_bytes > 0)
        return self._in_head and has_bytes and not self._is_refused

    def _await_head(self) -> None:
        self._timer = self.loop.call_later(self.head_timeout_s, self._end_waiting)

    def _end_waiting(self) -> None:
        """A client that has not said a word would take an answer for that to its first request."""
        if self._has_begun or self._unframed_bytes:
            self._refuse(_HEAD_TOO_LATE)
        else:
            self.transport.close()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refuse(self, told: ErrorAnswer) -> None:
        """Read no more of this connection, and say why if nothing else is being said on it."""
        if self._is_refused:
            return
        self._is_refused = True
        self._cancel_timer()
        cycle = self.cycle
        # uvicorn types it as always there.
        if cycle is None or cycle.response_complete:  # type: ignore[redundant-expr]
            self._answer(told)
        elif self._in_head:
            cycle.keep_alive = False
        elif cycle.response_started or self.pipeline:
            self.transport.close()
        else:
            self._answer(told)
            cycle.disconnected = True
            cycle.message_event.set()

    def _answer(self, told: ErrorAnswer) -> None:
        """Write the answer and stay a moment: bytes nobody reads would reset the connection and lose it."""
        body = told.body()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
            *told.headers,
        ]
        lines = b"".join(b"%b: %b\r\n" % header for header in headers)
        self.transport.write(b"%b%b\r\n%b" % (STATUS_LINE[told.status], lines, body))
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self._timer = self.loop.call_later(LINGER_S, self.transport.close)
        else:
            self.transport.close()
