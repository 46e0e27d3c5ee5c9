"""The scripted upstream keeps its word: what it sends, what it remembers, and when it sees a client leave."""

import http.client
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.upstream import (
    HOST,
    Ending,
    Framing,
    Gate,
    Received,
    Reply,
    ScriptedUpstream,
    error_reply,
    json_message,
    sse_message,
    usage,
)

REQUEST = b"POST /v1/messages?beta=true HTTP/1.1\r\nHost: x\r\nX-Odd-Case: 1\r\ncontent-length: 2\r\n\r\n{}"
USED = usage(input_tokens=3, output_tokens=2)


@contextmanager
def client_of(upstream: ScriptedUpstream, sent: bytes = REQUEST) -> Iterator[socket.socket]:
    with socket.create_connection((HOST, upstream.port), timeout=5) as connection:
        connection.sendall(sent)
        yield connection


def everything_from(connection: socket.socket) -> bytes:
    received = b""
    while data := connection.recv(65536):
        received += data
    return received


def test_a_request_is_remembered_as_it_was_sent() -> None:
    with ScriptedUpstream([Reply(pieces=(b"a",)), Reply(pieces=(b"b",))]) as upstream:
        with client_of(upstream, REQUEST * 2) as connection:
            upstream.wait_until(lambda it: len(it.requests) == 2 and it.requests[1].is_answered)
            assert connection.recv(65536).endswith(b"\r\n\r\nb")
        headers = [(b"Host", b"x"), (b"X-Odd-Case", b"1"), (b"content-length", b"2")]
        assert [
            (request.connection, request.method, request.target, request.headers, request.body)
            for request in upstream.requests
        ] == [(0, b"POST", b"/v1/messages?beta=true", headers, b"{}")] * 2


def test_each_piece_is_one_chunk() -> None:
    reply = Reply(pieces=(b"one", b"three"), framing=Framing.CHUNKED)
    with ScriptedUpstream([reply]) as upstream, client_of(upstream) as connection:
        upstream.wait_until(lambda it: it.requests != [] and it.requests[0].is_answered)
        connection.shutdown(socket.SHUT_WR)
        assert everything_from(connection) == (
            b"HTTP/1.1 200 Scripted\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n5\r\nthree\r\n0\r\n\r\n"
        )


def test_a_gate_holds_the_rest_back_and_the_clients_leaving_is_noticed() -> None:
    reply = Reply(pieces=(b"one", Gate(), b"two"), framing=Framing.CHUNKED)
    with ScriptedUpstream([reply]) as upstream:
        with client_of(upstream) as connection:
            assert connection.recv(65536) != b""
            assert (upstream.open_connections, upstream.requests[0].hung_up) == (1, False)
        upstream.wait_until(lambda it: it.requests[0].hung_up and it.open_connections == 0)
        assert not upstream.requests[0].is_answered


def test_an_opened_gate_lets_the_rest_through() -> None:
    gate = Gate()
    with ScriptedUpstream([Reply(pieces=(b"one", gate, b"two"))]) as upstream:
        client = http.client.HTTPConnection(HOST, upstream.port, timeout=5)
        client.request("GET", "/")
        answer = client.getresponse()
        assert answer.read(3) == b"one"
        gate.open()
        assert answer.read() == b"two"
        client.close()


@pytest.mark.parametrize(("ending", "error"), [(Ending.CUT, ConnectionResetError), (Ending.CLOSE, None)])
def test_a_cut_resets_and_a_close_does_not(ending: Ending, error: type[OSError] | None) -> None:
    reply = sse_message(usage=USED).with_piece(1, ending)
    with ScriptedUpstream([reply]) as upstream, client_of(upstream) as connection:
        upstream.wait_until(lambda it: it.open_connections == 0 and it.requests != [])
        if error:
            with pytest.raises(error):
                everything_from(connection)
        else:
            assert everything_from(connection).endswith(b"\n\n\r\n")
        assert not upstream.requests[0].is_answered


def test_a_head_takes_no_reply_and_an_empty_script_says_so() -> None:
    with ScriptedUpstream([error_reply(529, "overloaded_error", "Overloaded")]) as upstream:
        statuses = []
        for method in ("HEAD", "POST", "POST"):
            client = http.client.HTTPConnection(HOST, upstream.port, timeout=5)
            client.request(method, "/v1/messages")
            statuses.append(client.getresponse().status)
            client.close()
        assert statuses == [200, 529, 500]


def test_a_failing_script_fails_the_test() -> None:
    def fail(_: Received) -> Reply:
        raise AssertionError("this request should not have come")

    with pytest.raises(AssertionError, match="should not have come"):  # noqa: SIM117
        with ScriptedUpstream(fail) as upstream, client_of(upstream) as connection:
            assert connection.recv(1) == b""


def test_rechunking_and_cutting_keep_the_bytes() -> None:
    reply = json_message("Hi.", usage=USED)
    assert reply.rechunked(7).body == reply.body
    assert reply.cut_after(9).pieces == (reply.body[:9], Ending.CUT)
