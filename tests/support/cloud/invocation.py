"""One invocation: what the function was handed, and its answer while it arrives."""

from __future__ import annotations

import asyncio
import base64
import json
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from tests.support.cloud.http import Flawed, Headers

NULS = bytes(8)
ERROR_TYPE, ERROR_BODY = "lambda-runtime-function-error-type", "lambda-runtime-function-error-body"
PIECES_WAITING_MAX = 64
_LAMBDAS_OWN = frozenset({"set-cookie", "transfer-encoding", "content-length"})


@dataclass(frozen=True, slots=True)
class Prelude:
    """What stands before the 8 NUL bytes."""

    status: int
    headers: dict[str, str]
    cookies: list[str]


class FunctionFailed(Exception):
    """No answer began."""


@dataclass(slots=True)
class Invocation:
    """`ending` is one of whole, cut (by error trailers), error, timeout, crash, init; None while it runs.

    `error` is what the function said of its failure. `body` is all the client was sent behind the prelude.
    """

    event: bytes
    deadline_ms: int = 0
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    invocation_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    prelude: Prelude | None = None
    body: bytes = b""
    ending: str | None = None
    error: Any = None
    is_cold: bool = False
    _head: asyncio.Event = field(default_factory=asyncio.Event)
    _text: bytes = b""
    _pieces: asyncio.Queue[bytes | None] = field(
        default_factory=lambda: asyncio.Queue(maxsize=PIECES_WAITING_MAX)
    )

    async def head(self) -> Prelude:
        """Wait for the prelude. Raises `FunctionFailed`."""
        await self._head.wait()
        if self.prelude is None:
            raise FunctionFailed(self.ending)
        return self.prelude

    async def pieces(self) -> AsyncIterator[bytes]:
        """Give the answer's body as it arrives, up to whatever end it has."""
        while (piece := await self._pieces.get()) is not None:
            yield piece

    async def take(self, piece: bytes) -> None:
        """Take a chunk from the runtime. Raises `Flawed`."""
        if self.prelude is None:
            text, nuls, piece = (self._text + piece).partition(NULS)
            self._text = text
            if not nuls:
                return
            self.prelude = _prelude(text)
            self._head.set()
        if piece:
            self.body += piece
            await self._pieces.put(piece)

    async def answered(self, trailers: Headers) -> None:
        """The runtime has ended its answer. Raises `Flawed`."""
        if self.prelude is None:
            raise Flawed(f"an answer without a prelude and 8 NUL bytes: {self._text[:200]!r}")
        told = dict(trailers)
        if told and (set(told) != {ERROR_TYPE, ERROR_BODY} or len(trailers) != 2):
            raise Flawed(f"trailers are {trailers}")
        if told:
            await self.end("cut", _error_document(base64.b64decode(told[ERROR_BODY], validate=True)))
        else:
            await self.end("whole")

    async def failed(self, body: bytes) -> None:
        """The runtime has reported an error instead of an answer. Raises `Flawed`."""
        await self.end("error", _error_document(body))

    async def end(self, ending: str, error: Any = None) -> None:
        """The first end counts."""
        if self.ending is not None:
            return
        self.ending, self.error = ending, error
        self._head.set()
        await self._pieces.put(None)


def _prelude(text: bytes) -> Prelude:
    try:
        told: Any = json.loads(text)
        status, headers, cookies = told["statusCode"], told.get("headers", {}), told.get("cookies", [])
    except (ValueError, KeyError, AttributeError, TypeError) as flaw:
        raise Flawed(f"not a prelude: {text!r} ({flaw!r})") from None
    is_sound = (
        set(told) <= {"statusCode", "headers", "cookies"}
        and isinstance(status, int)
        and 200 <= status <= 599
        and isinstance(headers, dict)
        and all(isinstance(value, str) for value in headers.values())
        and isinstance(cookies, list)
        and all(isinstance(cookie, str) for cookie in cookies)
        and not _LAMBDAS_OWN & {name.lower() for name in headers}
    )
    if not is_sound:
        raise Flawed(f"not a prelude: {text!r}")
    return Prelude(status, headers, cookies)


def _error_document(body: bytes) -> Any:
    told = json.loads(body)
    if set(told) != {"errorMessage", "errorType", "stackTrace"}:
        raise Flawed(f"not an error document: {told}")
    return told
