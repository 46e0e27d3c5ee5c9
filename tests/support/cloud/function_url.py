"""A function URL in RESPONSE_STREAM mode over environments of our own."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.cloud.environment import Deployed, Environment
from tests.support.cloud.http import (
    Flawed,
    Head,
    Headers,
    chunk,
    head_bytes,
    read_body,
    read_head,
    whole_answer,
)
from tests.support.cloud.invocation import FunctionFailed, Invocation, Prelude
from tests.support.cloud.payload import event_bytes, url_event
from tests.support.cloud.runtime_api import HOST

EVENT_BYTES_MAX = 6 * 1024 * 1024
STOP_S = 30.0
JSON: Headers = [("content-type", "application/json")]
TOO_LARGE = b'{"Message":"Request must be smaller than 6291456 bytes for the InvokeFunction operation"}'
THROTTLED = (
    b'{"Reason":"ReservedFunctionConcurrentInvocationLimitExceeded","Type":"User","message":"Rate Exceeded."}'
)


class FunctionUrl:
    """Lambda behind one URL, as far as a gateway can tell.

        proxy = ZipFunction(code, layers, environment, timeout_s=60)
        async with FunctionUrl(proxy, environments=20) as url:
            ...  # any HTTP client against url.url
        assert [invocation.ending for invocation in url.invocations] == ["whole"]

    - Environments start when needed, at most `environments`; each takes one request at a time and is frozen
      (SIGSTOP) from its next `/next` to its next request. A request beyond them is a 429.
    - An event above 6 MB is a 413. An error before the first byte, a failed start and a timeout are a 502.
    - Chunks go on as they come. A client that leaves is not noticed: the function runs to its end.
    - Error trailers, a crash or a timeout midway leave the client with half a chunked body.
    - Whatever the runtime does against the protocol fails the test when the block is left.

    It serves in the event loop of the test, so a client that blocks must run in a thread or a process.
    """

    def __init__(self, function: Deployed, *, environments: int = 20) -> None:
        self.invocations: list[Invocation] = []
        self.throttled = self.too_large = 0
        self._function, self._environments_max = function, environments
        self._environments: list[Environment] = []
        self._runs: set[asyncio.Task[None]] = set()
        self._clients: set[asyncio.Task[None]] = set()
        self._folder = tempfile.TemporaryDirectory(prefix="farebox-lambda-")
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end."""
        return f"http://{HOST}:{self.port}"

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def environments(self) -> list[Environment]:
        """Those that live."""
        return [environment for environment in self._environments if environment.is_alive]

    @property
    def log(self) -> str:
        """What all environments wrote to standard output and standard error."""
        path = Path(self._folder.name) / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    async def all_frozen(self) -> None:
        """Wait until no environment works any more."""
        while self._runs:
            await asyncio.wait(set(self._runs))

    async def one_frozen(self) -> None:
        """Wait until an environment that works now has come to its end, if one does."""
        if self._runs:
            await asyncio.wait(set(self._runs), return_when=asyncio.FIRST_COMPLETED)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, HOST, 0, limit=1 << 20)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        try:
            async with asyncio.timeout(STOP_S):
                await self.all_frozen()
        finally:
            for task in [*self._clients, *self._runs]:
                task.cancel()
            await asyncio.gather(*self._clients, *self._runs, return_exceptions=True)
            for environment in self._environments:
                await environment.kill()
            log = self.log
            self._folder.cleanup()
        violations = [flaw for environment in self._environments for flaw in environment.api.violations]
        if violations and kind is None:
            raise AssertionError(f"the runtime broke the protocol: {violations}; its log: {log[-4_000:]}")

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._clients.add(task)
        task.add_done_callback(self._clients.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection. The client's troubles are its own."""
        try:
            while (head := await read_head(reader)) is not None:
                if head.value("expect") == "100-continue":
                    writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                body = await read_body(reader, head)
                if not await self._answer(head, body, writer):
                    return
        except Flawed as flaw:
            writer.write(whole_answer("400 Bad Request", [], str(flaw).encode()))
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    async def _answer(self, head: Head, body: bytes, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; say whether the connection may go on."""
        invocation = Invocation(b"")
        invocation.event = event_bytes(url_event(head, body, invocation.request_id))
        if len(invocation.event) > EVENT_BYTES_MAX:
            self.too_large += 1
            writer.write(whole_answer("413 Request Entity Too Large", JSON, TOO_LARGE))
            return True
        environment = self._free()
        if environment is None:
            self.throttled += 1
            error = ("x-amzn-errortype", "TooManyRequestsException")
            writer.write(whole_answer("429 Too Many Requests", [*JSON, error], THROTTLED))
            return True
        self.invocations.append(invocation)
        run = asyncio.create_task(environment.run(invocation))
        self._runs.add(run)
        run.add_done_callback(self._runs.discard)
        try:
            prelude = await invocation.head()
        except FunctionFailed:
            writer.write(whole_answer("502 Bad Gateway", JSON, b"Internal Server Error"))
            return True
        return await _stream(invocation, prelude, writer, is_head=head.start.startswith("HEAD "))

    def _free(self) -> Environment | None:
        """Give an environment that is busy from now on: one that waits, else a new one."""
        alive = self.environments
        free = next((environment for environment in reversed(alive) if not environment.is_busy), None)
        if free is None and len(alive) < self._environments_max:
            sandbox = self._function.sandbox(Path(self._folder.name))
            free = Environment(sandbox, self._function.timeout_s, self._function.grace_s)
            self._environments.append(free)
        if free is not None:
            free.is_busy = True
        return free


async def _stream(
    invocation: Invocation, prelude: Prelude, writer: asyncio.StreamWriter, *, is_head: bool
) -> bool:
    headers = [*prelude.headers.items(), *(("set-cookie", cookie) for cookie in prelude.cookies)]
    headers += [("x-amzn-requestid", invocation.request_id), ("transfer-encoding", "chunked")]
    is_there = True
    writer.write(head_bytes(f"HTTP/1.1 {prelude.status} Answered", headers))
    async for piece in invocation.pieces():
        if is_there and not is_head:
            is_there = await _written(writer, chunk(piece))
    if invocation.ending != "whole":
        return False
    if not is_head:
        writer.write(chunk(b""))
    return is_there


async def _written(writer: asyncio.StreamWriter, data: bytes) -> bool:
    """Write to a client that may have left, which is none of the function's business."""
    try:
        writer.write(data)
        await writer.drain()
    except ConnectionError:
        return False
    return True
