"""The seam between farebox and any HTTP peer: a request as bytes, an answer in flight, two methods."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from farebox.domain.errors import UpstreamCut

Headers = list[tuple[bytes, bytes]]
"""In wire order. Names are lower case, values have no surrounding white space; both are latin-1 bytes."""


DEFAULT_PORTS: Mapping[str, int] = {"http": 80, "https": 443}


class Origin(Struct, frozen=True):
    """Where a connection goes. `scheme` is 'http' or 'https'. One that `is_chosen` was named by a config or a
    caller, not by the provider's own settings: only addresses that anybody may be sent to will do.
    """

    scheme: str
    host: str
    port: int
    is_chosen: bool = False


def origin_of(url: str) -> Origin:
    """Give where a URL leads. Raises `ValueError` for what is no http or https URL."""
    parts = urlsplit(url)
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
        raise ValueError(f"'{url}' is not an http or https URL")
    return Origin(parts.scheme, parts.hostname, parts.port or DEFAULT_PORTS[parts.scheme])


class Timeouts(Struct, frozen=True):
    """Each bounds one kind of waiting; `total_ms` runs from the moment the request is sent."""

    connect_ms: int = 10_000
    first_byte_ms: int = 120_000
    idle_ms: int = 300_000
    total_ms: int = 1_800_000


class HttpRequest(Struct, frozen=True):
    """`target` is path and query as sent. The transport adds host and content-length, nothing else."""

    method: bytes
    origin: Origin
    target: bytes
    headers: Headers
    body: bytes = b""

    def __repr__(self) -> str:
        place = f"{self.origin.host}{self.target.partition(b'?')[0].decode('latin-1')}"
        return f"HttpRequest({self.method.decode()} {place}, {len(self.body)} bytes)"


JSON_FAULTS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What reading somebody else's bytes as JSON fails with: msgspec lets the latter two through as they are."""

ANSWER_BYTES_MAX = 256 * 1024 * 1024


class Silence(Exception):
    """Nothing arrived for `silence_ms`; the answer is still open and may be read on."""


def is_success(status: int) -> bool:
    """Whether a status says that the request was done."""
    return 200 <= status < 300


class HttpAnswer(Protocol):
    """An answer whose head has arrived and whose body is being read."""

    status: int
    headers: Headers

    async def receive(self) -> bytes:
        """Give the next body bytes as they arrived (transfer coding removed), or b"" at the proper end,
        forever after.

        Raises `Silence` when `silence_ms` passed without a byte (only if it was asked for),
        `UpstreamTimeout` for the idle and total bounds, `UpstreamCut` when the body ends before its framing
        says so, or after `abort`.
        """

    def abort(self) -> None:
        """Drop the connection now and wake a waiting `receive`. Safe to call twice and after the end."""

    async def aclose(self) -> None:
        """Give the connection back when the body was read to its end, else drop it. Safe to call twice."""


@runtime_checkable
class Diverting(Protocol):
    """What an `HttpAnswer` may do beside: hand bytes on the moment they arrive, without waking a task."""

    def divert(self, take: Callable[[bytes], bool]) -> None:
        """While `receive` waits, offer the body bytes that arrive to `take` first.

        Those it says True to are gone; those it says False to, and whatever is not plainly body (the end, a
        fault), go to `receive` as ever. It is called by the event loop, outside of any task.
        """


class Transport(Protocol):
    """Anything that can carry a request: the HTTP/1.1 client, the demo model, a test's fake."""

    async def send(
        self, request: HttpRequest, timeouts: Timeouts, *, silence_ms: int | None = None
    ) -> HttpAnswer:
        """Send and wait for the head of the final (not 1xx) answer.

        Raises `UpstreamUnreachable` (nothing was sent), `UpstreamTimeout`, `UpstreamCut`, and `PolicyRefused`
        for a chosen host whose addresses are not for anybody.
        Cancelling drops the connection.
        """

    async def aclose(self) -> None:
        """Close every idle connection."""


async def read_whole(
    answer: HttpAnswer, host: str = "the provider", *, bytes_max: int = ANSWER_BYTES_MAX
) -> bytes:
    """Read an answer to its end, over silences too, and let go of its connection whatever comes.

    Raises `UpstreamFault` when it breaks off or grows beyond `bytes_max`.
    """
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
            if size > bytes_max:
                raise UpstreamCut(host, f"its answer is larger than {bytes_max} bytes")
    finally:
        await answer.aclose()
