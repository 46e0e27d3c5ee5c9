"""Bedrock's and Vertex's paths through a running gateway: authenticated, held, metered, cached the same."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from farebox.domain.record import Outcome
from farebox.wire.event_stream import Frame, FrameReader
from tests.support.bedrock import bedrock_stream, data_lines
from tests.support.laptop import Laptop, RawAnswer, RawClient, a_policy
from tests.support.upstream import (
    Received,
    Reply,
    ScriptedUpstream,
    error_reply,
    json_message,
    json_reply,
    sse_message,
    usage,
)
from tests.support.upstream_replies import message_events, sse, sse_reply

MODEL = "us.anthropic.claude-opus-5-5"
PLAIN = "claude-opus-5-5"
USED = usage(input_tokens=3, output_tokens=2)
STREAMED = sse_message("Said piece by piece.", usage=USED)
PUBLISHER = "/v1/projects/p/locations/global/publishers/anthropic/models"
NOTHING_LEFT = {"name": "none", "scope": {"workspace": "default"}, "usd": 0, "period": "month"}


def body_of(text: str = "Hi.", /, **fields: object) -> bytes:
    return json.dumps({"max_tokens": 100, "messages": [{"role": "user", "content": text}], **fields}).encode()


def reply_to(received: Received) -> Reply:
    if b"count_tokens" in received.target:
        return json_reply({"input_tokens": 42})
    body = json.loads(received.body)
    match body.get("system"):
        case "overloaded":
            return error_reply(529, "overloaded_error", "Overloaded")
        case "error":
            failed = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
            begun = message_events("Begun and", usage=USED)[:4]
            return sse_reply([*begun, sse("error", failed)])
        case "cut":
            return STREAMED.cut_after(len(STREAMED.body) // 2)
    return STREAMED.rechunked(13) if body.get("stream") else json_message("Whole.", usage=USED)


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream(reply_to) as upstream:
        yield upstream


@pytest.fixture
def laptop(upstream: ScriptedUpstream, tmp_path: Path) -> Iterator[Laptop]:
    with Laptop(tmp_path, a_policy(upstream)) as laptop:
        yield laptop


def invoke(
    laptop: Laptop, body: bytes, *, verb: str = "invoke", model: str = MODEL, **more: Any
) -> RawAnswer:
    return laptop.ask(body, target=f"/bedrock/model/{quote(model, safe='')}/{verb}", **more)


def stream(laptop: Laptop, body: bytes, **more: Any) -> RawAnswer:
    return invoke(laptop, body, verb="invoke-with-response-stream", **more)


def frames_of(answer: RawAnswer) -> list[Frame]:
    assert answer.header("content-type") == b"application/vnd.amazon.eventstream"
    reader = FrameReader()
    frames = reader.feed(answer.body)
    assert not reader.is_midway
    return frames


def read_to_the_end(client: RawClient) -> None:
    while client.read_chunk():
        continue


def told(answer: RawAnswer) -> list[bytes]:
    return [base64.b64decode(json.loads(frame.payload)["bytes"]) for frame in frames_of(answer)]


def test_a_bedrock_stream_is_the_same_events_in_frames(laptop: Laptop, upstream: ScriptedUpstream) -> None:
    answer = stream(laptop, body_of(anthropic_version="bedrock-2023-05-31", anthropic_beta=["a-beta"]))
    assert told(answer) == data_lines(STREAMED.body)
    (row,) = laptop.settled(1)
    assert (row.outcome, row.usage.output_tokens, row.model) == (Outcome.FINISHED, 2, PLAIN)
    sent = upstream.requests[-1]
    assert json.loads(sent.body) == {"model": PLAIN, **json.loads(body_of()), "stream": True}
    assert sent.header("anthropic-beta") == b"a-beta"
    assert sent.header("anthropic-version") == b"2023-06-01"


def test_a_whole_bedrock_answer_is_the_message(laptop: Laptop) -> None:
    answer = invoke(laptop, body_of())
    assert answer.status == 200
    assert answer.json()["content"] == [{"type": "text", "text": "Whole."}]
    assert answer.header("x-amzn-requestid") == b"req_011CScripted"
    assert laptop.settled(1)[0].outcome is Outcome.FINISHED


@pytest.mark.parametrize(
    ("allowed", "model"),
    [
        (
            "claude-haiku-*",
            "arn:aws:bedrock:us-east-1:1:foundation-model/claude-haiku-4-5/inference-profile/"
            "us.anthropic.claude-opus-4-6-v1",
        ),
        ("*haiku*", "haiku.anthropic.claude-opus-4-6"),
        ("*haiku*", "claude-opus-4-6@haiku"),
    ],
)
def test_no_spelling_of_a_model_is_admitted_as_one_and_asked_as_another(
    upstream: ScriptedUpstream, tmp_path: Path, allowed: str, model: str
) -> None:
    seen = len(upstream.requests)
    with Laptop(tmp_path, a_policy(upstream, keys=[{"name": "alice", "models": [allowed]}])) as laptop:
        invoke(laptop, body_of(), model=model)
    assert [json.loads(each.body)["model"] for each in upstream.requests[seen:]] in ([], [model])


def test_a_guardrail_that_somebody_relies_on_is_not_left_out_silently(
    laptop: Laptop, upstream: ScriptedUpstream
) -> None:
    seen = len(upstream.requests)
    headers = [("X-Amzn-Bedrock-GuardrailIdentifier", "gr-1"), ("X-Amzn-Bedrock-GuardrailVersion", "1")]
    answer = stream(laptop, body_of(), headers=headers)
    assert (answer.status, answer.header("x-amzn-errortype")) == (400, b"AccessDeniedException")
    assert "guardrail" in answer.json()["message"]
    assert laptop.settled(1)[0].outcome is Outcome.REFUSED
    assert len(upstream.requests) == seen


@pytest.mark.parametrize("verb", ["rawPredict", "streamRawPredict"])
def test_vertex_answers_are_those_of_the_messages_api(
    laptop: Laptop, upstream: ScriptedUpstream, verb: str
) -> None:
    target = f"{PUBLISHER}/{PLAIN}:{verb}"
    answer = laptop.ask(body_of(anthropic_version="vertex-2023-10-16"), target=target)
    assert answer.status == 200
    if verb == "streamRawPredict":
        assert answer.header("content-type") == b"text/event-stream; charset=utf-8"
        assert answer.body == STREAMED.body
    else:
        assert answer.json()["content"] == [{"type": "text", "text": "Whole."}]
    assert json.loads(upstream.requests[-1].body)["model"] == PLAIN
    assert laptop.settled(1)[0].usage.output_tokens == 2


def test_tokens_are_counted_in_both_and_never_booked(laptop: Laptop) -> None:
    inner = base64.b64encode(body_of()).decode()
    counted = invoke(
        laptop, json.dumps({"input": {"invokeModel": {"body": inner}}}).encode(), verb="count-tokens"
    )
    assert counted.json() == {"inputTokens": 42}
    counted = laptop.ask(body_of(model=PLAIN), target=f"{PUBLISHER}/count-tokens:rawPredict")
    assert counted.json() == {"input_tokens": 42}
    assert laptop.rows() == []


def test_the_key_may_be_a_bearer_token_and_another_key_is_refused_in_the_shape_of_aws(laptop: Laptop) -> None:
    for key, status in ((laptop.key, 200), ("fb-nobody", 401)):
        with RawClient(laptop.port) as client:
            headers = [("Authorization", f"Bearer {key}"), ("Content-Type", "application/json")]
            client.request("POST", f"/model/{MODEL}/invoke", headers, body_of())
            answer = client.read_answer()
        assert answer.status == status
    assert answer.header("x-amzn-errortype") == b"UnrecognizedClientException"
    assert list(answer.json()) == ["message"]


def test_a_spent_budget_says_why_in_either_shape(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    with Laptop(tmp_path, a_policy(upstream, budgets=[NOTHING_LEFT])) as laptop:
        refused = stream(laptop, body_of())
        assert refused.status == 402
        assert refused.header("x-amzn-errortype") == b"ServiceQuotaExceededException"
        assert refused.header("x-should-retry") == b"false"
        assert "Budget 'none'" in refused.json()["message"]
        refused = laptop.ask(body_of(), target=f"{PUBLISHER}/{PLAIN}:streamRawPredict")
        assert refused.status == 402
        assert "Budget 'none'" in refused.json()["error"]["message"]
        assert [row.outcome for row in laptop.settled(2)] == [Outcome.REFUSED] * 2


def test_an_error_of_the_provider_keeps_status_and_words(laptop: Laptop) -> None:
    answer = stream(laptop, body_of(system="overloaded"))
    assert (answer.status, answer.json()) == (529, {"message": "Overloaded"})
    assert answer.header("x-amzn-errortype") == b"ServiceUnavailableException"


def test_an_error_inside_a_stream_is_an_exception_frame(laptop: Laptop) -> None:
    *chunks, last = frames_of(stream(laptop, body_of(system="error")))
    assert len(chunks) >= 3
    assert last.headers[":exception-type"] == "serviceUnavailableException"
    assert json.loads(last.payload) == {"message": "Overloaded"}
    assert laptop.settled(1)[0].outcome is Outcome.UPSTREAM_ERROR


def test_a_cut_stream_is_cut_for_a_bedrock_client_too(laptop: Laptop) -> None:
    target = f"/model/{MODEL}/invoke-with-response-stream"
    with laptop.open(body_of(system="cut"), target=target) as client:
        status, _ = client.read_head()
        assert status == 200
        with pytest.raises((ConnectionError, EOFError)):
            read_to_the_end(client)
    assert laptop.settled(1)[0].outcome is Outcome.UPSTREAM_CUT


def test_the_cache_gives_each_client_the_form_that_it_reads(
    laptop: Laptop, upstream: ScriptedUpstream
) -> None:
    cached: dict[str, Any] = {"headers": [("x-farebox-cache", "simple"), ("anthropic-version", "2023-06-01")]}
    seen = len(upstream.requests)
    for expected in (b"MISS", b"HIT"):
        answer = stream(laptop, body_of("Once."), **cached)
        assert answer.header("x-farebox-cache-status") == expected
        assert told(answer) == data_lines(STREAMED.body)
    native = laptop.ask(body_of("Once.", model=MODEL, stream=True), **cached)
    assert (native.header("x-farebox-cache-status"), native.body) == (b"HIT", STREAMED.body)
    first, again = (invoke(laptop, body_of("Once."), **cached) for _ in range(2))
    assert first.json() == again.json()
    assert len(upstream.requests) - seen == 2


def test_a_request_of_bedrocks_keeps_its_profile_at_a_bedrock_provider(tmp_path: Path) -> None:
    with ScriptedUpstream([bedrock_stream(STREAMED)]) as upstream:
        provider = {
            "slug": "bedrock",
            "type": "bedrock",
            "region": "eu-central-1",
            "credential": "env:UPSTREAM_KEY",
            "base_url": upstream.base_url,
        }
        with Laptop(tmp_path, a_policy(upstream, providers=[provider])) as laptop:
            assert told(stream(laptop, body_of())) == data_lines(STREAMED.body)
            assert laptop.settled(1)[0].usage.output_tokens == 2
        (sent,) = upstream.requests
        assert sent.target == f"/model/{MODEL}/invoke-with-response-stream".encode()


def test_a_native_request_with_a_clouds_model_id_stays_as_it_is(
    laptop: Laptop, upstream: ScriptedUpstream
) -> None:
    body = body_of(model=MODEL)
    assert laptop.ask(body).status == 200
    assert upstream.requests[-1].body == body
