"""The data plane as a plain ASGI app: finds the route, runs the pipeline, carries bytes, words errors."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Generator, MutableMapping
from typing import Any

import msgspec

from farebox.domain.errors import FareboxError, RouteUnknown, StoreFault, UpstreamFault
from farebox.gateway.incoming import MESSAGES_API, ClientLeft, IncomingRequest
from farebox.gateway.pipeline import Gateway
from farebox.gateway.settle import CLIENT_GONE
from farebox.gateway.stream import Answer, MeteredStream
from farebox.http.clients.connection import SCOPE_REQUEST_ID, ClientConnection, id_headers
from farebox.http.clients.paths import Route, post_route
from farebox.http.clients.requests import as_messages
from farebox.http.clients.sending import answering
from farebox.http.errors import error_answer
from farebox.http.model_list import model_list
from farebox.ports import Randomness
from farebox.providers.base import COUNT_TOKENS
from farebox.wire.http import Headers

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

REQUEST_ID_BYTES = 12
JSON_CONTENT: tuple[bytes, bytes] = (b"content-type", b"application/json")

_WRITTEN = object()

_log = logging.getLogger("farebox.data_plane")


class DataPlane:
    """Routes under any path prefix and query. What is not ours goes to `fallback`, the admin plane on a
    laptop. With `books_last` a stream is booked behind its last byte, for servers that outlive the answer.
    """

    def __init__(
        self,
        gateway: Gateway,
        randomness: Randomness,
        *,
        body_bytes_max: int,
        fallback: App | None = None,
        books_last: bool = False,
    ) -> None:
        self._gateway, self._randomness = gateway, randomness
        self._body_bytes_max, self._fallback = body_bytes_max, fallback
        self._books_last = books_last
        self._open: set[asyncio.Task[Any]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection scope."""
        if scope["type"] != "http":
            raise RuntimeError(f"farebox serves HTTP, not {scope['type']}")
        method, path = scope["method"], scope["path"].rstrip("/")
        if method == "POST" and (route := post_route(path)) is not None:
            await self._tracked(self._post(scope, receive, send, route))
        elif method == "GET" and path.endswith("/v1/models"):
            await self._models(scope, receive, send)
        elif method == "HEAD" or (method == "GET" and path.endswith(("/api/hello", "/healthz"))):
            headers = [JSON_CONTENT, *id_headers(scope["headers"], self._request_id())]
            await _respond(send, 200, headers, b'{"status":"ok"}', is_head=method == "HEAD")
        elif self._fallback is not None and path.startswith(("/v1/", "/admin")):
            request_id = self._request_id()
            named: Scope = {**scope, SCOPE_REQUEST_ID: request_id}
            await self._fallback(named, receive, _with_ids(send, id_headers(scope["headers"], request_id)))
        else:
            await self._refuse(scope, send, self._request_id(), RouteUnknown(method, path or "/"))

    async def idle(self, timeout_s: float) -> bool:
        """Wait until no request is open, but not for ever; say whether it came to that."""
        if self._open:
            await asyncio.wait(self._open, timeout=timeout_s)
        return not self._open

    async def _tracked(self, serving: Awaitable[None]) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("served outside a task")
        self._open.add(task)
        try:
            await serving
        finally:
            self._open.discard(task)

    async def _post(self, scope: Scope, receive: Receive, send: Send, route: Route) -> None:
        client = ClientConnection(scope, receive, self._body_bytes_max)
        request = self._incoming(scope, client, route.operation)
        if route.api != MESSAGES_API:
            request, send = as_messages(request, route), answering(send, route)
        is_count = route.operation == COUNT_TOKENS
        try:
            answer = await (
                self._gateway.count_tokens(request) if is_count else self._gateway.answer(request)
            )
            await self._deliver(answer, client, send)
        except ClientLeft:
            return
        except asyncio.CancelledError as cancelled:
            if CLIENT_GONE not in cancelled.args or not client.take_back_cancel():
                raise
        except Exception as error:
            await self._refuse(
                scope, _draining(send, client), request.request_id, error, request.handling.headers()
            )
        finally:
            client.close()

    async def _deliver(self, answer: Answer, client: ClientConnection, send: Send) -> None:
        if answer.stream is None:
            await _deliver_whole(answer, send)
            return
        client.on_leave(answer.stream.leave)
        if self._books_last:
            answer.stream.book_last()
        try:
            await _start(send, answer.status, answer.headers)
            await _pump(answer.stream, send)
        except asyncio.CancelledError as cancelled:
            if CLIENT_GONE in cancelled.args:  # it left just before `on_leave`
                answer.stream.leave()
            raise
        except Exception:
            # The head is out: all that can still be said is a cut.
            _log.exception("an answer broke off")
        finally:
            await answer.stream.aclose()

    async def _models(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = ClientConnection(scope, receive, self._body_bytes_max)
        request = self._incoming(scope, client, "models")
        try:
            models = await self._gateway.models(request)
            body = msgspec.json.encode(model_list(models, request.query))
        except Exception as error:
            await self._refuse(scope, send, request.request_id, error)
            return
        await _respond(send, 200, [JSON_CONTENT, *id_headers(scope["headers"], request.request_id)], body)

    def _incoming(self, scope: Scope, client: ClientConnection, operation: str) -> IncomingRequest:
        return IncomingRequest(
            request_id=self._request_id(),
            operation=operation,
            query=scope["query_string"],
            headers=client.headers,
            read_body=client.read_body,
        )

    def _request_id(self) -> str:
        return f"req_fb_{self._randomness.bytes(REQUEST_ID_BYTES).hex()}"

    async def _refuse(
        self, scope: Scope, send: Send, request_id: str, error: Exception, handling: Headers | None = None
    ) -> None:
        if not isinstance(error, FareboxError):
            _log.error("request %s failed", request_id, exc_info=error)
        elif isinstance(error, StoreFault):
            _log.warning("request %s: %s", request_id, error)
        told = error_answer(error)
        ids = id_headers(scope["headers"], request_id)
        headers = [JSON_CONTENT, *ids, *(handling or []), *told.headers]
        await _respond(send, told.status, headers, told.body(request_id))


def _draining(send: Send, client: ClientConnection) -> Send:
    """Say the whole answer, read what the client still sends, and only then let the server end it: with
    `connection: close` it would reset the connection, and the answer be lost.
    """

    async def sending(message: Message) -> None:
        if message["type"] != "http.response.body":
            await send(message)
            return
        await send({**message, "more_body": True})
        await client.drain()
        await send({"type": "http.response.body", "body": b""})

    return sending


def _with_ids(send: Send, ids: Headers) -> Send:
    """Let another app's answers say which request they answer."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *ids]}
        await send(message)

    return sending


async def _deliver_whole(answer: Answer, send: Send) -> None:
    try:
        await _respond(send, answer.status, answer.headers, answer.body)
    except Exception:
        # The head may be out, and a second one would be no answer.
        _log.exception("an answer broke off")


async def _pump(stream: MeteredStream, send: Send) -> None:
    """Carry a stream to its end. A cut is mirrored: the response is left without its end, so the server
    drops it.
    """
    outlet = _Outlet(send)
    stream.divert(outlet.write)
    try:
        while chunk := await stream.receive():
            await outlet.send(chunk)
        await outlet.end()
    except UpstreamFault:
        await outlet.flush()
    finally:
        outlet.close()


class _Outlet:
    """The body of one answer on its way to the client, in order.

    A server's `send` hardly ever has to wait. So `write` takes its first step at once, outside of any task;
    only where the client is slow a task takes the rest, and then nothing is written beside it.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._writing: asyncio.Future[None] | None = None
        self._failure: Exception | None = None

    def write(self, chunk: bytes) -> bool:
        """Write without waiting; or say False, where an earlier piece waits or failed."""
        if self._writing is not None or self._failure is not None:
            return False
        steps = self._send({"type": "http.response.body", "body": chunk, "more_body": True}).__await__()
        try:
            awaited = next(steps, _WRITTEN)
        except Exception as error:
            self._failure = error
            return False
        if awaited is not _WRITTEN:
            self._writing = asyncio.ensure_future(_Rest(awaited, steps))
        return True

    async def send(self, chunk: bytes) -> None:
        """Write behind everything else. Raises what the server raised, now or before."""
        await self.flush()
        await self._send({"type": "http.response.body", "body": chunk, "more_body": True})

    async def end(self) -> None:
        """Say that the body is whole."""
        await self.flush()
        await self._send({"type": "http.response.body", "body": b""})

    async def flush(self) -> None:
        """Wait until nothing waits any more."""
        if self._failure is not None:
            raise self._failure
        if self._writing is not None:
            await self._writing
            self._writing = None

    def close(self) -> None:
        """Give up what still waits."""
        if self._writing is not None:
            self._writing.cancel()


class _Rest:
    """What is left of an await after its first step, which gave `awaited` to the event loop."""

    def __init__(self, awaited: object, steps: Generator[Any, Any, None]) -> None:
        self._awaited, self._steps = awaited, steps

    def __await__(self) -> Generator[Any, Any, None]:
        yield self._awaited
        yield from self._steps


async def _start(send: Send, status: int, headers: Headers) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})


async def _respond(send: Send, status: int, headers: Headers, body: bytes, *, is_head: bool = False) -> None:
    await _start(send, status, [*headers, (b"content-length", str(len(body)).encode())])
    await send({"type": "http.response.body", "body": b"" if is_head else body})
