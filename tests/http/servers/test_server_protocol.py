"""What one connection may take, seen from a raw socket."""

from __future__ import annotations

import asyncio
import json
import queue
import socket
import threading
from collections.abc import Iterator

import pytest
import uvicorn

from farebox.http.data_plane import Receive, Scope, Send
from farebox.http.servers.server_protocol import (
    HEAD_BYTES_MAX,
    HEADERS_MAX,
    URL_BYTES_MAX,
    BoundedHttpProtocol,
)
from tests.support.raw_client import HOST, RawAnswer, RawClient

START = b"POST /x HTTP/1.1\r\nhost: x\r\n"
PIECE = b"a" * 16_384


class QuickProtocol(BoundedHttpProtocol):
    head_timeout_s = 0.3


class App:
    """Tells what it got. `/held` begins its answer and ends it when somebody asks for `/release`."""

    def __init__(self) -> None:
        self._released = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message["body"]
            if not message["more_body"]:
                break
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b" ", "more_body": True})
        if scope["path"] == "/release":
            self._released.set()
        elif scope["path"] == "/held":
            await self._released.wait()
        names = [name.decode() for name, _ in scope["headers"]]
        told = {"path": scope["path"], "headers": names, "body": len(body)}
        await send({"type": "http.response.body", "body": json.dumps(told).encode()})


@pytest.fixture
def port() -> Iterator[int]:
    listener = socket.create_server((HOST, 0))
    made: queue.SimpleQueue[uvicorn.Server] = queue.SimpleQueue()
    thread = threading.Thread(target=lambda: asyncio.run(serve(listener, made)), daemon=True)
    thread.start()
    server = made.get(timeout=30)
    yield listener.getsockname()[1]
    server.should_exit = True
    thread.join(timeout=30)
    assert not thread.is_alive()


