"""Writing to a client that is quick, slow, or broken, while the answer goes on arriving."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from farebox.domain.errors import UpstreamCut
from farebox.gateway.incoming import IncomingRequest
from farebox.gateway.pipeline import Gateway
from farebox.gateway.stream import Answer, MeteredStream
from farebox.http.data_plane import DataPlane

Message = MutableMapping[str, Any]
SCOPE = {
    "type": "http",
    "method": "POST",
    "path": "/v1/messages",
    "query_string": b"",
    "headers": [],
}


class FakeStream:
    """A stream whose bytes the test brings: by `write`, as the event loop would, or through `receive`."""

    def __init__(self) -> None:
        self.write: Callable[[bytes], bool]
        self.news: asyncio.Queue[bytes | Exception] = asyncio.Queue()
        self.waits = asyncio.Event()
        self.closed_times = 0
        self.is_booked_last = False

    def divert(self, write: Callable[[bytes], bool]) -> None:
        self.write = write

    async def receive(self) -> bytes:
        self.waits.set()
        news = await self.news.get()
        if isinstance(news, Exception):
            raise news
        return news

    def leave(self) -> None:
        """The test says what happens next."""

    def book_last(self) -> None:
        self.is_booked_last = True

    async def aclose(self) -> None:
        self.closed_times += 1


@dataclass
class Client:
    """Takes what is sent, once there is room."""

    sent: list[bytes | None] = field(default_factory=list)
    room: asyncio.Event = field(default_factory=asyncio.Event)
    failure: Exception | None = None

    async def receive(self) -> Message:
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            return
        await self.room.wait()
        if self.failure is not None:
            raise self.failure
        self.sent.append(message["body"] if message.get("more_body") else None)


class StreamingGateway:
    """Answers with one stream."""

    def __init__(self, stream: FakeStream) -> None:
        self._stream = stream

    async def answer(self, request: IncomingRequest) -> Answer:
        return Answer(200, [], stream=cast(MeteredStream, self._stream))


class FixedRandomness:
    def bytes(self, count: int) -> bytes:
        return bytes(count)


async def an_open_answer(
    client: Client, *, books_last: bool = False
) -> tuple[FakeStream, asyncio.Task[None]]:
    stream = FakeStream()
    gateway = cast(Gateway, StreamingGateway(stream))
    plane = DataPlane(gateway, FixedRandomness(), body_bytes_max=1000, books_last=books_last)
    serving = asyncio.create_task(plane(dict(SCOPE), client.receive, client.send))
    await stream.waits.wait()
    return stream, serving


async def test_a_quick_client_has_the_bytes_before_write_returns() -> None:
    client = Client()
    client.room.set()
    stream, serving = await an_open_answer(client)
    assert stream.write(b"one")
    assert client.sent == [b"one"]
    assert stream.write(b"two")
    stream.news.put_nowait(b"")
    await serving
    assert (client.sent, stream.closed_times) == ([b"one", b"two", None], 1)


async def test_behind_a_piece_that_waits_for_room_nothing_is_written_and_all_comes_in_order() -> None:
    client = Client()
    stream, serving = await an_open_answer(client)
    assert stream.write(b"one")
    assert not stream.write(b"two")
    stream.news.put_nowait(b"two")
    await asyncio.sleep(0)
    assert not stream.write(b"three")
    assert client.sent == []
    stream.waits.clear()
    client.room.set()
    await stream.waits.wait()
    assert client.sent == [b"one", b"two"]
    assert stream.write(b"three")
    stream.news.put_nowait(b"")
    await serving
    assert client.sent == [b"one", b"two", b"three", None]


async def test_the_end_waits_for_a_slow_client_too() -> None:
    client = Client()
    stream, serving = await an_open_answer(client)
    assert stream.write(b"one")
    stream.news.put_nowait(b"")
    await asyncio.sleep(0)
    client.room.set()
    await serving
    assert client.sent == [b"one", None]


@pytest.mark.parametrize("books_last", [False, True])
async def test_only_a_server_that_outlives_the_answer_has_the_end_before_the_booking(
    books_last: bool,
) -> None:
    client = Client()
    stream, serving = await an_open_answer(client, books_last=books_last)
    stream.news.put_nowait(b"")
    await asyncio.sleep(0)
    assert stream.is_booked_last is books_last
    assert stream.closed_times == 0, "closing books what was left, and the client has no end yet"
    client.room.set()
    await serving
    assert (client.sent, stream.closed_times) == ([None], 1)


async def test_what_was_taken_before_a_cut_still_reaches_a_slow_client() -> None:
    client = Client()
    stream, serving = await an_open_answer(client)
    assert stream.write(b"one")
    stream.news.put_nowait(UpstreamCut("host", "gone"))
    await asyncio.sleep(0)
    client.room.set()
    await serving
    assert (client.sent, stream.closed_times) == ([b"one"], 1)


@pytest.mark.parametrize("has_room", [True, False])
async def test_a_server_that_fails_ends_the_answer(has_room: bool, caplog: pytest.LogCaptureFixture) -> None:
    client = Client(failure=ValueError("broken"))
    if has_room:
        client.room.set()
    stream, serving = await an_open_answer(client)
    assert stream.write(b"one") is not has_room
    stream.news.put_nowait(b"one")
    client.room.set()
    await serving
    assert (client.sent, stream.closed_times) == ([], 1)
    assert [(record.levelno, record.message) for record in caplog.records] == [
        (logging.ERROR, "an answer broke off")
    ]


async def test_a_process_that_stops_gives_up_what_a_slow_client_did_not_take() -> None:
    client = Client()
    stream, serving = await an_open_answer(client)
    assert stream.write(b"one")
    await asyncio.sleep(0)
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    client.room.set()
    await asyncio.sleep(0)
    assert (client.sent, stream.closed_times) == ([], 1)
