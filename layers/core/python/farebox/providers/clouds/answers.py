"""Answers that were read or translated: behind the same seam as those that come over the wire."""

from __future__ import annotations

from farebox.wire.headers import find
from farebox.wire.http import Headers, HttpAnswer


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


def is_json(answer: HttpAnswer) -> bool:
    """Say whether an answer came as JSON: in the place of a stream it may be an error."""
    return (find(answer.headers, b"content-type") or b"").lower().startswith(b"application/json")


def with_body(answer: HttpAnswer, body: bytes) -> WholeAnswer:
    """Give an answer again whose body was read."""
    headers = [each for each in answer.headers if each[0] != b"content-length"]
    return WholeAnswer(answer.status, headers, body)
