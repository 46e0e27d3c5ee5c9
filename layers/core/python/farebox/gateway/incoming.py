"""A client's request as it reaches the pipeline."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from farebox.wire.headers import find
from farebox.wire.http import Headers


def handling_headers(provider: str | None, option_path: str) -> Headers:
    """Give the headers that say how a request was handled, as x-farebox-* and as Portkey names them."""
    told = [
        (b"provider", (provider or "").encode()),
        (b"cache-status", b"DISABLED"),
        (b"retry-attempt-count", b"0"),
        (b"last-used-option-index", option_path.encode()),
    ]
    return [
        (prefix + name, value) for name, value in told if value for prefix in (b"x-farebox-", b"x-portkey-")
    ]


@dataclass(frozen=True, slots=True)
class IncomingRequest:
    """`operation` is messages or count_tokens. `read_body` reads it once and raises `BodyTooLarge`.

    `request_id` is ours; every answer carries it. A refusal carries `handling`, which is replaced once a
    target is chosen.
    """

    request_id: str
    operation: str
    query: bytes
    headers: Headers
    read_body: Callable[[], Awaitable[bytes]]
    handling: Headers = field(default_factory=lambda: handling_headers(None, "config"))

    def farebox_header(self, name: bytes) -> str | None:
        """Give `x-farebox-NAME`, else its Portkey twin."""
        value = find(self.headers, b"x-farebox-" + name)
        if value is None:
            value = find(self.headers, b"x-portkey-" + name)
        return None if value is None else value.decode("latin-1").strip()


class ClientLeft(Exception):
    """The client hung up while it was still sending."""
