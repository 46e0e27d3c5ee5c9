"""A client's request as it reaches the pipeline."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from msgspec import Struct, field

from farebox.wire.headers import find
from farebox.wire.http import Headers

MESSAGES_API, BEDROCK, VERTEX = "messages", "bedrock", "vertex"
"""The APIs that clients may speak. Behind the front door all of them are the Messages API."""

RETRIES_EXHAUSTED = -1
"""What is told in the place of a number of retries where all of them failed."""


class Handling(Struct):
    """How a request is being handled, as far as it has come. Every answer tells it, refusals too."""

    provider: str | None = None
    option_path: str = "config"
    retries: int = 0
    cache_status: str = "DISABLED"
    max_tokens: int | None = None

    def headers(self) -> Headers:
        """Give it as headers, as x-farebox-* and as Portkey names them. Only we lower `max_tokens`."""
        told = (
            (b"provider", self.provider or ""),
            (b"cache-status", self.cache_status),
            (b"retry-attempt-count", str(self.retries)),
            (b"last-used-option-index", self.option_path),
        )
        lowered = [] if self.max_tokens is None else [(b"x-farebox-max-tokens", b"%d" % self.max_tokens)]
        return lowered + [
            (prefix + name, value.encode())
            for name, value in told
            if value
            for prefix in (b"x-farebox-", b"x-portkey-")
        ]


class IncomingRequest(Struct, frozen=True):
    """`operation` is messages or count_tokens, `api` what the client speaks. `read_body` reads it once and
    raises `BodyTooLarge`.

    `request_id` is ours; every answer carries it, and what is known of its `handling` by then.
    """

    request_id: str
    operation: str
    query: bytes
    headers: Headers
    read_body: Callable[[], Awaitable[bytes]]
    handling: Handling = field(default_factory=Handling)
    api: str = MESSAGES_API

    def __repr__(self) -> str:
        return f"IncomingRequest({self.request_id}, {self.operation})"

    def farebox_header(self, name: bytes) -> str | None:
        """Give `x-farebox-NAME`, else its Portkey twin."""
        value = find(self.headers, b"x-farebox-" + name)
        if value is None:
            value = find(self.headers, b"x-portkey-" + name)
        return None if value is None else value.decode("latin-1").strip()


class ClientLeft(Exception):
    """The client hung up while it was still sending."""
