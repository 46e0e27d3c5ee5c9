"""A client's request as it reaches the pipeline."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from farebox.wire.headers import find
from farebox.wire.http import Headers


@dataclass(frozen=True, slots=True)
class IncomingRequest:
    """`operation` is messages or count_tokens. `read_body` reads it once and raises `BodyTooLarge`.

    `request_id` is ours; every answer carries it.
    """

    request_id: str
    operation: str
    query: bytes
    headers: Headers
    read_body: Callable[[], Awaitable[bytes]]

    def farebox_header(self, name: bytes) -> str | None:
        """Give `x-farebox-NAME`, else its Portkey twin."""
        value = find(self.headers, b"x-farebox-" + name)
        if value is None:
            value = find(self.headers, b"x-portkey-" + name)
        return None if value is None else value.decode("latin-1").strip()


class ClientLeft(Exception):
    """The client hung up while it was still sending."""
