"""One client over ASGI: its body, read once and bounded, the moment it hangs up, and the ids it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from farebox.domain.errors import BodyTooLarge, RequestMalformed
from farebox.gateway.authenticate import TRACE_ID_LENGTH_MAX
from farebox.gateway.incoming import ClientLeft
from farebox.gateway.settle import CLIENT_GONE
from farebox.wire.headers import find
from farebox.wire.http import Headers

SCOPE_REQUEST_ID = "farebox.request_id"
"""Under this name an app behind the data plane finds the request's id in its ASGI scope."""

DRAIN_S = 3
DRAIN_BYTES_MAX = 128 * 1024 * 1024


class ClientConnection:
    """Made and used inside the task that serves the request. Until an answer streams, leaving cancels that
    task.
    """

    def __init__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        body_bytes_max: int,
    ) -> None:
        self.headers: Headers = [(bytes(name), bytes(value)) for name, value in scope["headers"]]
        self._receive, self._body_bytes_max = receive, body_bytes_max
        self._task = asyncio.current_task()
        self._watcher: asyncio.Task[None] | None = None
        self._leave: Callable[[], None] = self._cancel_task
        self._was_cancelled = self._is_read = False

    async def read_body(self) -> bytes:
        """Read the whole body, then watch for the client hanging up.

        Raises `BodyTooLarge` (before reading when the length is announced), `RequestMalformed`, `ClientLeft`.
        """
        self._check_announced_length()
        pieces: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientLeft
            piece = message.get("body", b"")
            size += len(piece)
            self._is_read = not message.get("more_body", False)
            if size > self._body_bytes_max:
                raise BodyTooLarge(self._body_bytes_max)
            pieces.append(piece)
            if self._is_read:
                break
        self._watcher = asyncio.ensure_future(self._watch())
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def drain(self) -> None:
        """Read on what the client still sends of a refused request, bounded: closing at once would reset the
        connection, and the answer be lost with it.
        """
        left = DRAIN_BYTES_MAX
        try:
            async with asyncio.timeout(DRAIN_S):
                while not self._is_read and left > 0:
                    message = await self._receive()
                    left -= len(message.get("body", b""))
                    self._is_read = not message.get("more_body", False)  # a disconnect has none
        except TimeoutError:
            return

    def on_leave(self, leave: Callable[[], None]) -> None:
        """From now on call this when the client hangs up, instead of cancelling the task."""
        self._leave = leave

    def take_back_cancel(self) -> bool:
        """Say whether the cancellation under way is ours alone, and end it."""
        return self._was_cancelled and self._task is not None and self._task.uncancel() == 0

    def close(self) -> None:
        """Stop watching."""
        if self._watcher is not None:
            self._watcher.cancel()

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            continue
        self._leave()

    def _cancel_task(self) -> None:
        if self._task is not None:
            self._was_cancelled = True
            self._task.cancel(CLIENT_GONE)

    def _check_announced_length(self) -> None:
        announced = find(self.headers, b"content-length")
        if announced is None:
            return
        if not announced.isdigit():
            raise RequestMalformed("content-length: must be a number.")
        if int(announced) > self._body_bytes_max:
            raise BodyTooLarge(self._body_bytes_max)


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
