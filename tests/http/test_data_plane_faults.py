"""The data plane over a gateway that misbehaves: nothing is given away, nothing ends twice."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from farebox.domain.errors import FareboxError, KeyRefused, StoreFault, UpstreamTimeout
from farebox.gateway.incoming import IncomingRequest
from farebox.gateway.pipeline import Gateway
from farebox.gateway.stream import Answer, MeteredStream
from farebox.http.clients.connection import SCOPE_REQUEST_ID
from farebox.http.data_plane import DataPlane

Message = MutableMapping[str, Any]
SECRET = "sk-ant-secret-in-a-fault"
REQUEST_ID = "req_fb_" + "ab" * 12


class FixedRandomness:
    def bytes(self, count: int) -> bytes:
        return b"\xab" * count


class BrokenStream:
    """Gives one piece, then fails in a way that nobody foresaw."""

    def __init__(self) -> None:
        self.closed_times = 0
        self._is_first = True

    async def receive(self) -> bytes:
        if not self._is_first:
            raise ValueError(SECRET)
        self._is_first = False
        return b"data: 1\n\n"

    def divert(self, write: Callable[[bytes], bool]) -> None:
        """Never does."""

    def leave(self) -> None:
        raise AssertionError("the client stays")

    async def aclose(self) -> None:
        self.closed_times += 1


@dataclass
class FakeGateway:
    """Answers every operation with this, or raises it."""

    outcome: Answer | BaseException

    async def answer(self, request: IncomingRequest) -> Answer:
        await request.read_body()
        return self._outcome()

    async def count_tokens(self, request: IncomingRequest) -> Answer:
        return self._outcome()

    async def models(self, request: IncomingRequest) -> Answer:
        return self._outcome()

    def _outcome(self) -> Answer:
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome


@dataclass
class Client:
    """One ASGI conversation: what the server said, and a client that stays until it is told to go."""

    sent: list[Message] = field(default_factory=list)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    _has_sent: bool = False

    async def receive(self) -> Message:
        if not self._has_sent:
            self._has_sent = True
            return {"type": "http.request", "body": b"{}", "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    def error(self) -> tuple[int, dict[str, str]]:
        start, *bodies = self.sent
        document = json.loads(b"".join(body["body"] for body in bodies))
        assert document["request_id"] == REQUEST_ID
        assert dict(start["headers"])[b"x-farebox-request-id"] == REQUEST_ID.encode()
        return start["status"], document["error"]


def a_plane(outcome: Answer | BaseException) -> DataPlane:
    gateway = cast(Gateway, FakeGateway(outcome))
    return DataPlane(gateway, FixedRandomness(), body_bytes_max=1000)


def a_scope(method: str = "POST", path: str = "/v1/messages") -> Message:
    return {"type": "http", "method": method, "path": path, "query_string": b"", "headers": []}


ROUTES = [("POST", "/v1/messages"), ("POST", "/v1/messages/count_tokens"), ("GET", "/v1/models")]


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_a_fault_that_nobody_foresaw_is_a_500_that_gives_nothing_away(
    method: str, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    client = Client()
    await a_plane(ValueError(SECRET))(a_scope(method, path), client.receive, client.send)
    status, error = client.error()
    assert (status, error["type"]) == (500, "api_error")
    assert SECRET not in json.dumps(error)
    assert [record.message for record in caplog.records] == [f"request {REQUEST_ID} failed"]


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize(
    ("fault", "status"), [(StoreFault("locked"), 503), (UpstreamTimeout("host", "first_byte", 5), 504)]
)
async def test_a_fault_of_ours_is_told_and_not_logged_as_a_surprise(
    fault: FareboxError, status: int, method: str, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    client = Client()
    await a_plane(fault)(a_scope(method, path), client.receive, client.send)
    assert client.error()[0] == status
    assert client.error()[1]["message"] == fault.message
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_a_fault_behind_the_head_is_a_cut_and_the_stream_is_closed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stream = BrokenStream()
    client = Client()
    answer = Answer(200, [], stream=cast(MeteredStream, stream))
    await a_plane(answer)(a_scope(), client.receive, client.send)
    assert [message["type"] for message in client.sent] == ["http.response.start", "http.response.body"]
    assert client.sent[1] == {"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True}
    assert stream.closed_times == 1
    assert [record.message for record in caplog.records] == ["an answer broke off"]


async def test_a_fault_behind_the_head_of_a_whole_answer_is_a_cut_too(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class BrokenClient(Client):
        async def send(self, message: Message) -> None:
            await super().send(message)
            if message["type"] == "http.response.body":
                raise RuntimeError("the transport broke")

    client = BrokenClient()
    await a_plane(Answer(200, [], b"{}"))(a_scope(), client.receive, client.send)
    assert [message["type"] for message in client.sent] == ["http.response.start", "http.response.body"]
    assert [record.message for record in caplog.records] == ["an answer broke off"]


async def test_a_client_that_leaves_ends_the_request_and_nothing_else() -> None:
    """The cancellation that its leaving causes goes no further than its own request."""
    started = asyncio.Event()

    class SlowGateway(FakeGateway):
        async def answer(self, request: IncomingRequest) -> Answer:
            await request.read_body()
            started.set()
            await asyncio.Event().wait()
            raise AssertionError("never reached")

    gateway = cast(Gateway, SlowGateway(Answer(200, [])))
    plane = DataPlane(gateway, FixedRandomness(), body_bytes_max=1000)
    client = Client()
    serving = asyncio.ensure_future(plane(a_scope(), client.receive, client.send))
    await started.wait()
    assert not await plane.idle(0)
    client.gone.set()
    await serving
    assert (client.sent, serving.cancelled(), await plane.idle(0)) == ([], False, True)


async def test_a_process_that_stops_cancels_the_request_for_good() -> None:
    started = asyncio.Event()

    class SlowGateway(FakeGateway):
        async def answer(self, request: IncomingRequest) -> Answer:
            started.set()
            await asyncio.Event().wait()
            raise AssertionError("never reached")

    plane = DataPlane(cast(Gateway, SlowGateway(Answer(200, []))), FixedRandomness(), body_bytes_max=1000)
    client = Client()
    serving = asyncio.ensure_future(plane(a_scope(), client.receive, client.send))
    await started.wait()
    serving.cancel("the process stops")
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert (client.sent, await plane.idle(0)) == ([], True)


async def test_what_is_not_ours_goes_to_the_other_app_and_says_which_request_it_answers() -> None:
    seen: list[str] = []

    async def other(
        scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        seen.append(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-one", b"1")]})
        await send({"type": "http.response.body", "body": b"other"})

    gateway = cast(Gateway, FakeGateway(Answer(200, [])))
    plane = DataPlane(gateway, FixedRandomness(), body_bytes_max=1000, fallback=other)
    for path in ("/v1/api-keys", "/admin/metrics", "/else/where"):
        client = Client()
        await plane(a_scope("GET", path), client.receive, client.send)
        names = (b"request-id", b"x-farebox-request-id", b"x-farebox-trace-id", b"x-portkey-trace-id")
        ids = [(name, REQUEST_ID.encode()) for name in names]
        if path == "/else/where":
            assert client.error()[0] == 404
        else:
            assert client.sent == [
                {"type": "http.response.start", "status": 200, "headers": [(b"x-one", b"1"), *ids]},
                {"type": "http.response.body", "body": b"other"},
            ]
    assert seen == ["/v1/api-keys", "/admin/metrics"]


@pytest.mark.parametrize(
    ("method", "path"), [*ROUTES, ("GET", "/healthz"), ("GET", "/no/where"), ("HEAD", "/")]
)
async def test_answers_and_refusals_of_our_own_carry_the_callers_trace(method: str, path: str) -> None:
    client, scope = Client(), a_scope(method, path)
    scope["headers"] = [(b"x-portkey-trace-id", b"nightly\x00-7 ")]
    await a_plane(KeyRefused())(scope, client.receive, client.send)
    headers = dict(client.sent[0]["headers"])
    assert headers[b"x-farebox-trace-id"] == headers[b"x-portkey-trace-id"] == b"nightly-7"


async def test_a_refusal_of_the_app_behind_names_the_request_in_its_body() -> None:
    seen: list[str] = []

    async def other(
        scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        seen.append(scope[SCOPE_REQUEST_ID])

    gateway = cast(Gateway, FakeGateway(Answer(200, [])))
    plane = DataPlane(gateway, FixedRandomness(), body_bytes_max=1000, fallback=other)
    client = Client()
    await plane(a_scope("GET", "/v1/api-keys"), client.receive, client.send)
    assert seen == [REQUEST_ID]


async def test_anything_but_http_is_a_mistake_of_the_server() -> None:
    client = Client()
    with pytest.raises(RuntimeError, match="farebox serves HTTP, not websocket"):
        await a_plane(Answer(200, []))({"type": "websocket"}, client.receive, client.send)
