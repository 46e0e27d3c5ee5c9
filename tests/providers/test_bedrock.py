"""Claude on Bedrock through a gateway: what Bedrock is asked, what the client sees, what the ledger books."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials

from farebox.domain.record import Outcome
from farebox.domain.usage import CostStatus
from tests.support.bedrock import (
    REQUEST_ID,
    bedrock_error,
    bedrock_json,
    bedrock_stream,
    data_lines,
    exception_frame,
    framed,
)
from tests.support.laptop import Laptop, asking
from tests.support.upstream import Received, Reply, ScriptedUpstream, json_message, sse_message, usage

MODEL = "claude-sonnet-4-5"
THERE = "eu.anthropic.claude-sonnet-4-5-20250929-v1:0"
ANSWER = sse_message("An answer of a few words.", usage=usage(input_tokens=30, output_tokens=20), model=MODEL)
KEYS = {"access_key_id": "AKIDEXAMPLE", "secret_access_key": "secret-of-bedrock", "session_token": "token"}
SECRET = json.dumps(KEYS)
BEARER = "bedrock-api-key-canary"


def policy(upstream: ScriptedUpstream, **provider: Any) -> dict[str, Any]:
    bedrock = {
        "slug": "bedrock",
        "type": "bedrock",
        "region": "eu-central-1",
        "credential": "env:AWS_KEYS",
        "base_url": upstream.base_url,
        **provider,
    }
    return {
        "providers": [bedrock],
        "keys": [{"name": "alice", "user": "alice@example.com"}],
        "budgets": [{"name": "everyone-day", "scope": {}, "usd": 1000, "period": "day"}],
    }


def laptop(folder: Path, upstream: ScriptedUpstream, secret: str = SECRET, **provider: Any) -> Laptop:
    return Laptop(folder, policy(upstream, **provider), environment={"AWS_KEYS": secret})


def test_frames_become_the_events_that_anthropic_would_send(tmp_path: Path) -> None:
    with ScriptedUpstream([bedrock_stream(ANSWER)]) as upstream, laptop(tmp_path, upstream) as gateway:
        answer = gateway.ask(asking(stream=True))
        assert answer.status == 200
        assert answer.header("content-type") == b"text/event-stream; charset=utf-8"
        assert data_lines(answer.body) == data_lines(ANSWER.body)
        assert b"event: message_start\n" in answer.body
        [row] = gateway.settled(1)
    assert (row.outcome, row.provider, row.model) == (Outcome.FINISHED, "bedrock", MODEL)
    assert row.cost_status is CostStatus.PRICED
    assert row.upstream_request_id == REQUEST_ID
    [asked] = upstream.requests
    assert asked.target == f"/model/{THERE.replace(':', '%3A')}/invoke-with-response-stream".encode()
    body = json.loads(asked.body)
    assert body["anthropic_version"] == "bedrock-2023-05-31"
    assert {"model", "stream"}.isdisjoint(body)


@pytest.mark.parametrize("size", [1, 7, 64, 1_000])
def test_it_does_not_matter_where_frames_are_cut(tmp_path: Path, size: int) -> None:
    script = [bedrock_stream(ANSWER).rechunked(size)]
    with ScriptedUpstream(script) as upstream, laptop(tmp_path, upstream) as gateway:
        assert data_lines(gateway.ask(asking(stream=True)).body) == data_lines(ANSWER.body)


def test_a_request_is_signed_as_botocore_signs_it(tmp_path: Path) -> None:
    with ScriptedUpstream([bedrock_stream(ANSWER)]) as upstream, laptop(tmp_path, upstream) as gateway:
        gateway.ask(asking(stream=True))
        port = upstream.port
    [asked] = upstream.requests
    signed = (asked.header("authorization") or b"").decode()
    assert signed == as_botocore_signs(asked, port)
    assert asked.header("x-amz-security-token") == b"token"
    assert b"secret-of-bedrock" not in repr(asked.headers).encode() + asked.body


def as_botocore_signs(asked: Received, port: int) -> str:
    """Sign what came as botocore would have, at the moment that it says."""
    moment = (asked.header("x-amz-date") or b"").decode()
    names = (asked.header("authorization") or b"").decode().partition("SignedHeaders=")[2].partition(",")[0]
    headers = {name: (asked.header(name) or b"").decode() for name in names.split(";")}
    url = f"http://127.0.0.1:{port}{asked.target.decode()}"
    request = AWSRequest("POST", url, data=asked.body, headers=headers)
    request.context["timestamp"] = moment
    request.context["payload_signing_enabled"] = True
    credentials = BotoCredentials(KEYS["access_key_id"], KEYS["secret_access_key"], KEYS["session_token"])
    signer = SigV4Auth(credentials, "bedrock", "eu-central-1")
    text = signer.string_to_sign(request, signer.canonical_request(request))
    signature = signer.signature(text, request)
    day = datetime.strptime(moment, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    scope = f"{KEYS['access_key_id']}/{day:%Y%m%d}/eu-central-1/bedrock/aws4_request"
    return f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={names}, Signature={signature}"


def test_a_bedrock_key_travels_as_a_bearer_token(tmp_path: Path) -> None:
    script = [bedrock_stream(ANSWER)]
    with ScriptedUpstream(script) as upstream, laptop(tmp_path, upstream, BEARER) as gateway:
        assert gateway.ask(asking(stream=True)).status == 200
        said = "".join(gateway.log)
    assert upstream.requests[0].header("authorization") == f"Bearer {BEARER}".encode()
    assert BEARER not in said


def test_an_answer_at_once_is_anthropics_own_message(tmp_path: Path) -> None:
    message = json_message(usage=usage(input_tokens=30, output_tokens=20))
    script = [bedrock_json(message.body)]
    with ScriptedUpstream(script) as upstream, laptop(tmp_path, upstream) as gateway:
        answer = gateway.ask(asking())
        assert (answer.status, answer.body) == (200, message.body)
        assert gateway.settled(1)[0].outcome is Outcome.FINISHED
    assert upstream.requests[0].target.endswith(b"/invoke")


@pytest.mark.parametrize(
    ("reply", "status", "kind", "words"),
    [
        (
            bedrock_error(400, "ValidationException", "Input is too long for requested model."),
            400,
            "invalid_request_error",
            "prompt is too long",
        ),
        (
            bedrock_error(400, "ValidationException", "metadata.user_id: input is too long (256 at most)"),
            400,
            "invalid_request_error",
            "metadata.user_id: input is too long (256 at most)",
        ),
        (
            bedrock_error(
                400,
                "ValidationException",
                "The model returned the following errors: messages.1.content.0: Invalid `signature` in "
                "`thinking` block",
            ),
            400,
            "invalid_request_error",
            "messages.1.content.0: Invalid `signature` in `thinking` block",
        ),
        (
            bedrock_error(
                400, "ValidationException", "#: extraneous key [context_management] is not permitted"
            ),
            400,
            "invalid_request_error",
            "context_management: Extra inputs are not permitted",
        ),
        (
            bedrock_error(429, "ThrottlingException", "Too many requests."),
            429,
            "rate_limit_error",
            "Too many",
        ),
        (bedrock_error(403, "AccessDeniedException", "no"), 403, "permission_error", "no"),
        (bedrock_error(503, "ServiceUnavailableException", "busy"), 529, "overloaded_error", "busy"),
        (
            bedrock_error(400, "ValidationException", "The provided model identifier is invalid."),
            404,
            "not_found_error",
            "identifier is invalid",
        ),
    ],
)
def test_an_error_has_anthropics_shape_and_the_words_that_clients_mend_by(
    tmp_path: Path, reply: Reply, status: int, kind: str, words: str
) -> None:
    with ScriptedUpstream([reply]) as upstream, laptop(tmp_path, upstream) as gateway:
        answer = gateway.ask(asking(stream=True))
        error = json.loads(answer.body)["error"]
        assert (answer.status, error["type"]) == (status, kind)
        assert words in error["message"]
        assert error["message"].startswith("prompt is too long") == words.startswith("prompt")
        assert error["provider_error"]["message"] in reply.body.decode()
        [row] = gateway.settled(1)
    assert (row.outcome, row.charged_picodollars) == (Outcome.UPSTREAM_ERROR, 0)


ROLE = "arn:aws:sts::123456789012:assumed-role/farebox-prod-proxy/farebox-prod-proxy"
RESOURCE = "arn:aws:bedrock:eu-central-1::foundation-model/anthropic.claude-sonnet-4-5"
DENIED = f"User: {ROLE} is not authorized to perform: bedrock:InvokeModel on resource: {RESOURCE}"
UNSIGNED = (
    "The request signature we calculated does not match the signature you provided.\n\n"
    "The Canonical String for this request should have been\n'POST\nx-amz-security-token:token-canary'"
)
MALFORMED = "Authorization header requires 'Signature' parameter. Authorization=ASIACANARYCANARY1234"


@pytest.mark.parametrize(
    ("code", "words", "told"),
    [
        ("AccessDeniedException", DENIED, DENIED.replace(ROLE, "(farebox's role)")),
        ("InvalidSignatureException", UNSIGNED, UNSIGNED.partition("\n")[0]),
        (
            "IncompleteSignatureException",
            MALFORMED,
            MALFORMED.replace("ASIACANARYCANARY1234", "(an access key)"),
        ),
    ],
)
def test_who_farebox_is_in_its_account_is_no_business_of_the_client(
    tmp_path: Path, code: str, words: str, told: str
) -> None:
    replies = [bedrock_error(403, code, words), framed([exception_frame(code, words)])]
    with ScriptedUpstream(replies) as upstream, laptop(tmp_path, upstream) as gateway:
        refused = json.loads(gateway.ask(asking(stream=True)).body)["error"]
        broken = gateway.ask(asking(stream=True)).body.decode()
    assert refused["message"] == refused["provider_error"]["message"] == told
    for hidden in ("farebox-prod-proxy", "canary", "CANARY"):
        assert hidden not in broken


def test_an_exception_within_a_stream_is_an_error_event_and_what_was_told_is_booked(tmp_path: Path) -> None:
    frames = bedrock_stream(ANSWER).pieces[:3]
    script = [framed([*frames, exception_frame("throttlingException", "Too many tokens.")])]
    with ScriptedUpstream(script) as upstream, laptop(tmp_path, upstream) as gateway:
        answer = gateway.ask(asking(stream=True))
        assert b'event: error\ndata: {"type":"error","error":{"type":"rate_limit_error"' in answer.body
        [row] = gateway.settled(1)
    assert row.outcome is Outcome.UPSTREAM_ERROR
    assert row.usage.input_tokens == 30


def test_a_stream_that_ends_inside_a_frame_is_a_cut_and_no_clean_end(tmp_path: Path) -> None:
    whole = bedrock_stream(ANSWER)
    script = [whole.cut_after(len(whole.body) - 5)]
    with ScriptedUpstream(script) as upstream, laptop(tmp_path, upstream) as gateway:
        with gateway.open(asking(stream=True)) as client:
            assert not client.read_answer().is_whole
        [row] = gateway.settled(1)
    assert row.outcome is Outcome.UPSTREAM_CUT
    assert row.charged_picodollars > 0


def test_a_frame_that_was_changed_on_its_way_is_a_cut(tmp_path: Path) -> None:
    pieces = list(bedrock_stream(ANSWER).pieces)
    assert isinstance(pieces[3], bytes)
    pieces[3] = pieces[3][:-1] + bytes([pieces[3][-1] ^ 1])
    script = [framed([b"".join(piece for piece in pieces if isinstance(piece, bytes))])]
    with ScriptedUpstream(script) as upstream, laptop(tmp_path, upstream) as gateway:
        with gateway.open(asking(stream=True)) as client:
            answer = client.read_answer()
        # What came before it, in the same piece, is the client's.
        assert (answer.is_whole, data_lines(answer.body)) == (False, data_lines(ANSWER.body)[:3])
        assert gateway.settled(1)[0].outcome is Outcome.UPSTREAM_CUT


def test_tokens_are_counted_and_never_as_nothing(tmp_path: Path) -> None:
    script = [bedrock_json(b'{"inputTokens": 321}'), bedrock_json(b'{"inputTokens": 0}')]
    with ScriptedUpstream(script) as upstream, laptop(tmp_path, upstream) as gateway:
        counted = gateway.ask(asking(), target="/v1/messages/count_tokens")
        assert (counted.status, json.loads(counted.body)) == (200, {"input_tokens": 321})
        missing = gateway.ask(asking(), target="/v1/messages/count_tokens")
        assert missing.status >= 500
        assert json.loads(missing.body)["type"] == "error"
    assert upstream.requests[0].target == b"/model/anthropic.claude-sonnet-4-5-20250929-v1%3A0/count-tokens"


@pytest.mark.parametrize("endpoint", ["messages", "mantle"])
@pytest.mark.parametrize("coding", ["gzip", "identity"])
def test_a_native_endpoint_counts_tokens_and_never_as_nothing(
    tmp_path: Path, endpoint: str, coding: str
) -> None:
    script = [bedrock_json(body) for body in (b'{"input_tokens":321}', b'{"input_tokens":0}', b"{}", b"")]
    headers = [("accept-encoding", coding)]
    target = "/v1/messages/count_tokens"
    with (
        ScriptedUpstream(script) as upstream,
        laptop(tmp_path, upstream, endpoint=endpoint) as gateway,
    ):
        counted = gateway.ask(asking(), target=target, headers=headers)
        assert (counted.status, counted.body) == (200, b'{"input_tokens":321}')
        missing = [gateway.ask(asking(), target=target) for _ in script[1:]]
    assert [json.loads(each.body)["type"] for each in missing if each.status >= 500] == ["error"] * 3
    # What may be an error has to be read, whatever the client could unpack.
    assert {each.header("accept-encoding") for each in upstream.requests} == {b"identity"}


def test_tokens_are_counted_for_the_model_behind_an_application_inference_profile(tmp_path: Path) -> None:
    profile = "arn:aws:bedrock:eu-central-1:123456789012:application-inference-profile/abc123"
    script = [bedrock_json(b'{"inputTokens": 321}')]
    with (
        ScriptedUpstream(script) as upstream,
        laptop(tmp_path, upstream, model_ids={MODEL: profile}) as gateway,
    ):
        assert gateway.ask(asking(), target="/v1/messages/count_tokens").status == 200
    assert upstream.requests[0].target == b"/model/anthropic.claude-sonnet-4-5-20250929-v1%3A0/count-tokens"


def test_betas_and_fields_pass_renamed_or_not_as_bedrock_takes_them(tmp_path: Path) -> None:
    headers = [("anthropic-beta", "claude-code-20250219,interleaved-thinking-2025-05-14,effort-2025-11-24")]
    body = asking(
        stream=True,
        context_management={"edits": []},
        system=[{"type": "text", "text": "s", "cache_control": {"type": "ephemeral", "scope": "global"}}],
    )
    with ScriptedUpstream([bedrock_stream(ANSWER)]) as upstream, laptop(tmp_path, upstream) as gateway:
        assert gateway.ask(body, headers=headers).status == 200
    sent = json.loads(upstream.requests[0].body)
    assert sent["anthropic_beta"] == ["interleaved-thinking-2025-05-14", "effort-2025-11-24"]
    assert "context_management" not in sent
    assert sent["system"][0]["cache_control"] == {"type": "ephemeral"}


def test_only_cache_marks_lose_their_scope_and_all_else_keeps_its_bytes(tmp_path: Path) -> None:
    mark: dict[str, Any] = {"cache_control": {"type": "ephemeral", "scope": "global"}}
    alike: dict[str, Any] = {"cache_control": {"scope": "a field of somebody's tool"}, "n": 1e20}
    result = {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "r", **mark}]}
    source = {"type": "content", "content": [{"type": "text", "text": "d", **mark}]}
    turns = [
        {"role": "user", "content": "scope"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "n", "input": alike}]},
        {"role": "user", "content": [result, {"type": "document", "source": source}]},
    ]
    tools = [{"name": "n", "input_schema": {"type": "object", "properties": alike}, **mark}]
    body = asking(stream=True, messages=turns, tools=tools)
    with ScriptedUpstream([bedrock_stream(ANSWER)]) as upstream, laptop(tmp_path, upstream) as gateway:
        assert gateway.ask(body).status == 200
    sent = upstream.requests[0].body
    assert b'"global"' not in sent
    kept = {"cache_control": {"type": "ephemeral"}}
    read = json.loads(sent)
    assert read["tools"] == [{**tools[0], **kept}]
    assert read["messages"][1] == turns[1]
    assert read["messages"][2]["content"][0]["content"] == [{"type": "text", "text": "r", **kept}]
    assert read["messages"][2]["content"][1]["source"]["content"] == [{"type": "text", "text": "d", **kept}]


@pytest.mark.parametrize(
    "messages", [[{"output_config": {}}, 7], '"scope"', [[[{"scope": 1}]]], [{"content": 7}]]
)
def test_what_is_no_list_of_messages_is_for_bedrock_to_refuse(tmp_path: Path, messages: Any) -> None:
    refusal = bedrock_error(400, "ValidationException", "messages: Input should be a valid list")
    with ScriptedUpstream([refusal]) as upstream, laptop(tmp_path, upstream) as gateway:
        answer = gateway.ask(asking(stream=True, messages=messages))
    assert answer.status == 400


def test_an_application_profile_is_asked_by_its_arn_and_priced_as_its_model(tmp_path: Path) -> None:
    arn = "arn:aws:bedrock:eu-central-1:123456789012:application-inference-profile/abc123"
    script, there = [bedrock_stream(ANSWER)], {MODEL: arn}
    with ScriptedUpstream(script) as upstream, laptop(tmp_path, upstream, model_ids=there) as gateway:
        assert gateway.ask(asking(stream=True)).status == 200
        [row] = gateway.settled(1)
    assert upstream.requests[0].target.startswith(b"/model/arn%3Aaws%3Abedrock%3A")
    assert (row.model, row.cost_status) == (MODEL, CostStatus.PRICED)


def test_whoever_leaves_is_charged_for_the_whole_answer_since_bedrock_is_paid_for_it(tmp_path: Path) -> None:
    pieces = bedrock_stream(ANSWER).pieces
    with ScriptedUpstream([framed(pieces)]) as upstream, laptop(tmp_path, upstream) as gateway:
        with gateway.open(asking(stream=True)) as client:
            client.read_head()
        [row] = gateway.settled(1)
    assert row.usage.output_tokens == 20
