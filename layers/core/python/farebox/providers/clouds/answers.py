"""Answers that were read or translated: behind the same seam as those that come over the wire."""

from __future__ import annotations

from farebox.wire.http import Headers


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
