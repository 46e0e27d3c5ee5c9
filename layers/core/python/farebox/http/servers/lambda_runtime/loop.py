"""The runtime's loop: one invocation after the other, each settled before the next is asked for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import MutableMapping
from typing import Any

from farebox.http.data_plane import App
from farebox.http.errors import ErrorAnswer
from farebox.http.servers.lambda_runtime.answer import Answer
from farebox.http.servers.lambda_runtime.api import Failure, Invocation, RuntimeApi, failure_of
from farebox.http.servers.lambda_runtime.event import EventUnknown, read_event
from farebox.ports import Clock

MARGIN_MS = 10_000
MARGIN_PARTS = 5
STOPPED = Failure("Farebox.Stopped", "The answer was cut: the function's time is over, or it is stopped.")
CUT = Failure("Farebox.Cut", "The answer was cut where the provider cut it.")
UNANSWERED = Failure("Farebox.Unanswered", "The app returned without an answer.")
LATE = ErrorAnswer(504, "timeout_error", "The gateway's own time for one request is over.", [])

_log = logging.getLogger("farebox.lambda")


async def serve(api: RuntimeApi, app: App, clock: Clock) -> None:
    """Serve until cancelled. An invocation under way is stopped then, booked and cut.

    Raises `UpstreamFault` and `RuntimeApiFault` where Lambda's side is gone: the process is of no use then.
    """
    while True:
        await _serve_one(api, app, await api.next(), clock)


async def _serve_one(api: RuntimeApi, app: App, invocation: Invocation, clock: Clock) -> None:
    answer = Answer(api, invocation)
    try:
        scope, body = read_event(invocation.event)
    except EventUnknown as unknown:
        await answer.close(Failure("Farebox.EventUnknown", str(unknown)))
        return
    work = asyncio.ensure_future(app(scope, _Request(body).receive, answer.send))
    alarm = asyncio.get_running_loop().call_later(_time_s(invocation, clock), work.cancel)
    try:
        await asyncio.wait({work})
    except asyncio.CancelledError:
        work.cancel()
        # What was used is booked first; the app bounds how long that takes.
        await asyncio.wait({work})
        await _end(answer, work)
        raise
    finally:
        alarm.cancel()
    await _end(answer, work)


async def _end(answer: Answer, work: asyncio.Future[None]) -> None:
    """Tell Lambda how it ended. The client has had its last byte already, if the answer was whole."""
    failure = CUT if answer.has_begun else UNANSWERED
    if work.cancelled():
        failure = STOPPED
        if not answer.has_begun:
            await _say(answer, LATE)
    elif (error := work.exception()) is not None:
        failure = failure_of(error)
        _log.error("an invocation failed", exc_info=error)
    if not await answer.close(failure):
        _log.error("Lambda did not take an answer")


async def _say(answer: Answer, told: ErrorAnswer) -> None:
    headers = [(b"content-type", b"application/json"), *told.headers]
    await answer.send({"type": "http.response.start", "status": told.status, "headers": headers})
    await answer.send({"type": "http.response.body", "body": told.body()})


def _time_s(invocation: Invocation, clock: Clock) -> float:
    """Give how long the app may work: behind it there must be time to book what was used."""
    left_ms = invocation.deadline_ms - clock.now().timestamp() * 1_000
    return max(left_ms - min(MARGIN_MS, left_ms / MARGIN_PARTS), 0) / 1_000


class _Request:
    """The body, once; then nothing ever. Lambda does not say when a client leaves."""

    def __init__(self, body: bytes) -> None:
        self._body: bytes | None = body

    async def receive(self) -> MutableMapping[str, Any]:
        body, self._body = self._body, None
        if body is None:
            await asyncio.get_running_loop().create_future()
        return {"type": "http.request", "body": body, "more_body": False}
