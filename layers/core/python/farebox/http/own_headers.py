"""The headers by which every answer, a refusal too, says which request and which trace it belongs to."""

from __future__ import annotations

from farebox.gateway.authenticate import TRACE_ID_LENGTH_MAX
from farebox.wire.headers import find
from farebox.wire.http import Headers

SCOPE_REQUEST_ID = "farebox.request_id"
"""Under this name an app behind the data plane finds the request's id in its ASGI scope."""


def id_headers(asked: Headers, request_id: str) -> Headers:
    """Give our ids, and the trace that the caller named; else the trace is the request itself."""
    own_id = request_id.encode()
    trace_id = _trace_id(asked) or own_id
    return [
        (b"request-id", own_id),
        (b"x-farebox-request-id", own_id),
        (b"x-farebox-trace-id", trace_id),
        (b"x-portkey-trace-id", trace_id),
    ]


def _trace_id(asked: Headers) -> bytes:
    value = find(asked, b"x-farebox-trace-id")
    if value is None:
        value = find(asked, b"x-portkey-trace-id") or b""
    return bytes(char for char in value if 0x20 <= char <= 0x7E)[:TRACE_ID_LENGTH_MAX].strip()
