"""What reaches the client: every byte of the answer, whatever the provider's chunks, and its headers."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farebox.domain.record import Outcome, RequestRecord
from farebox.domain.usage import CostStatus, Usage
from tests.support.header_page import Headers, to_the_client
from tests.support.laptop import Laptop, RawAnswer, a_policy, asking
from tests.support.upstream import (
    Framing,
    Gate,
    Reply,
    ScriptedUpstream,
    ToolCall,
    error_reply,
    json_message,
    json_reply,
    message_events,
    sse,
    sse_message,
    sse_reply,
    usage,
)

REPORTED = usage(input_tokens=11, output_tokens=222, cache_read_tokens=3333, cache_write_5m_tokens=44)
USED = Usage(
    input_tokens=11,
    output_tokens=222,
    cache_read_tokens=3333,
    cache_write_5m_tokens=44,
    service_tier="standard",
)
ODD = (
    b": a comment\n\n",
    b":\n",
    b"event: ping\ndata: {}\n\n",
    b"event: something_new\ndata: {not json}\n\n",
    b'event: something_new\nid: 7\nretry: 10\ndata: {"usage":{"output_tokens":9}}\n\n',
    b"data: a line\ndata: and another\n\n",
    b"event: content_block_delta\ndata: [1, 2]\n\n",
    b'event: message_delta\ndata: {"type":"message_delta","usage":null}\n\n',
    "event: über\ndata: \U0001f680\n\n".encode(),
    b"\n",
)


@dataclass(slots=True)
class Scene:
    """One gateway before one upstream that answers what the example says."""

    laptop: Laptop
    reply: Reply

    def answer(self, reply: Reply, **fields: object) -> tuple[RawAnswer, RequestRecord]:
        """Ask once; give the answer and the row that was booked before it ended."""
        self.reply = reply
        answer = self.laptop.ask(asking(**fields))
        row = self.laptop.newest()
        assert answer.header("x-farebox-request-id") == row.id.encode()
        return answer, row


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("data")
    scenes: list[Scene] = []
    with (
        ScriptedUpstream(lambda received: scenes[0].reply) as upstream,
        Laptop(folder, a_policy(upstream)) as laptop,
    ):
        scenes.append(Scene(laptop, Reply()))
        yield scenes[0]


def cut_at_random(body: bytes, seed: int, longest: int) -> tuple[bytes, ...]:
    chance = random.Random(seed)
    pieces = []
    while body:
        size = chance.randint(1, longest)
        pieces.append(body[:size])
        body = body[size:]
    return tuple(pieces)


@st.composite
def streams(draw: st.DrawFn) -> Reply:
    """A whole message with oddities between its events, any line end, cut anywhere."""
    tool = draw(st.none() | st.just(ToolCall("Bash", {"command": "echo ü"})))
    pieces = []
    for event in message_events(draw(st.text(max_size=20)), usage=REPORTED, tool=tool):
        pieces += [*draw(st.lists(st.sampled_from(ODD), max_size=2)), event]
    pieces += draw(st.sampled_from([[], [b"data: [DONE]\n\n"], [b": over"]]))
    body = b"".join(pieces).replace(b"\n", draw(st.sampled_from([b"\n", b"\r\n", b"\r"])))
    cuts = sorted(draw(st.sets(st.integers(1, len(body) - 1), max_size=12)))
    chunks = [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    return replace(sse_reply(chunks), framing=draw(st.sampled_from([Framing.CHUNKED, Framing.CLOSE])))


@settings(max_examples=100)
@given(reply=streams())
def test_any_stream_arrives_byte_for_byte_and_is_metered(scene: Scene, reply: Reply) -> None:
    answer, row = scene.answer(reply, stream=True)
    assert (answer.status, answer.body, answer.is_whole) == (200, reply.body, True)
    assert (row.outcome, row.usage, row.cost_status) == (Outcome.FINISHED, USED, CostStatus.PRICED)


@pytest.mark.parametrize("seed", range(6))
def test_thousands_of_events_in_any_pieces_use_what_the_whole_answer_uses(seed: int, scene: Scene) -> None:
    text = " ".join(str(number) for number in range(3000))
    whole, whole_row = scene.answer(json_message(text, usage=REPORTED))
    stream = sse_message(text, usage=REPORTED, crlf=seed % 2 == 1)
    pieces = cut_at_random(stream.body, seed, longest=(50, 500, 5000)[seed % 3])
    answer, row = scene.answer(replace(stream, pieces=pieces), stream=True)
    assert (answer.body, answer.is_whole, whole.is_whole) == (stream.body, True, True)
    assert (row.usage, row.cost_picodollars) == (whole_row.usage, whole_row.cost_picodollars)
    assert row.usage == USED


def test_each_event_arrives_before_the_next_is_sent(scene: Scene) -> None:
    """The upstream waits for the client to have seen each event, so anything that gathers events hangs."""
    events = message_events("one two three", usage=REPORTED)
    gates = [Gate() for _ in events]
    pieces = [piece for pair in zip(events, gates, strict=True) for piece in pair]
    scene.reply = sse_reply(())
    scene.reply = replace(scene.reply, pieces=tuple(pieces))
    with scene.laptop.open(asking(stream=True)) as client:
        assert client.read_head()[0] == 200
        for event, gate in zip(events, gates, strict=True):
            assert client.read_chunk() == event
            gate.open()
        assert client.read_chunk() == b""


@pytest.mark.parametrize(
    "content_type",
    ["text/event-stream", "text/event-stream;charset=utf-8", "Text/Event-Stream; charset=UTF-8"],
)
def test_a_content_type_of_any_spelling_is_a_stream(content_type: str, scene: Scene) -> None:
    reply = replace(sse_message(usage=REPORTED), headers=(("Content-Type", content_type),))
    answer, row = scene.answer(reply, stream=True)
    assert (answer.header("transfer-encoding"), answer.header("content-type")) == (
        b"chunked",
        content_type.encode(),
    )
    assert (answer.body, row.usage.output_tokens, row.cost_status) == (reply.body, 222, CostStatus.PRICED)


def test_a_stream_with_a_length_arrives_as_a_stream(scene: Scene) -> None:
    reply = replace(sse_message(usage=REPORTED), framing=Framing.LENGTH)
    answer, row = scene.answer(reply, stream=True)
    assert (answer.body, answer.is_whole, answer.header("content-length")) == (reply.body, True, None)
    assert (row.outcome, row.usage) == (Outcome.FINISHED, USED)


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "x-gzip"])
def test_a_gzipped_stream_arrives_gzipped_and_is_metered(coding: str, scene: Scene) -> None:
    plain = sse_message(usage=REPORTED)
    packed = gzip.compress(plain.body, mtime=0)
    pieces = tuple(packed[at : at + 100] for at in range(0, len(packed), 100))
    reply = replace(plain, pieces=pieces).with_headers(("Content-Encoding", coding))
    answer, row = scene.answer(reply, stream=True)
    assert (answer.body, answer.header("content-encoding")) == (packed, coding.encode())
    assert (answer.is_whole, row.outcome, row.usage) == (True, Outcome.FINISHED, USED)


def test_a_stream_that_cannot_be_read_arrives_and_is_estimated(scene: Scene) -> None:
    """Its end cannot be seen, so its framing decides; nobody is told that a whole answer was cut."""
    body = b"\x8b\x07\x80 a coding that nobody asked for" * 40
    reply = sse_reply([body[:100], body[100:]]).with_headers(("Content-Encoding", "br"))
    answer, row = scene.answer(reply, stream=True)
    assert (answer.body, answer.is_whole, answer.header("content-encoding")) == (body, True, b"br")
    assert (row.outcome, row.cost_status) == (Outcome.FINISHED, CostStatus.ESTIMATED)
    assert row.usage.output_tokens >= len(body) // 3


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("stream", [False, True])
def test_a_json_answer_arrives_byte_for_byte_even_where_a_stream_was_asked_for(
    compress: bool, stream: bool, scene: Scene
) -> None:
    reply = json_message(usage=REPORTED, compress=compress)
    answer, row = scene.answer(reply, stream=stream)
    assert (answer.status, answer.body) == (200, reply.body)
    assert answer.header("content-length") == str(len(reply.body)).encode()
    assert answer.header("content-encoding") == (b"gzip" if compress else None)
    assert (row.outcome, row.usage, row.cost_status) == (Outcome.FINISHED, USED, CostStatus.PRICED)


def test_a_stream_arrives_even_where_none_was_asked_for(scene: Scene) -> None:
    reply = sse_message(usage=REPORTED)
    answer, row = scene.answer(reply)
    assert (answer.body, row.outcome, row.usage) == (reply.body, Outcome.FINISHED, USED)


@settings(max_examples=40)
@given(document=st.dictionaries(st.text(max_size=8), st.integers() | st.text(max_size=20), max_size=5))
def test_any_json_answer_arrives_byte_for_byte(scene: Scene, document: dict[str, object]) -> None:
    body = json.dumps(document, indent=1, ensure_ascii=False).encode()
    answer, row = scene.answer(replace(json_reply({}), pieces=(body,)))
    assert (answer.body, row.outcome, row.cost_status) == (body, Outcome.FINISHED, CostStatus.ESTIMATED)


@pytest.mark.parametrize(
    "reply",
    [
        error_reply(400, "invalid_request_error", "messages.1.role: Input should be 'user'"),
        error_reply(401, "authentication_error", "invalid x-api-key"),
        error_reply(403, "permission_error", "no"),
        error_reply(404, "not_found_error", "model: claude-none"),
        error_reply(413, "request_too_large", "Request exceeds the maximum size"),
        error_reply(429, "rate_limit_error", "slow down", ("retry-after", "17"), ("x-should-retry", "true")),
        error_reply(500, "api_error", "Internal server error"),
        error_reply(529, "overloaded_error", "Overloaded"),
        Reply(502, (("Content-Type", "text/html"),), (b"<html>Bad gateway</html>",)),
        Reply(503, (("Content-Type", "text/event-stream"),), (sse("error", {"type": "error"}),)),
        Reply(500),
    ],
    ids=lambda reply: f"{reply.status}-{len(reply.body)}",
)
def test_an_error_of_the_provider_arrives_verbatim_and_costs_nothing(reply: Reply, scene: Scene) -> None:
    answer, row = scene.answer(reply, stream=True)
    assert (answer.status, answer.body) == (reply.status, reply.body)
    for name in ("content-type", "retry-after", "x-should-retry"):
        assert answer.header(name) == sent_header(reply, name)
    assert (row.status, row.outcome, row.cost_picodollars, row.charged_picodollars) == (
        reply.status,
        Outcome.UPSTREAM_ERROR,
        0,
        0,
    )


def sent_header(reply: Reply, name: str) -> bytes | None:
    return next((value.encode() for key, value in reply.headers if key.lower() == name), None)


HEADER_NAME = st.text(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.", min_size=1, max_size=30
)
DROPPED = sorted(name.decode() for name in to_the_client().dropped - {b"connection", b"upgrade"})
PREFIXED = sorted(f"{prefix.decode()}Thing" for prefix in to_the_client().prefixes)
HEADER_VALUE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=20).map(str.strip)
# Headers that change what the connection or the meter does, which is other tests' matter.
TAKEN = ("content-length", "transfer-encoding", "content-encoding", "connection", "upgrade", "content-type")


@settings(max_examples=60)
@given(
    extra=st.lists(
        st.tuples(
            HEADER_NAME.filter(lambda name: name.lower() not in TAKEN)
            | st.sampled_from([*DROPPED, *PREFIXED]),
            HEADER_VALUE,
        ),
        max_size=8,
    ),
    is_stream=st.booleans(),
)
def test_the_clients_headers_are_the_providers_but_for_the_page(
    scene: Scene, extra: list[tuple[str, str]], is_stream: bool
) -> None:
    reply = (sse_message if is_stream else json_message)(usage=REPORTED)
    kept = tuple(pair for pair in reply.headers if pair[0] != "Request-Id")
    reply = replace(reply, headers=(*kept, *extra))
    answer, row = scene.answer(reply, stream=is_stream)
    sent: Headers = [(name.encode(), value.encode()) for name, value in reply.headers]
    length = ("transfer-encoding", "chunked") if is_stream else ("content-length", str(len(reply.body)))
    travelling = to_the_client().travelling(sent)
    has_own_id = any(name == b"request-id" for name, _ in travelling)
    ours = [
        *([] if has_own_id else [("request-id", row.id)]),
        ("x-farebox-request-id", row.id),
        ("x-farebox-trace-id", row.id),
        ("x-portkey-trace-id", row.id),
        ("x-farebox-provider", "anthropic"),
        ("x-portkey-provider", "anthropic"),
        ("x-farebox-cache-status", "DISABLED"),
        ("x-portkey-cache-status", "DISABLED"),
        ("x-farebox-retry-attempt-count", "0"),
        ("x-portkey-retry-attempt-count", "0"),
        ("x-farebox-last-used-option-index", "config"),
        ("x-portkey-last-used-option-index", "config"),
        length,
    ]
    assert answer.headers == [*travelling, *((name.encode(), value.encode()) for name, value in ours)]
    added = {name.encode() for name, _ in ours} | {b"request-id"}
    at_times = {b"x-farebox-max-tokens"}
    at_times |= {name for name in to_the_client().added if name.startswith(b"x-ratelimit-")}
    assert added - {b"content-length", b"transfer-encoding"} | at_times == to_the_client().added
