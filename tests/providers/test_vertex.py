"""Claude on Vertex through a gateway: what Google is asked, what the client sees, what the ledger books."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.domain.money import picodollars_from_usd
from farebox.domain.record import Outcome
from farebox.domain.usage import CostStatus
from farebox.providers.clouds import google_errors
from farebox.providers.clouds.answers import WholeAnswer
from farebox.providers.clouds.errors import read_document
from farebox.providers.clouds.google_errors import GOOGLE_ERRORS, told_headers, without_names
from farebox.providers.clouds.vertex import vertex_host
from tests.support.laptop import QUICK, Laptop, asking
from tests.support.upstream import (
    Ending,
    Reply,
    ScriptedUpstream,
    json_message,
    sse,
    sse_message,
    sse_reply,
    usage,
)
from tests.support.vertex import (
    ACCOUNT,
    JSON,
    MODEL,
    PROJECT,
    QUOTA,
    THERE,
    claude_error,
    google_error,
    html_page,
    retry_info,
)

USED = usage(input_tokens=1_000, output_tokens=20, cache_read_tokens=10_000, cache_write_1h_tokens=500)
ANSWER = sse_message("An answer of a few words.", usage=USED, model=MODEL)
TOKEN = "ya29.access-token-canary"
PLACE = f"projects/{PROJECT}/locations/us-east5/publishers/anthropic/models/{THERE}"
COUNT = "/v1/messages/count_tokens"


def laptop(folder: Path, upstream: ScriptedUpstream, **provider: Any) -> Laptop:
    vertex = {
        "slug": "vertex",
        "type": "vertex",
        "region": "us-east5",
        "project": PROJECT,
        "credential": "env:TOKEN",
        "base_url": upstream.base_url,
        **provider,
    }
    policy = {
        "providers": [vertex],
        "keys": [{"name": "alice", "user": "alice@example.com"}],
        "budgets": [{"name": "everyone-day", "scope": {}, "usd": 1000, "period": "day"}],
    }
    quick = replace(QUICK, idle_timeout_ms=400)
    return Laptop(folder, policy, settings=quick, environment={"TOKEN": TOKEN})


def test_a_stream_passes_byte_for_byte_and_is_booked(tmp_path: Path) -> None:
    with ScriptedUpstream([ANSWER]) as upstream, laptop(tmp_path, upstream) as gateway:
        answer = gateway.ask(asking(stream=True), headers=[("user-agent", "claude-cli/2.1.330")])
        assert (answer.status, answer.body) == (200, ANSWER.body)
        [row] = gateway.settled(1)
        assert TOKEN not in "".join(gateway.log)
    assert (row.outcome, row.provider, row.model) == (Outcome.FINISHED, "vertex", MODEL)
    assert (row.cost_status, row.usage.output_tokens) == (CostStatus.PRICED, 20)
    [asked] = upstream.requests
    place = f"/v1/projects/{PROJECT}/locations/us-east5/publishers/anthropic/models"
    assert asked.target == f"{place}/{THERE}:streamRawPredict".encode()
    assert asked.header("authorization") == f"Bearer {TOKEN}".encode()
    assert asked.header("user-agent") == b"claude-cli/2.1.330"
    assert (asked.header("x-farebox-key"), asked.header("anthropic-version")) == (None, None)
    body = json.loads(asked.body)
    assert (body["anthropic_version"], body["stream"]) == ("vertex-2023-10-16", True)
    assert "model" not in body


def test_an_answer_at_once_is_anthropics_own_message(tmp_path: Path) -> None:
    message = json_message(usage=usage(input_tokens=30, output_tokens=20))
    with ScriptedUpstream([message]) as upstream, laptop(tmp_path, upstream) as gateway:
        answer = gateway.ask(asking())
        assert (answer.status, answer.body) == (200, message.body)
        assert gateway.settled(1)[0].outcome is Outcome.FINISHED
    assert upstream.requests[0].target.endswith(f"/{THERE}:rawPredict".encode())


@pytest.mark.parametrize(
    ("region", "usd"),
    [
        # 1,000 input at 3, 500 written for an hour at 6, 10,000 read at 0.30, 20 output at 15 USD a million.
        ("global", Decimal("0.0093")),
        ("us-east5", Decimal("0.01023")),
        ("eu", Decimal("0.01023")),
    ],
)
def test_a_region_and_a_multi_region_cost_a_tenth_more_than_the_global_endpoint(
    tmp_path: Path, region: str, usd: Decimal
) -> None:
    with ScriptedUpstream([ANSWER]) as upstream, laptop(tmp_path, upstream, region=region) as gateway:
        gateway.ask(asking(stream=True))
        [row] = gateway.settled(1)
    assert row.cost_picodollars == row.charged_picodollars == picodollars_from_usd(usd)


@pytest.mark.parametrize(
    ("location", "host"),
    [
        ("global", "aiplatform.googleapis.com"),
        ("us", "aiplatform.us.rep.googleapis.com"),
        ("eu", "aiplatform.eu.rep.googleapis.com"),
        ("europe-west1", "europe-west1-aiplatform.googleapis.com"),
    ],
)
def test_every_kind_of_location_has_its_host(location: str, host: str) -> None:
    assert vertex_host(location) == host


@pytest.mark.parametrize(
    ("model", "there"),
    [
        ("claude-haiku-4-5", "claude-haiku-4-5@20251001"),
        ("claude-opus-4-5@20251101", "claude-opus-4-5@20251101"),
        ("us.anthropic.claude-opus-4-1-20250805-v1:0", "claude-opus-4-1@20250805"),
        ("claude-opus-5-5", "claude-opus-5-5"),
        ("house-model", "our/tuned model"),
    ],
)
def test_a_model_is_asked_by_its_name_there(tmp_path: Path, model: str, there: str) -> None:
    names = {"house-model": "our/tuned model"}
    with ScriptedUpstream([ANSWER]) as upstream, laptop(tmp_path, upstream, model_ids=names) as gateway:
        assert gateway.ask(asking(model=model, stream=True)).status == 200
    name = there.replace("/", "%2F").replace(" ", "%20")
    assert upstream.requests[0].target.endswith(f"/models/{name}:streamRawPredict".encode())


def test_tokens_are_counted_and_never_as_nothing(tmp_path: Path) -> None:
    told = [b'{"input_tokens":321}', b'{"input_tokens":0}', b"{}", b"<html></html>"]
    script = [Reply(200, (JSON,), (body,)) for body in told]
    with ScriptedUpstream(script) as upstream, laptop(tmp_path, upstream) as gateway:
        counted = gateway.ask(asking(), target=COUNT)
        assert (counted.status, json.loads(counted.body)) == (200, {"input_tokens": 321})
        for _ in told[1:]:
            missing = gateway.ask(asking(), target=COUNT)
            assert (missing.status, json.loads(missing.body)["type"]) == (500, "error")
        assert gateway.rows() == []
    asked = upstream.requests[0]
    assert asked.target.endswith(b"/publishers/anthropic/models/count-tokens:rawPredict")
    assert json.loads(asked.body)["model"] == THERE


def test_betas_and_fields_pass_renamed_or_not_as_vertex_takes_them(tmp_path: Path) -> None:
    refused, ours = "prompt-caching-scope-2026-01-05", "ours-2026-01-01"
    betas = f"claude-code-20250219,advanced-tool-use-2025-11-20,{refused},{ours}"
    body = asking(
        stream=True,
        context_management={"edits": []},
        tags=["a"],
        system=[{"type": "text", "text": "s", "cache_control": {"type": "ephemeral", "scope": "global"}}],
    )
    with (
        ScriptedUpstream([ANSWER]) as upstream,
        laptop(tmp_path, upstream, pass_betas=[ours]) as gateway,
    ):
        assert gateway.ask(body, headers=[("anthropic-beta", betas)]).status == 200
    [asked] = upstream.requests
    passed = f"claude-code-20250219,tool-search-tool-2025-10-19,{ours}"
    assert asked.header("anthropic-beta") == passed.encode()
    sent = json.loads(asked.body)
    assert {"context_management", "tags", "anthropic_beta"}.isdisjoint(sent)
    assert sent["system"][0]["cache_control"] == {"type": "ephemeral"}


REFUSALS = {
    "quota": (
        google_error(429, "RESOURCE_EXHAUSTED", QUOTA),
        429,
        "rate_limit_error",
        "Quota exceeded",
        None,
    ),
    "quota, listed, with a wait": (
        google_error(429, "RESOURCE_EXHAUSTED", QUOTA, details=[retry_info("34.07s")], listed=True),
        429,
        "rate_limit_error",
        "Quota exceeded",
        b"35",
    ),
    "overloaded": (
        google_error(503, "UNAVAILABLE", "Try later."),
        529,
        "overloaded_error",
        "Try later.",
        None,
    ),
    "internal": (google_error(500, "INTERNAL", "Internal error."), 500, "api_error", "Internal", None),
    "late": (google_error(504, "DEADLINE_EXCEEDED", "Too late."), 504, "timeout_error", "Too late.", None),
    "too long": (
        google_error(400, "INVALID_ARGUMENT", "Prompt is too long: 210000 tokens > 200000 maximum"),
        400,
        "invalid_request_error",
        "Prompt is too long",
        None,
    ),
    "Claude's own within Google's": (
        google_error(
            400,
            "INVALID_ARGUMENT",
            '{"type":"error","error":{"type":"invalid_request_error","message":"tags: Extra inputs are not '
            'permitted"}}',
        ),
        400,
        "invalid_request_error",
        "tags: Extra inputs are not permitted",
        None,
    ),
    "no such model": (
        google_error(
            404,
            "NOT_FOUND",
            f"Publisher Model `{PLACE}` was not found or your project does not have access to it.",
        ),
        404,
        "not_found_error",
        "was not found",
        None,
    ),
    "model not enabled": (
        google_error(
            400,
            "FAILED_PRECONDITION",
            f"Project `{PROJECT}` is not allowed to use Publisher Model `{PLACE}`",
        ),
        404,
        "not_found_error",
        "is not allowed to use Publisher Model",
        None,
    ),
    "no right": (
        google_error(
            403,
            "PERMISSION_DENIED",
            f"{ACCOUNT} lacks 'aiplatform.endpoints.predict' on '//aiplatform.googleapis.com/{PLACE}'",
        ),
        403,
        "permission_error",
        "lacks 'aiplatform.endpoints.predict'",
        None,
    ),
    "token refused": (
        google_error(401, "UNAUTHENTICATED", "Request had invalid authentication credentials."),
        403,
        "permission_error",
        "invalid authentication credentials",
        None,
    ),
    "page of a front end": (html_page(502), 500, "api_error", "with a page (HTTP status 502)", None),
    "page for a wrong place": (html_page(404), 404, "not_found_error", "with a page (HTTP status 404)", None),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_an_error_has_anthropics_shape_and_the_words_that_clients_mend_by(tmp_path: Path, name: str) -> None:
    reply, status, kind, words, retry_after = REFUSALS[name]
    with ScriptedUpstream([reply]) as upstream, laptop(tmp_path, upstream) as gateway:
        answer = gateway.ask(asking(stream=True))
        error = json.loads(answer.body)["error"]
        assert (answer.status, error["type"]) == (status, kind)
        assert words in error["message"]
        assert answer.header("retry-after") == retry_after
        assert answer.header("x-should-retry") == (b"false" if status == 403 else None)
        assert error["provider_error"]["status"] == reply.status
        for secret in (PROJECT, ACCOUNT, TOKEN):
            assert secret not in answer.body.decode()
        [row] = gateway.settled(1)
    assert (row.outcome, row.charged_picodollars) == (Outcome.UPSTREAM_ERROR, 0)


@pytest.mark.parametrize(
    "reply",
    [
        claude_error(400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"),
        claude_error(529, "overloaded_error", "Overloaded").with_headers(("retry-after", "7")),
    ],
)
def test_an_error_of_claudes_own_is_relayed_as_it_came(tmp_path: Path, reply: Reply) -> None:
    with ScriptedUpstream([reply]) as upstream, laptop(tmp_path, upstream) as gateway:
        answer = gateway.ask(asking(stream=True))
        assert (answer.status, answer.body) == (reply.status, reply.body)
        assert answer.header("request-id") == b"req_vrtx_011Scripted"
        assert answer.header("retry-after") == (b"7" if reply.status == 529 else None)
        assert gateway.settled(1)[0].charged_picodollars == 0


def test_an_error_in_the_place_of_a_stream_is_one_although_its_status_is_good(tmp_path: Path) -> None:
    late = replace(google_error(429, "RESOURCE_EXHAUSTED", QUOTA, listed=True), status=200)
    with ScriptedUpstream([late]) as upstream, laptop(tmp_path, upstream) as gateway:
        answer = gateway.ask(asking(stream=True))
        assert (answer.status, json.loads(answer.body)["error"]["type"]) == (429, "rate_limit_error")
        assert gateway.settled(1)[0].charged_picodollars == 0


def test_an_error_event_within_a_stream_passes_and_what_was_told_is_booked(tmp_path: Path) -> None:
    event = sse("error", {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})
    broken = replace(ANSWER, pieces=(*ANSWER.pieces[:3], event))
    with ScriptedUpstream([broken]) as upstream, laptop(tmp_path, upstream) as gateway:
        assert gateway.ask(asking(stream=True)).body == broken.body
        [row] = gateway.settled(1)
    assert (row.outcome, row.usage.input_tokens) == (Outcome.UPSTREAM_ERROR, 1_000)


@pytest.mark.parametrize("ending", [Ending.CUT, Ending.CLOSE, Ending.STALL])
def test_a_stream_that_breaks_off_is_a_cut_and_what_was_told_is_charged(
    tmp_path: Path, ending: Ending
) -> None:
    script = [ANSWER.with_piece(4, ending)]
    with ScriptedUpstream(script) as upstream, laptop(tmp_path, upstream) as gateway:
        with gateway.open(asking(stream=True)) as client:
            assert not client.read_answer().is_whole
        [row] = gateway.settled(1)
    assert (row.outcome, row.charged_picodollars > 0) == (Outcome.UPSTREAM_CUT, True)


def test_whoever_leaves_is_charged_for_the_whole_answer(tmp_path: Path) -> None:
    with ScriptedUpstream([ANSWER]) as upstream, laptop(tmp_path, upstream) as gateway:
        with gateway.open(asking(stream=True)) as client:
            client.read_head()
        [row] = gateway.settled(1)
    assert row.usage.output_tokens == 20


FAILED_BEGINNINGS = {
    "429": google_error(429, "RESOURCE_EXHAUSTED", QUOTA),
    "529": claude_error(529, "overloaded_error", "Overloaded"),
    "error event first": sse_reply(
        [sse("error", {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})]
    ),
    "empty 200": Reply(200, (("Content-Type", "text/event-stream"),), ()),
    "wrong content type": Reply(200, (("Content-Type", "text/html"),), (b"<html>hello</html>",)),
    "error with a good status": replace(google_error(503, "UNAVAILABLE", "later", listed=True), status=200),
}


@pytest.mark.parametrize("name", FAILED_BEGINNINGS)
def test_a_beginning_that_fails_is_tried_again_and_costs_what_google_bills(tmp_path: Path, name: str) -> None:
    again = {"retry": {"attempts": 1, "on_status_codes": [429, 500, 502, 503, 529]}, "provider": "@vertex"}
    script = [FAILED_BEGINNINGS[name], ANSWER]
    with ScriptedUpstream(script) as upstream, laptop(tmp_path, upstream) as gateway:
        answer = gateway.ask(asking(stream=True), headers=[("x-portkey-config", json.dumps(again))])
        assert (answer.status, answer.body) == (200, ANSWER.body)
        [row] = gateway.settled(1)
    assert (row.outcome, len(row.attempts)) == (Outcome.FINISHED, 2)
    is_free = FAILED_BEGINNINGS[name].status != 200 or name.startswith("error")
    assert (row.attempts[0].cost_picodollars == 0) == is_free


def test_an_error_of_a_megabyte_is_told_in_short_and_at_once() -> None:
    words = "a" * 1_000_000
    body = json.dumps({"error": {"code": 400, "message": words, "status": "INVALID_ARGUMENT"}}).encode()
    for sent in (body, words.encode()):
        error = google_errors.google_error(WholeAnswer(400, [], sent), sent, PROJECT)
        assert error.message == words[:2_000]


@pytest.mark.parametrize("body", [b'{"error": {"message": "\xff"}}', b'{"\xff": ' + b"[" * 100_000])
def test_an_error_that_is_no_utf_8_is_told_by_its_status(body: bytes) -> None:
    error = google_errors.google_error(WholeAnswer(400, [], body), body, PROJECT)
    assert error.answer(GOOGLE_ERRORS, told_headers([], body), None).status == 400
    assert read_document(body) == {}


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.just(f"x {PLACE}"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["error", "code", "message", "status", "details", "@type"]), inner)
    ),
    max_leaves=12,
)


@given(
    JSON_VALUES.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=60), st.integers(400, 599)
)
def test_whatever_an_error_looks_like_it_becomes_one_of_ours(body: bytes, status: int) -> None:
    error = google_errors.google_error(WholeAnswer(status, [], body), body, PROJECT)
    told = error.answer(GOOGLE_ERRORS, told_headers([], body), None)
    assert 400 <= told.status <= 599
    assert PROJECT not in json.dumps(error.envelope(GOOGLE_ERRORS))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("Project `our-project-123` is not", "Project `...` is not"),
        ("on '//aiplatform.googleapis.com/projects/our-project-123/locations/eu'", None),
        ("Consumer 'project:our-project-123' has no quota; project_id our-project-123", None),
        (f"to {ACCOUNT} and alice@example.com", "to ... and ..."),
        ("your project does not have access", "your project does not have access"),
        ("project 123456789012, project_number:98765", "project ..., project_number:..."),
    ],
)
def test_projects_and_accounts_are_taken_out_of_what_clients_are_told(words: str, told: str | None) -> None:
    found = without_names(words, PROJECT)
    assert PROJECT not in found
    if told is not None:
        assert found == told
