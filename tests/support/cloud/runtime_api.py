"""The Runtime API as one environment sees it, strict about every byte that a runtime sends.

Source: Lambda developer guide, "Lambda runtime API" and "Custom runtimes: response streaming", read 2026-11;
the invocation id and the restore calls as in awslambdaric 4.
"""

from __future__ import annotations

import asyncio
import contextlib

from tests.support.cloud.http import Flawed, Head, Headers, body_pieces, read_body, read_head, whole_answer
from tests.support.cloud.invocation import ERROR_BODY, ERROR_TYPE, Invocation

HOST = "127.0.0.1"
BASE = "/2018-06-01/runtime"
INTEGRATION = "application/vnd.awslambda.http-integration-response"
RESPONSE_HEADERS = {
    "lambda-runtime-function-response-mode": "streaming",
    "transfer-encoding": "chunked",
    "content-type": INTEGRATION,
}


class RuntimeApi:
    """Hands out one invocation at a time.

    `asked` is set while the runtime waits in `/next`, `init_error` once it has given up its start.
    `violations` has what it did wrong; whoever opened this must look at it.
    """

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.failed_init = asyncio.Event()
        self.init_error: bytes | None = None
        self.snapshot_due, self.restored = asyncio.Event(), asyncio.Event()
        self.violations: list[str] = []
        self.calls: list[str] = []
        self._handed: asyncio.Queue[Invocation] = asyncio.Queue()
        self._current: Invocation | None = None
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    @property
    def address(self) -> str:
        """What AWS_LAMBDA_RUNTIME_API says."""
        assert self._server is not None
        return f"{HOST}:{self._server.sockets[0].getsockname()[1]}"

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._accept, HOST, 0, limit=1 << 20)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        await self.drop_connections()

    def hand(self, invocation: Invocation) -> None:
        """Give this to whoever asks next."""
        self.asked.clear()
        self._handed.put_nowait(invocation)

    async def drop_connections(self) -> None:
        """Hang up on the runtime, as a long freeze may."""
        tasks = list(self._connections)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._connections[task] = writer
        task.add_done_callback(lambda done: self._connections.pop(done).close())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (head := await read_head(reader)) is not None:
                answer = await self._answer(head, reader)
                if answer is None:
                    return
                writer.write(answer)
                await writer.drain()
        except Flawed as flaw:
            self.violations.append(str(flaw))
            writer.write(whole_answer("400 Bad Request", [], str(flaw).encode()))
        except (asyncio.IncompleteReadError, ConnectionError) as loss:
            if self._current is not None:
                await self._current.end("crash", repr(loss))

    async def _answer(self, head: Head, reader: asyncio.StreamReader) -> bytes | None:
        method, target, version = head.start.split(" ")
        self.calls.append(f"{method} {target.removeprefix(BASE)}")
        if version != "HTTP/1.1" or head.value("host") != self.address:
            raise Flawed(f"{head.start}, host {head.value('host')}")
        parts = target.removeprefix(BASE).split("/")[1:]
        match method, *parts:
            case "GET", "invocation", "next":
                return await self._next(reader)
            case "POST", "invocation", request_id, "response":
                return await self._response(request_id, head, reader)
            case "POST", "invocation", request_id, "error":
                await self._of(request_id, head).failed(await self._error(head, reader))
            case "POST", "init", "error":
                self.init_error = await self._error(head, reader)
                self.failed_init.set()
            case "GET", "restore", "next":
                self.snapshot_due.set()
                await self.restored.wait()
                return whole_answer("200 OK", [], b"")
            case "POST", "restore", "error":
                self.init_error = await self._error(head, reader)
                self.failed_init.set()
            case _:
                raise Flawed(f"no such call: {head.start}")
        return _ACCEPTED

    async def _next(self, reader: asyncio.StreamReader) -> bytes | None:
        if self._current is not None and self._current.ending is None:
            raise Flawed("asked for the next invocation before this one was answered")
        if self._handed.empty():
            self.asked.set()
        invocation = await self._handed_or_gone(reader)
        if invocation is None:
            return None
        self._current = invocation
        headers = [
            ("lambda-runtime-aws-request-id", invocation.request_id),
            ("lambda-runtime-invocation-id", invocation.invocation_id),
            ("lambda-runtime-deadline-ms", str(invocation.deadline_ms)),
            (
                "lambda-runtime-invoked-function-arn",
                "arn:aws:lambda:us-east-1:000000000000:function:proxy:live",
            ),
            ("lambda-runtime-trace-id", "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Sampled=1"),
            ("content-type", "application/json"),
        ]
        return whole_answer("200 OK", headers, invocation.event)

    async def _handed_or_gone(self, reader: asyncio.StreamReader) -> Invocation | None:
        """Wait for an invocation, but give none to a connection that is gone."""
        handed = asyncio.ensure_future(self._handed.get())
        heard = asyncio.ensure_future(reader.read(1))
        try:
            await asyncio.wait({handed, heard}, return_when=asyncio.FIRST_COMPLETED)
            if not heard.done():
                return handed.result()
            if handed.done():
                self._handed.put_nowait(handed.result())
            with contextlib.suppress(ConnectionError):
                if heard.result():
                    raise Flawed("spoke while it waited for an invocation")
            return None
        finally:
            for waiting in (handed, heard):
                waiting.cancel()
            await asyncio.gather(handed, heard, return_exceptions=True)

    async def _response(self, request_id: str, head: Head, reader: asyncio.StreamReader) -> bytes:
        invocation = self._of(request_id, head)
        for name, wanted in RESPONSE_HEADERS.items():
            if head.value(name) != wanted:
                raise Flawed(f"{name} is {head.value(name)!r}, not {wanted!r}")
        declared = {name.strip().lower() for name in (head.value("trailer") or "").split(",")}
        if declared != {ERROR_TYPE, ERROR_BODY}:
            raise Flawed(f"the trailers declared are {declared}")
        trailers: Headers = []
        async for piece in body_pieces(reader, head, trailers):
            await invocation.take(piece)
        await invocation.answered(trailers)
        return _ACCEPTED

    async def _error(self, head: Head, reader: asyncio.StreamReader) -> bytes:
        if not head.value(ERROR_TYPE):
            raise Flawed(f"an error without {ERROR_TYPE}")
        return await read_body(reader, head)

    def _of(self, request_id: str, head: Head) -> Invocation:
        current = self._current
        if current is None or current.request_id != request_id or current.ending is not None:
            raise Flawed(f"answers {request_id}, which is not open")
        if head.value("lambda-runtime-invocation-id") != current.invocation_id:
            raise Flawed("does not give the invocation id back")
        return current


_ACCEPTED = whole_answer("202 Accepted", [("content-type", "application/json")], b'{"status":"OK"}')
