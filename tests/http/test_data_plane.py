"""The data plane from outside: its routes, its bounds, and the words it finds for what cannot be served."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from farebox.domain.record import Outcome
from tests.support.laptop import QUICK, Laptop, RawAnswer, RawClient, a_policy, asking
from tests.support.upstream import Received, Reply, ScriptedUpstream, json_message, json_reply, usage

BODY_BYTES_MAX = 100_000
MODEL = "claude-sonnet-4-5"


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedUpstream]:
    def reply_to(received: Received) -> Reply:
        if b"count_tokens" in received.target:
            return json_reply({"input_tokens": 11})
        return json_message(usage=usage(input_tokens=3, output_tokens=2))

    with ScriptedUpstream(reply_to) as upstream:
        yield upstream


@pytest.fixture(scope="module")
def laptop(upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    settings = replace(QUICK, max_body_bytes=BODY_BYTES_MAX)
    folder = tmp_path_factory.mktemp("data")
    with Laptop(folder, a_policy(upstream), settings=settings) as laptop:
        yield laptop


def exchange(laptop: Laptop, method: str, target: str, body: bytes = b"") -> RawAnswer:
    with RawClient(laptop.port) as client:
        client.request(method, target, [("x-farebox-key", laptop.key)], body)
        return client.read_answer()


def refused(answer: RawAnswer) -> tuple[int, str, str]:
    """Give status, type and message of a refusal, whose envelope and headers must be whole."""
    document = answer.json()
    own_id = answer.header("x-farebox-request-id")
    assert own_id is not None
    assert document == {"type": "error", "error": document["error"], "request_id": own_id.decode()}
    assert answer.header("request-id") == own_id
    assert answer.header("content-type") == b"application/json"
    assert answer.header("x-should-retry") == b"false"
    return answer.status, document["error"]["type"], document["error"]["message"]


@pytest.mark.parametrize(
    ("method", "target", "named"),
    [
        ("GET", "/", "GET /"),
        ("GET", "/v1/messages", "GET /v1/messages"),
        ("POST", "/v1/messages/batches", "POST /v1/messages/batches"),
        ("POST", "/v1/messagesx", "POST /v1/messagesx"),
        ("POST", "/prefix/v1/complete?x=1", "POST /prefix/v1/complete"),
        ("PUT", "/prefix/v1/messages", "PUT /prefix/v1/messages"),
        ("POST", "/api/hello", "POST /api/hello"),
        ("OPTIONS", "/prefix", "OPTIONS /prefix"),
        ("DELETE", "/prefix/%C3%BC", "DELETE /prefix/ü"),
    ],
)
def test_an_unknown_route_is_a_404_in_anthropics_shape(
    method: str, target: str, named: str, laptop: Laptop
) -> None:
    answer = exchange(laptop, method, target, asking())
    assert refused(answer) == (404, "not_found_error", f"farebox has no route {named}.")


@pytest.mark.parametrize("target", ["/api/hello", "/healthz", "/any/prefix/api/hello?x=1", "/any/healthz/"])
def test_probes_are_answered_without_a_key(target: str, laptop: Laptop) -> None:
    with RawClient(laptop.port) as client:
        client.request("GET", target)
        answer = client.read_answer()
        client.request("HEAD", target)
        probe = client.read_answer()
    assert (answer.status, answer.body) == (200, b'{"status":"ok"}')
    assert (probe.status, probe.body, probe.header("content-length")) == (200, b"", b"15")


@pytest.mark.parametrize("target", ["/", "/v1/messages", "/what/ever"])
def test_head_of_anything_is_a_200_and_leaves_the_connection_usable(target: str, laptop: Laptop) -> None:
    with RawClient(laptop.port) as client:
        for _ in range(2):
            client.request("HEAD", target)
            answer = client.read_answer()
            assert (answer.status, answer.body) == (200, b"")


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("POST", "/v1/messages", asking()),
        ("POST", "/v1/messages", b"{"),
        ("POST", "/v1/messages/count_tokens", asking()),
        ("POST", "/v1/messages/count_tokens", b"{"),
        ("GET", "/v1/models", b""),
        ("GET", "/v1/models?limit=x", b""),
        ("GET", "/healthz", b""),
        ("HEAD", "/api/hello", b""),
        ("GET", "/nothing/here", b""),
        ("POST", "/v1/complete", asking()),
    ],
)
def test_every_answer_says_which_request_it_answers(
    method: str, target: str, body: bytes, laptop: Laptop
) -> None:
    answers = [exchange(laptop, method, target, body) for _ in range(2)]
    ids = [answer.header("x-farebox-request-id") for answer in answers]
    assert all(own_id is not None and own_id.startswith(b"req_fb_") for own_id in ids)
    assert ids[0] != ids[1]
    assert all(answer.header("request-id") for answer in answers)


def message_of(size: int) -> bytes:
    body = asking()
    return body.replace(b"Hi.", b"x" * (size - len(body) + 3))


def test_a_body_of_the_largest_size_is_served(laptop: Laptop, upstream: ScriptedUpstream) -> None:
    body = message_of(BODY_BYTES_MAX)
    assert laptop.ask(body).status == 200
    assert upstream.requests[-1].body == body


TOO_LARGE = (
    413,
    "request_too_large",
    f"The request body is larger than the gateway's limit of {BODY_BYTES_MAX} bytes.",
)


def test_a_body_that_is_announced_too_large_is_refused_before_it_is_sent(
    laptop: Laptop, upstream: ScriptedUpstream
) -> None:
    seen = len(upstream.requests)
    with RawClient(laptop.port) as client:
        length = ("Content-Length", str(BODY_BYTES_MAX + 1))
        client.request("POST", "/v1/messages", [("x-farebox-key", laptop.key), length])
        assert refused(client.read_answer()) == TOO_LARGE
    row = laptop.newest()
    assert (row.status, row.outcome, row.cost_picodollars) == (413, Outcome.REFUSED, 0)
    assert len(upstream.requests) == seen


def test_a_chunked_body_that_grows_too_large_is_refused_where_it_does(
    laptop: Laptop, upstream: ScriptedUpstream
) -> None:
    seen = len(upstream.requests)
    with RawClient(laptop.port) as client:
        coding = ("Transfer-Encoding", "chunked")
        client.request("POST", "/v1/messages", [("x-farebox-key", laptop.key), coding])
        chunk = b"%x\r\n%b\r\n" % (BODY_BYTES_MAX // 2, b"x" * (BODY_BYTES_MAX // 2))
        client.send(chunk * 2 + b"1\r\nx\r\n")
        assert refused(client.read_answer()) == TOO_LARGE
    assert laptop.newest().status == 413
    assert len(upstream.requests) == seen


def test_a_refused_upload_leaves_the_connection_usable(laptop: Laptop) -> None:
    with RawClient(laptop.port) as client:
        key = ("x-farebox-key", laptop.key)
        client.request("POST", "/v1/messages", [key], b"x" * (BODY_BYTES_MAX + 1))
        assert client.read_answer().status == 413
        client.request("POST", "/v1/messages", [key], asking())
        assert client.read_answer().status == 200


def test_a_stranger_is_refused_before_the_body_is_read(laptop: Laptop) -> None:
    with RawClient(laptop.port) as client:
        length = ("Content-Length", str(BODY_BYTES_MAX + 1))
        client.request("POST", "/v1/messages", [("x-farebox-key", "fb-unknown"), length])
        assert refused(client.read_answer())[:2] == (401, "authentication_error")


NOT_AN_OBJECT = "The request body is not a JSON object"
TWICE = "The request body has a top-level key twice."
DEEP = b'{"model":"claude-sonnet-4-5","max_tokens":5,"messages":%b}'


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", NOT_AN_OBJECT),
        (b"{", NOT_AN_OBJECT),
        (b"nonsense", NOT_AN_OBJECT),
        (b"[]", NOT_AN_OBJECT),
        (b'"text"', NOT_AN_OBJECT),
        (b"null", NOT_AN_OBJECT),
        (asking() + b"}", NOT_AN_OBJECT),
        (asking() + asking(), NOT_AN_OBJECT),
        (asking()[:-1] + b",}", NOT_AN_OBJECT),
        (asking().replace(b'"', b"'"), NOT_AN_OBJECT),
        (b"\xef\xbb\xbf" + asking(), NOT_AN_OBJECT),
        (asking().decode().encode("utf-16"), NOT_AN_OBJECT),
        (asking("MARK").replace(b"MARK", b"\xff\xfe"), NOT_AN_OBJECT),
        (asking("MARK").replace(b"MARK", b"\xed\xa0\xbd"), NOT_AN_OBJECT),
        (asking("MARK").replace(b"MARK", b"\xc0\x80"), NOT_AN_OBJECT),
        (asking("MARK").replace(b"MARK", b"\\ud83d"), NOT_AN_OBJECT),
        (asking("MARK").replace(b"MARK", b"\x00"), NOT_AN_OBJECT),
        (DEEP % (b"[" * 40_000 + b"]" * 40_000), NOT_AN_OBJECT),
        (DEEP % (b"[" * 90_000), NOT_AN_OBJECT),
        (b'{"a":' * 15_000, NOT_AN_OBJECT),
        (asking().replace(b'"max', b'"model":"claude-opus-5-5","max'), TWICE),
        (asking().replace(b'"max', b'\n"\\u006dodel":"claude-opus-5-5","max'), TWICE),
        (asking().replace(b'"max_tokens"', b'"max_tokens":1,"max_tokens"'), TWICE),
        (json.dumps({"max_tokens": 5, "messages": []}).encode(), "model: is required."),
        (asking(model=""), "model: is required."),
        (asking(model="a\nWARNING all is well"), "model: must be printable characters."),
        (asking(model=5), "model: "),
        (asking(model=None), "model: "),
        (asking(max_tokens=-1), "max_tokens: must not be negative."),
        (asking(max_tokens="many"), "max_tokens: "),
        (asking(stream="yes"), "stream: "),
        (asking(tools={"a": 1}), "tools: "),
    ],
)
@pytest.mark.parametrize("route", ["/v1/messages", "/v1/messages/count_tokens"])
def test_a_body_that_cannot_be_read_is_a_400_that_names_what_is_wrong(
    route: str, body: bytes, words: str, laptop: Laptop, upstream: ScriptedUpstream
) -> None:
    seen = len(upstream.requests)
    status, kind, message = refused(laptop.ask(body, target=route))
    assert (status, kind) == (400, "invalid_request_error")
    assert message.startswith(words)
    assert len(message) < 300
    assert len(upstream.requests) == seen


def test_a_body_that_cannot_be_read_is_a_row_that_costs_nothing(laptop: Laptop) -> None:
    answer = laptop.ask(b"{")
    row = laptop.newest()
    assert answer.header("x-farebox-request-id") == row.id.encode()
    assert (row.status, row.outcome, row.model, row.attempts) == (400, Outcome.REFUSED, "", ())
    assert (row.cost_picodollars, row.charged_picodollars, row.error_type) == (0, 0, "RequestMalformed")


@pytest.mark.parametrize(
    "body",
    [
        asking().replace(b'"role"', b'"role":"assistant","role"'),
        asking("MARK").replace(b"MARK", b"\\ud83d\\ude80 \xf0\x9f\x9a\x80 \\u0000 \xc2\x80 \xef\xbb\xbf"),
        asking("e\u0301 \u202e \u2028 \ufffd \uffff"),
        DEEP % (b"[" * 500 + b"]" * 500),
        asking(max_tokens=None),
        asking(stream=None),
        asking(metadata={"user_id": 5}),
        asking(metadata={"user_id": "{broken"}),
        asking(metadata={"user_id": '{"session_id": 5}'}),
        asking(metadata=[1, 2]),
        asking(metadata="text"),
        asking(tools=None),
        asking(tools=[{"name": "Bash", "type": "custom"}, {"type": "bash_20250124", "name": "bash"}]),
        asking(messages={"not": "a list"}),
        asking(messages=[{"role": "user", "content": [{"type": "image", "source": 5}]}]),
        b" \r\n\t" + asking() + b"\n ",
    ],
)
def test_odd_bodies_that_are_the_providers_to_judge_pass_untouched(
    body: bytes, laptop: Laptop, upstream: ScriptedUpstream
) -> None:
    assert laptop.ask(body).status == 200
    assert upstream.requests[-1].body == body


@pytest.mark.parametrize("huge", [10**12, 10**18, 10**30])
def test_more_than_any_model_gives_is_the_providers_to_refuse(
    huge: int, laptop: Laptop, upstream: ScriptedUpstream
) -> None:
    body = asking(max_tokens=huge)
    assert laptop.ask(body).status == 200
    assert upstream.requests[-1].body == body
    # So many searches cost more than the budget has, whatever the number.
    searching = [{"type": "web_search_20250305", "name": "web_search", "max_uses": huge}]
    assert refused(laptop.ask(asking(tools=searching)))[:2] == (402, "billing_error")


def test_a_client_that_waits_to_be_told_is_told(laptop: Laptop) -> None:
    body = asking()
    with RawClient(laptop.port) as client:
        length = ("Content-Length", str(len(body)))
        expects = ("Expect", "100-continue")
        client.request("POST", "/v1/messages", [("x-farebox-key", laptop.key), length, expects])
        assert client.read_head()[0] == 100
        client.send(body)
        assert client.read_answer().status == 200


def test_requests_one_behind_the_other_are_answered_in_their_order(laptop: Laptop) -> None:
    with RawClient(laptop.port) as client:
        for body in (asking(), b"{", asking(model="")):
            client.request("POST", "/v1/messages", [("x-farebox-key", laptop.key)], body)
        assert [client.read_answer().status for _ in range(3)] == [200, 400, 400]


def test_a_client_of_http_1_0_is_served(laptop: Laptop) -> None:
    body = asking()
    with RawClient(laptop.port) as client:
        lines = ["POST /v1/messages HTTP/1.0", f"x-farebox-key: {laptop.key}", f"content-length: {len(body)}"]
        client.send("\r\n".join([*lines, "", ""]).encode() + body)
        answer = client.read_answer()
    assert (answer.status, answer.json()["usage"]["output_tokens"]) == (200, 2)


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET\r\n\r\n",
        b"POST /v1/messages HTTP/1.1\r\nContent-Length: x\r\n\r\n",
    ],
)
def test_what_is_not_http_is_refused_and_harms_nobody(data: bytes, laptop: Laptop) -> None:
    with RawClient(laptop.port) as client:
        client.send(data)
        assert client.read_answer().status == 400
    assert laptop.ask(asking()).status == 200


def test_a_token_count_is_proxied_and_is_no_row(laptop: Laptop) -> None:
    before = len(laptop.log)
    answer = laptop.ask(asking(), target="/v1/messages/count_tokens")
    assert (answer.status, answer.json()) == (200, {"input_tokens": 11})
    assert laptop.ask(asking()).status == 200
    laptop.wait_until(lambda laptop: len(laptop.log) > before)
    assert len(laptop.rows()) == len(laptop.log) == before + 1
