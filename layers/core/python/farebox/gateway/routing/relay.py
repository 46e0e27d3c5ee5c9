"""What goes back to the client around the provider's bytes: headers, and answers that are read as a whole."""

from __future__ import annotations

from farebox.domain.config import Target
from farebox.domain.errors import UpstreamCut
from farebox.domain.plan import Caller
from farebox.gateway.incoming import IncomingRequest, handling_headers
from farebox.wire.headers import client_headers, find
from farebox.wire.http import Headers, HttpAnswer, Silence, is_success

ANSWER_BYTES_MAX = 256 * 1024 * 1024


async def read_whole(source: HttpAnswer) -> bytes:
    """Read an answer to its end. Raises `UpstreamFault` when it breaks off or grows beyond 256 MB."""
    pieces: list[bytes] = []
    size = 0
    try:
        while True:
            try:
                piece = await source.receive()
            except Silence:
                continue
            if not piece:
                return b"".join(pieces)
            pieces.append(piece)
            size += len(piece)
            if size > ANSWER_BYTES_MAX:
                raise UpstreamCut("the provider", f"its answer is larger than {ANSWER_BYTES_MAX} bytes")
    finally:
        await source.aclose()


def breaks_off(source: HttpAnswer, body: bytes) -> bool:
    """Say whether a JSON answer ends before its object does, as when a server closes early."""
    content_type = (find(source.headers, b"content-type") or b"").lower()
    is_plain = find(source.headers, b"content-encoding") in (None, b"identity")
    is_json = is_plain and content_type.startswith(b"application/json")
    return is_success(source.status) and is_json and not body.rstrip().endswith(b"}")


def is_event_stream(source: HttpAnswer) -> bool:
    """Say whether the answer is a stream of events; errors never are."""
    content_type = (find(source.headers, b"content-type") or b"").lower()
    return is_success(source.status) and content_type.startswith(b"text/event-stream")


def answer_headers(
    source: HttpAnswer, target: Target, caller: Caller, request: IncomingRequest, option_path: str
) -> Headers:
    """Give the provider's headers that travel on, and ours in both spellings."""
    headers = client_headers(source.headers)
    if find(headers, b"request-id") is None:
        headers.append((b"request-id", request.request_id.encode()))
    return headers + own_headers(target, caller, request.request_id, option_path)


def own_headers(target: Target, caller: Caller, request_id: str, option_path: str) -> Headers:
    """Give the headers that say how farebox handled a request, as x-farebox-* and as Portkey names them."""
    trace_id = caller.trace_id.encode("ascii", "replace")
    return [
        (b"x-farebox-request-id", request_id.encode()),
        (b"x-farebox-trace-id", trace_id),
        (b"x-portkey-trace-id", trace_id),
        *handling_headers(target.provider.slug, option_path),
    ]