async def serve(listener: socket.socket, made: queue.SimpleQueue[uvicorn.Server]) -> None:
    config = uvicorn.Config(
        App(),
        http=QuickProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=60,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    made.put(server)
    await server.serve(sockets=[listener])


@pytest.fixture
def client(port: int) -> Iterator[RawClient]:
    with RawClient(port) as client:
        yield client


def refusal(answer: RawAnswer) -> tuple[int, str]:
    assert answer.header("connection") == b"close"
    assert answer.header("content-type") == b"application/json"
    return answer.status, answer.json()["error"]["type"]


def is_closed(client: RawClient) -> bool:
    return client.socket.recv(1) == b""


def head_times_out(port: int) -> None:
    """Let the time for a head pass, by another connection's clock."""
    with RawClient(port) as other:
        other.send(START)
        assert refusal(other.read_answer()) == (408, "timeout_error")


def test_a_head_may_have_so_many_headers_and_no_more(client: RawClient) -> None:
    lines = [b"x-%d: 1\r\n" % number for number in range(HEADERS_MAX - 1)]
    client.send(START + b"".join(lines) + b"\r\n")
    assert len(client.read_answer().json()["headers"]) == HEADERS_MAX
    client.send(START + b"".join(lines) + b"one-more: 1\r\n\r\n")
    assert refusal(client.read_answer()) == (431, "request_too_large")
    assert is_closed(client)


@pytest.mark.parametrize(
    "endless",
    [
        pytest.param(START + b"x: ", id="value"),
        pytest.param(START + b"x", id="name"),
        pytest.param(b"POST /x?", id="url"),
        pytest.param(b"POST /x HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx: ", id="trailer"),
        pytest.param(b"POST /x HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n5;", id="chunk extension"),
    ],
)
def test_what_never_ends_is_refused_before_it_is_kept(client: RawClient, endless: bytes) -> None:
    client.send(endless)
    for _ in range(64):  # more than one read may bring behind the end of a head
        client.send(PIECE)
    assert refusal(client.read_answer()) in [(431, "request_too_large"), (414, "request_too_large")]
    assert is_closed(client)


def test_a_whole_head_beyond_the_bound_is_refused_too(client: RawClient) -> None:
    client.send(START + b"x: " + b"a" * HEAD_BYTES_MAX + b"\r\n\r\n")
    assert refusal(client.read_answer()) == (431, "request_too_large")


def test_a_url_may_be_so_long_and_no_longer(client: RawClient) -> None:
    path = b"/" + b"p" * (URL_BYTES_MAX - 1)
    client.send(b"GET %b HTTP/1.1\r\n\r\n" % path)
    assert client.read_answer().json()["path"] == path.decode()
    client.send(b"GET %bp HTTP/1.1\r\n\r\n" % path)
    assert refusal(client.read_answer()) == (414, "request_too_large")


def test_what_is_not_http_is_refused_in_the_same_shape(client: RawClient) -> None:
    client.send(b"\x16\x03\x01 hello\r\n\r\n")
    assert refusal(client.read_answer()) == (400, "invalid_request_error")


def test_a_body_that_is_not_framed_as_it_says_is_a_400(client: RawClient) -> None:
    client.send(b"POST /x HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nnonsense\r\n")
    assert refusal(client.read_answer()) == (400, "invalid_request_error")


def test_what_trails_a_body_becomes_no_header(client: RawClient) -> None:
    client.send(
        b"POST /x HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\n#\r\n0\r\nx-farebox-key: k\r\n\r\n"
    )
    assert client.read_answer().json() == {"path": "/x", "headers": ["transfer-encoding"], "body": 1}


def test_a_head_that_does_not_end_in_time_is_refused(client: RawClient) -> None:
    client.socket.settimeout(0.1)
    client.send(b"POST /x HTTP/1.1\r\n")
    for _ in range(100):
        client.send(b"x: 1\r\n")
        try:
            client.read_head()
        except TimeoutError:
            continue
        break
    assert client.read_answer_body().json()["error"]["type"] == "timeout_error"


def test_a_connection_that_says_nothing_is_closed_without_a_word(client: RawClient) -> None:
    assert is_closed(client)


def test_blank_lines_do_not_keep_a_connection_open(client: RawClient) -> None:
    client.send(START + b"\r\n")
    assert client.read_answer().status == 200
    client.send(b"\r\n")
    assert refusal(client.read_answer()) == (408, "timeout_error")


def test_a_second_head_has_to_end_in_time_too(client: RawClient) -> None:
    client.send(START + b"\r\n" + START)
    assert client.read_answer().status == 200
    assert refusal(client.read_answer()) == (408, "timeout_error")


def test_a_connection_may_rest_between_requests(client: RawClient, port: int) -> None:
    client.send(START + b"\r\n")
    assert client.read_answer().status == 200
    head_times_out(port)
    client.send(START + b"\r\n")
    assert client.read_answer().status == 200


def test_a_body_takes_its_time(client: RawClient, port: int) -> None:
    client.send(START + b"content-length: 2\r\n\r\n#")
    head_times_out(port)
    client.send(b"#")
    assert client.read_answer().json()["body"] == 2


@pytest.mark.parametrize(
    "second", [START, b"nonsense\r\n\r\n", START + b"x: " + PIECE * 5, START + b"\r\n" + b"nonsense\r\n"]
)
def test_a_flaw_behind_an_open_answer_neither_spoils_nor_outlives_it(
    client: RawClient, port: int, second: bytes
) -> None:
    client.send(b"GET /held HTTP/1.1\r\n\r\n")
    assert client.read_head()[0] == 200
    client.send(second)
    head_times_out(port)
    with RawClient(port) as other:
        other.send(b"GET /release HTTP/1.1\r\n\r\n")
        assert other.read_answer().is_whole
    answer = client.read_answer_body()
    assert (answer.is_whole, answer.json()["path"]) == (True, "/held")
    if second.count(b"\r\n\r\n") == 1 and second.startswith(START):
        assert client.read_answer().json()["path"] == "/x"
    assert is_closed(client)


def test_a_large_body_is_no_large_head(client: RawClient) -> None:
    client.send(START + b"content-length: 1000000\r\n\r\n" + b"#" * 1_000_000)
    assert client.read_answer().json()["body"] == 1_000_000
