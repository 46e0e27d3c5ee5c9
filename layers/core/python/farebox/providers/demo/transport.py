"""The demo model behind the seam of every HTTP peer: it keeps the promises about silences and timeouts."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterator

import msgspec
from msgspec import Struct, field

from farebox.domain.errors import UpstreamCut, UpstreamTimeout
from farebox.providers.demo import shape
from farebox.providers.demo.reply import Reply, reply_to
from farebox.providers.demo.request import Asked, Failed, read_request
from farebox.wire.http import Headers, HttpRequest, Silence, Timeouts

Sleep = Callable[[float], Awaitable[None]]

DELTA_MS = 20
HOST = "demo"
_END: shape.Step = (0, b"")


class _Script(Struct, frozen=True):
    status: int
    headers: Headers
    steps: Iterator[shape.Step]


class DemoTransport:
    """Carries requests to the demo model. `delta_ms` paces its answers; `sleep` takes seconds."""

    def __init__(self, *, sleep: Sleep = asyncio.sleep, delta_ms: int = DELTA_MS) -> None:
        self._sleep = sleep
        self._delta_ms = delta_ms

    async def send(
        self, request: HttpRequest, timeouts: Timeouts, *, silence_ms: int | None = None
    ) -> DemoAnswer:
        """See `Transport.send`. It never fails: errors are answers."""
        digest = hashlib.sha256(request.body).hexdigest()[:24]
        try:
            script = _script(request, digest, self._delta_ms)
        except Failed as failed:
            body = shape.error_body(failed.status, failed.message, digest)
            script = _json_script(failed.status, body, digest)
        return DemoAnswer(script.status, script.headers, script.steps, timeouts, silence_ms, self._sleep)

    async def aclose(self) -> None:
        """See `Transport.aclose`. There is nothing to close."""


class DemoAnswer(Struct, eq=False):
    """See `HttpAnswer`."""

    status: int
    headers: Headers
    _steps: Iterator[shape.Step]
    _timeouts: Timeouts
    _silence_ms: int | None
    _sleep: Sleep
    _step: shape.Step | None = None
    _silent_ms: int = 0
    _elapsed_ms: int = 0
    _aborted: asyncio.Event = field(default_factory=asyncio.Event)

    async def receive(self) -> bytes:
        """See `HttpAnswer.receive`."""
        if self._step is None:
            self._step = next(self._steps, _END)
        due_ms, data = self._step
        if self._step is not _END:
            await self._wait(due_ms - self._silent_ms)
            self._step = None if data else self._step
        if data is None:
            raise UpstreamCut(HOST, "it was asked to")
        self._silent_ms = 0
        return data

    def abort(self) -> None:
        """See `HttpAnswer.abort`."""
        if self._step is not _END:
            self._aborted.set()

    async def aclose(self) -> None:
        """See `HttpAnswer.aclose`."""
        self.abort()

    async def _wait(self, due_ms: int) -> None:
        """Let time pass until the step is due, or until the first bound is reached."""
        idle_left_ms = self._timeouts.idle_ms - self._silent_ms
        total_left_ms = self._timeouts.total_ms - self._elapsed_ms
        left_ms = min(idle_left_ms, total_left_ms)
        patience_ms = left_ms if self._silence_ms is None else min(left_ms, self._silence_ms)
        waited_ms = min(due_ms, patience_ms)
        await self._pause(waited_ms)
        self._silent_ms += waited_ms
        self._elapsed_ms += waited_ms
        if waited_ms == due_ms:
            return
        if waited_ms < left_ms:
            raise Silence
        if left_ms == idle_left_ms:
            raise UpstreamTimeout(HOST, "idle", self._timeouts.idle_ms)
        raise UpstreamTimeout(HOST, "total", self._timeouts.total_ms)

    async def _pause(self, pause_ms: int) -> None:
        """Sleep until the time has passed or `abort` is called."""
        sleeping = asyncio.ensure_future(self._sleep(pause_ms / 1000))
        aborting = asyncio.ensure_future(self._aborted.wait())
        try:
            await asyncio.wait({sleeping, aborting}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            aborting.cancel()
        if self._aborted.is_set():
            raise UpstreamCut(HOST, "the answer was aborted")


def _script(request: HttpRequest, digest: str, delta_ms: int) -> _Script:
    path = request.target.partition(b"?")[0]
    if request.method == b"POST" and path.endswith(b"/v1/messages/count_tokens"):
        return _json_script(200, shape.token_count(read_request(request.body)), digest)
    if request.method == b"POST" and path.endswith(b"/v1/messages"):
        return _message_script(read_request(request.body), digest, delta_ms)
    raise Failed(404, "Not found")


def _message_script(asked: Asked, digest: str, delta_ms: int) -> _Script:
    if asked.max_tokens is None:
        raise Failed(400, "max_tokens: Field required")
    if asked.max_tokens < 1:
        raise Failed(400, "max_tokens: Input should be greater than or equal to 1")
    reply = reply_to(asked)
    if asked.stream:
        headers = [*_headers(b"text/event-stream; charset=utf-8", digest), (b"cache-control", b"no-cache")]
        return _Script(200, headers, shape.stream(asked, reply, digest, delta_ms))
    if reply.mishap == "error":
        raise Failed(529, "Overloaded")
    return _json_script(200, shape.message(asked, reply, digest), digest, reply=reply, delay_ms=delta_ms)


def _json_script(
    status: int, document: object, digest: str, *, reply: Reply | None = None, delay_ms: int = 0
) -> _Script:
    body = msgspec.json.encode(document)
    headers = [*_headers(b"application/json", digest), (b"content-length", str(len(body)).encode())]
    steps: list[shape.Step] = [(delay_ms + (reply.stall_ms if reply else 0), body)]
    if reply and reply.mishap == "cut":
        steps = [(delay_ms, body[: len(body) // 2]), (0, None)]
    return _Script(status, headers, iter(steps))


def _headers(content_type: bytes, digest: str) -> Headers:
    return [(b"content-type", content_type), (b"request-id", shape.request_id(digest).encode())]
