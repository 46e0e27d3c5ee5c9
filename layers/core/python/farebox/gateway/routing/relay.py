"""What goes back to the client around the provider's bytes: headers, and answers that were read before."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from farebox.domain.plan import Caller
from farebox.gateway.incoming import IncomingRequest
from farebox.wire.headers import client_headers, find
from farebox.wire.http import Diverting, Headers, HttpAnswer, is_success

REQUEST_ID_MAX = 128


class KeptAnswer:
    """An `HttpAnswer` that was read already, to its end where it `is_whole`: the pieces are given again as
    they came, then the rest as it comes.
    """

    def __init__(
        self,
        source: HttpAnswer,
        pieces: Iterable[bytes],
        *,
        is_whole: bool = False,
    ) -> None:
        self.status: int = source.status
        self.headers: Headers = source.headers
        self._source, self._pieces = source, deque(pieces)
        self._is_whole = is_whole

    async def receive(self) -> bytes:
        """Give the next piece."""
        if self._pieces:
            return self._pieces.popleft()
        return b"" if self._is_whole else await self._source.receive()

    def divert(self, take: Callable[[bytes], bool]) -> None:
        """Nobody waits for the source before the pieces are gone, so nothing can overtake them."""
        if isinstance(self._source, Diverting):
            self._source.divert(take)

    def abort(self) -> None:
        """Drop the connection; nothing more is given."""
        self._pieces.clear()
        self._source.abort()

    async def aclose(self) -> None:
        """Give the connection back, or drop it. What was read can still be given."""
        await self._source.aclose()


def breaks_off(source: HttpAnswer, body: bytes) -> bool:
    """Say whether a JSON answer ends before its object does, as when a server closes early."""
    content_type = (find(source.headers, b"content-type") or b"").lower()
    is_plain = find(source.headers, b"content-encoding") in (None, b"identity")
    is_json = is_plain and content_type.startswith(b"application/json")
    return is_success(source.status) and is_json and not body.rstrip().endswith(b"}")


def upstream_request_id(source: HttpAnswer) -> str | None:
    """Give the provider's own id of an answer, or the beginning of what it says is one."""
    value = find(source.headers, b"request-id") or find(source.headers, b"x-request-id")
    return value[:REQUEST_ID_MAX].decode("latin-1") if value else None


def is_event_stream(source: HttpAnswer) -> bool:
    """Say whether the answer is a stream of events; errors never are."""
    content_type = (find(source.headers, b"content-type") or b"").lower()
    return is_success(source.status) and content_type.startswith(b"text/event-stream")


def answer_headers(headers: Headers, caller: Caller, request: IncomingRequest) -> Headers:
    """Give the provider's headers that travel on, and ours in both spellings."""
    headers = client_headers(headers)
    if find(headers, b"request-id") is None:
        headers.append((b"request-id", request.request_id.encode()))
    return headers + own_headers(caller, request)


def own_headers(caller: Caller, request: IncomingRequest) -> Headers:
    """Give the headers that say how farebox handled a request, as x-farebox-* and as Portkey names them."""
    trace_id = caller.trace_id.encode("ascii", "replace")
    return [
        (b"x-farebox-request-id", request.request_id.encode()),
        (b"x-farebox-trace-id", trace_id),
        (b"x-portkey-trace-id", trace_id),
        *request.handling.headers(),
    ]
