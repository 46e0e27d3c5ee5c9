"""Answers that were read or translated: behind the same seam as those that come over the wire."""

from __future__ import annotations

from farebox.domain.errors import UpstreamCut
from farebox.wire.http import Headers, HttpAnswer, Silence

WHOLE_BYTES_MAX = 32 * 1024 * 1024
"""More than any error, count or message that is read before it is passed on."""


class WholeAnswer:
    """An answer whose body is all there."""

    def __init__(self, status: int, headers: Headers, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self._body = body

    async def receive(self) -> bytes:
        """See `HttpAnswer.receive`."""
        body, self._body = self._body, b""
        return body

    def abort(self) -> None:
        """See `HttpAnswer.abort`. The connection is free already."""

    async def aclose(self) -> None:
        """See `HttpAnswer.aclose`."""


async def read_body(answer: HttpAnswer, host: str) -> bytes:
    """Read an answer to its end and let go of its connection. Raises `UpstreamFault`."""
    pieces: list[bytes] = []
    size = 0
    try:
        while True:
            try:
                piece = await answer.receive()
            except Silence:
                continue
            if not piece:
                return b"".join(pieces)
            pieces.append(piece)
            size += len(piece)
            if size > WHOLE_BYTES_MAX:
                raise UpstreamCut(host, f"its answer is larger than {WHOLE_BYTES_MAX} bytes")
    finally:
        await answer.aclose()
