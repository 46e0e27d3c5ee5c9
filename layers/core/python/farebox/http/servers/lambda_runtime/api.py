"""The Runtime API of Lambda, call by call.

Source: Lambda developer guide, "Lambda runtime API" and "Custom runtimes: response streaming", read 2026-11;
the invocation id as awslambdaric 4 gives it back, the restore calls as it makes them.
"""

from __future__ import annotations

from types import TracebackType

import msgspec
from msgspec import Struct

from farebox.domain.errors import FareboxError, UpstreamFault
from farebox.wire.headers import find
from farebox.wire.http import Headers, HttpAnswer, HttpRequest, Origin, Timeouts
from farebox.wire.http1 import Http1Transport
from farebox.wire.http1.upload import Upload

BASE = b"/2018-06-01/runtime"
DAY_MS = 86_400_000
# An environment may sleep for hours before anybody asks for it.
PATIENT = Timeouts(first_byte_ms=3_650 * DAY_MS, idle_ms=3_650 * DAY_MS, total_ms=3_650 * DAY_MS)
ASKED_TIMES_MAX = 3

ERROR_TYPE = b"Lambda-Runtime-Function-Error-Type"
ERROR_BODY = b"Lambda-Runtime-Function-Error-Body"
_INVOCATION_ID = b"lambda-runtime-invocation-id"
_STREAMING: Headers = [
    (b"Lambda-Runtime-Function-Response-Mode", b"streaming"),
    (b"Content-Type", b"application/vnd.awslambda.http-integration-response"),
    (b"Trailer", ERROR_TYPE + b", " + ERROR_BODY),
]


class RuntimeApiFault(Exception):
    """Lambda's side does not speak as it should. The process ends, and Lambda starts another."""


class Invocation(Struct, frozen=True):
    """What one `/next` gave. `echo` goes back with the answer; `deadline_ms` is since the epoch."""

    request_id: str
    deadline_ms: int
    echo: Headers
    event: bytes


class Failure(Struct, frozen=True):
    """An error as Lambda records it: never more of it than its kind and place, unless its words are ours."""

    type: str
    message: str
    trace: tuple[str, ...] = ()

    def document(self) -> bytes:
        """Write the error document."""
        told = {"errorMessage": self.message, "errorType": self.type, "stackTrace": self.trace}
        return msgspec.json.encode(told)


def failure_of(error: BaseException) -> Failure:
    """Tell an error. Words that are not ours may quote what must not be in logs."""
    message = error.message if isinstance(error, FareboxError) else "The function's log has the details."
    return Failure(f"Farebox.{type(error).__name__}", message, tuple(_places(error.__traceback__)))


class RuntimeApi:
    """One environment's end of it: one call at a time, on one connection while that lives."""

    def __init__(self, transport: Http1Transport, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._transport, self._origin = transport, Origin("http", host, int(port))

    async def next(self) -> Invocation:
        """Wait for an invocation, however long. While it waits the environment may be frozen.

        Raises `UpstreamFault` where nobody listens any more, and `RuntimeApiFault`.
        """
        answer = await self._get(b"/invocation/next")
        event = await _body(answer)
        request_id = find(answer.headers, b"lambda-runtime-aws-request-id")
        deadline_ms = find(answer.headers, b"lambda-runtime-deadline-ms")
        if answer.status != 200 or not request_id or not deadline_ms or not deadline_ms.isdigit():
            raise RuntimeApiFault(f"/next answered {answer.status} with {answer.headers}")
        echo = [(name, value) for name, value in answer.headers if name == _INVOCATION_ID]
        return Invocation(request_id.decode("ascii"), int(deadline_ms), echo, event)

    async def respond(self, invocation: Invocation) -> Upload:
        """Begin a streamed answer; its body is the prelude, 8 NUL bytes, and then what the client gets."""
        target = b"%b/invocation/%b/response" % (BASE, invocation.request_id.encode())
        request = HttpRequest(b"POST", self._origin, target, [*_STREAMING, *invocation.echo])
        return await self._transport.upload(request, PATIENT)

    async def fail(self, invocation: Invocation, failure: Failure) -> None:
        """Answer with an error, which the function URL tells as a 502."""
        target = b"/invocation/%b/error" % invocation.request_id.encode()
        await self._post(target, failure, invocation.echo)

    async def fail_init(self, failure: Failure) -> None:
        """Say that the function cannot start."""
        await self._post(b"/init/error", failure)

    async def wait_for_restore(self) -> None:
        """Let Lambda take its snapshot, and return in an environment that was made from it."""
        answer = await self._get(b"/restore/next")
        await _body(answer)
        if answer.status != 200:
            raise RuntimeApiFault(f"/restore/next answered {answer.status}")

    async def fail_restore(self, failure: Failure) -> None:
        """Say that the function cannot go on from its snapshot."""
        await self._post(b"/restore/error", failure)

    async def _get(self, target: bytes) -> HttpAnswer:
        """Ask, and ask again where a freeze has cost the connection: nothing was handed out then."""
        request = HttpRequest(b"GET", self._origin, BASE + target, [])
        for _ in range(ASKED_TIMES_MAX - 1):
            try:
                return await self._transport.send(request, PATIENT)
            except UpstreamFault:
                continue
        return await self._transport.send(request, PATIENT)

    async def _post(self, target: bytes, failure: Failure, echo: Headers | None = None) -> None:
        headers = [(ERROR_TYPE, failure.type.encode()), (b"Content-Type", b"application/json"), *(echo or [])]
        body = failure.document()
        answer = await self._transport.send(
            HttpRequest(b"POST", self._origin, BASE + target, headers, body), PATIENT
        )
        await accepted(answer)


async def accepted(answer: HttpAnswer) -> bool:
    """Read Lambda's answer to one of ours. Raises `RuntimeApiFault` where it says that it cannot go on.

    False is a refusal of this one answer: it came too late, or was too large.
    """
    told = await _body(answer)
    if answer.status >= 500:
        raise RuntimeApiFault(f"the Runtime API answered {answer.status}: {told[:500]!r}")
    return answer.status < 300


async def _body(answer: HttpAnswer) -> bytes:
    pieces: list[bytes] = []
    while piece := await answer.receive():
        pieces.append(piece)
    return b"".join(pieces)


def _places(trace: TracebackType | None) -> list[str]:
    places: list[str] = []
    while trace is not None:
        code = trace.tb_frame.f_code
        places.append(f"{code.co_filename}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return places
