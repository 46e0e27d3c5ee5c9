"""The bytes of one HTTP/1.1 answer, judged: httptools finds the parts, this file decides what may stand.

Stricter than most clients on purpose, because what two parsers read differently can be used to smuggle an
answer: one content-length or one `transfer-encoding: chunked` and never both, CRLF only, no folded lines, no
protocol switch.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NoReturn

import httptools

from farebox.wire.http import Headers

HEAD_LIMIT_BYTES = 65_536
HEADER_LIMIT = 256
INTERIM_LIMIT = 16
_START_LINE = re.compile(rb"HTTP/1\.([01]) [1-9][0-9]{2}(?: [\t\x20-\x7e\x80-\xff]*)?\r\n").match


class _Flaw(Exception):
    """Leaves httptools from inside a callback; the words are in `AnswerParser.flaw`."""


class AnswerParser:
    """Feed it until `complete` or `flaw`; at the end of the connection ask `ends_at_close`.

    `pieces` collects the body as it arrives and is the reader's to empty. `steady` is true between head and
    end, while a feed can bring nothing but body: the only thing the hot path looks at.
    """

    __slots__ = (
        "_bodyless",
        "_feed_data",
        "_head",
        "_headless",
        "_http",
        "_interims",
        "_quiet_bytes",
        "_sealed",
        "close_delimited",
        "complete",
        "flaw",
        "head_done",
        "headers",
        "keep_alive",
        "on_body",
        "pieces",
        "status",
        "steady",
    )

    def __init__(self, *, headless: bool = False) -> None:
        """`headless` answers a HEAD request: whatever its headers say, there is no body."""
        self.status = 0
        self.headers: Headers = []
        self.pieces: list[bytes] = []
        self.on_body: Callable[[bytes], None] = self.pieces.append
        self.head_done = self.complete = self.steady = False
        self.keep_alive = self.close_delimited = False
        self.flaw: str | None = None
        self._headless = headless
        self._bodyless = False
        self._head = b""
        self._interims = 0
        self._quiet_bytes = 0
        self._sealed = 0
        self._http: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        self._feed_data: Callable[[bytes], None] = self._http.feed_data

    @property
    def started(self) -> bool:
        """Whether a single byte of the answer has arrived."""
        return self.head_done or bool(self._head)

    @property
    def ends_at_close(self) -> bool:
        """Whether the end of the connection is the proper end of this answer."""
        return self.steady and self.close_delimited

    def feed(self, data: bytes) -> None:
        if not self.head_done:
            self._head += data
        try:
            self._feed_data(data)
        except httptools.HttpParserError as fault:
            # Behind a complete message there can be anything: the message stands, the connection does not.
            if self.complete:
                self.keep_alive = False
            else:
                self._fail(self.flaw or str(fault))
        if not self.steady:
            self._review()
        elif self.pieces:
            self._quiet_bytes = 0
        else:
            self._bound_framing(len(data))

    def close(self) -> None:
        """Let go of httptools, which holds us in turn."""
        self._http = None
        self._feed_data = _ignore

    def _review(self) -> None:
        if self.complete:
            del self.pieces[self._sealed :]
        elif self.flaw is None and not self.head_done and len(self._head) > HEAD_LIMIT_BYTES:
            self._fail("the head is too large")

    def _bound_framing(self, size: int) -> None:
        """Chunk extensions and trailers are read over, but not without end."""
        self._quiet_bytes += size
        if self._quiet_bytes > HEAD_LIMIT_BYTES:
            self._fail("too much framing around the body")

    def _fail(self, flaw: str) -> None:
        self.flaw = flaw
        self.steady = self.keep_alive = False

    # What httptools calls. `on_body` is the list's own append: no Python frame for a piece of body.

    def on_message_begin(self) -> None:
        if self.complete:
            self._refuse("another answer follows that nobody asked for")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.head_done:
            return
        if len(self.headers) == HEADER_LIMIT:
            self._refuse("too many headers")
        self.headers.append((name.lower(), value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        assert self._http is not None
        self.status = self._http.get_status_code()
        minor = self._read_start_lines()
        if self.status < 200:
            self._skip_interim()
            return
        lengths, codings = self._read_framing()
        if codings and codings != [b"chunked"]:
            self._refuse("its transfer-encoding is not chunked")
        self._bodyless = self._headless or self.status in (204, 304)
        self.close_delimited = not (self._bodyless or lengths or codings)
        self.keep_alive = minor == b"1" and self._http.should_keep_alive() and not self._headless
        self.head_done = True
        self._head = b""
        self.complete = self._bodyless
        self.steady = not self._bodyless

    def on_message_complete(self) -> None:
        if not self.head_done:
            return
        if not self._bodyless:
            self._sealed = len(self.pieces)
        self.complete = True
        self.steady = False

    def _read_start_lines(self) -> bytes:
        """Refuse what httptools lets pass: other protocols and versions, blank lines first, no bound."""
        end = 0
        for _ in range(self._interims + 1):
            start = end
            end = self._head.find(b"\r\n\r\n", start) + 4
        if end > HEAD_LIMIT_BYTES:
            self._refuse("the head is too large")
        line = _START_LINE(self._head, start)
        if line is None:
            self._refuse("it does not begin as HTTP/1.1 or HTTP/1.0 does")
        return line[1]

    def _skip_interim(self) -> None:
        if self.status == 101:
            self._refuse("it switches protocols and nobody asked")
        self._interims += 1
        if self._interims > INTERIM_LIMIT:
            self._refuse("too many 1xx answers")
        self.headers.clear()

    def _read_framing(self) -> tuple[list[bytes], list[bytes]]:
        lengths = [value for name, value in self.headers if name == b"content-length"]
        codings = [value.lower() for name, value in self.headers if name == b"transfer-encoding"]
        return lengths, codings

    def _refuse(self, flaw: str) -> NoReturn:
        if not self.complete:
            self.flaw = flaw
        raise _Flaw(flaw)


def _ignore(data: bytes) -> None:
    """Nobody reads what arrives now."""
