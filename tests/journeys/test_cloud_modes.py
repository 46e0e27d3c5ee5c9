"""Clients in Bedrock and in Vertex mode, unchanged and real, pointed at a gateway instead of their cloud."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import anthropic
import pytest

from tests.journeys.claude_code import ClaudeCode
from tests.journeys.scene import CREDENTIAL, MODEL, cost_usd, gateway_before
from tests.support.bedrock import bedrock_stream
from tests.support.gateway_process import GatewayProcess
from tests.support.upstream import (
    Received,
    Reply,
    ScriptedUpstream,
    ToolCall,
    error_reply,
    json_message,
    json_reply,
    sse_message,
    usage,
)

pytestmark = pytest.mark.journey

BEDROCK_MODEL = f"us.anthropic.{MODEL}"
USED = [
    {"input_tokens": 12, "output_tokens": 31, "cache_write_5m_tokens": 9001},
    {"input_tokens": 5, "output_tokens": 17, "cache_read_tokens": 9104},
]
NOTHING_LEFT = {"name": "team-month", "scope": {"workspace": "default"}, "usd": 0, "period": "month"}

Client = Callable[[Path, GatewayProcess], ClaudeCode]


def in_bedrock_mode(folder: Path, gateway: GatewayProcess) -> ClaudeCode:
    return _client(
        folder,
        CLAUDE_CODE_USE_BEDROCK="1",
        ANTHROPIC_BEDROCK_BASE_URL=gateway.base_url,
        AWS_BEARER_TOKEN_BEDROCK=gateway.gateway_key,
        AWS_REGION="us-east-1",
        ANTHROPIC_MODEL=BEDROCK_MODEL,
        ANTHROPIC_SMALL_FAST_MODEL=BEDROCK_MODEL,
    )


def in_bedrock_mode_by_header(folder: Path, gateway: GatewayProcess) -> ClaudeCode:
    return _client(
        folder,
        CLAUDE_CODE_USE_BEDROCK="1",
        CLAUDE_CODE_SKIP_BEDROCK_AUTH="1",
        ANTHROPIC_BEDROCK_BASE_URL=f"{gateway.base_url}/bedrock",
        ANTHROPIC_CUSTOM_HEADERS=f"x-farebox-key: {gateway.gateway_key}",
        AWS_REGION="us-east-1",
        ANTHROPIC_MODEL=BEDROCK_MODEL,
        ANTHROPIC_SMALL_FAST_MODEL=BEDROCK_MODEL,
    )


def in_vertex_mode(folder: Path, gateway: GatewayProcess) -> ClaudeCode:
    return _client(
        folder,
        CLAUDE_CODE_USE_VERTEX="1",
        CLAUDE_CODE_SKIP_VERTEX_AUTH="1",
        ANTHROPIC_VERTEX_BASE_URL=f"{gateway.base_url}/v1",
        ANTHROPIC_VERTEX_PROJECT_ID="proj-1",
        CLOUD_ML_REGION="us-east5",
        ANTHROPIC_AUTH_TOKEN=gateway.gateway_key,
        ANTHROPIC_MODEL=MODEL,
    )


def _client(folder: Path, **environment: str) -> ClaudeCode:
    pointed = ClaudeCode.pointed_at(folder / "claude", "", "", **environment)
    own = {name: value for name, value in pointed.environment.items() if value}
    return ClaudeCode(pointed.folder, own)


MODES = pytest.mark.parametrize("client", [in_bedrock_mode, in_bedrock_mode_by_header, in_vertex_mode])


class Script:
    """Answers the turns of a session in order, and the probes at its start aside."""

    def __init__(self, *turns: Reply) -> None:
        self._turns = list(turns)
        self.turns: list[Received] = []
        self.probes: list[Received] = []

    def __call__(self, received: Received) -> Reply:
        if json.loads(received.body).get("max_tokens") == 1:
            self.probes.append(received)
            return error_reply(404, "not_found_error", "no such model")
        self.turns.append(received)
        return self._turns.pop(0)


def two_turns() -> list[Reply]:
    call = ToolCall("Bash", {"command": "echo hi-$((6*7))"})
    return [
        sse_message("Calling.", usage=usage(**USED[0]), tool=call).rechunked(7),
        sse_message("Done.", usage=usage(**USED[1])),
    ]


def rows_of_turns(gateway: GatewayProcess, session: str) -> list[dict[str, Any]]:
    return [row for row in gateway.rows("requests", "--session", session) if row["status"] == 200]


@MODES
def test_a_session_with_a_tool_call_is_metered_exactly(client: Client, tmp_path: Path) -> None:
    script = Script(*two_turns())
    with ScriptedUpstream(script) as upstream, gateway_before(tmp_path, upstream) as gateway:
        turn = client(tmp_path, gateway).say("Go.")
        assert (turn.status, turn.text.strip()) == (0, "Done.")
        rows = rows_of_turns(gateway, turn.session_id)
        assert [(row["outcome"], Decimal(row["cost_usd"])) for row in rows] == [
            ("finished", cost_usd(tokens)) for tokens in reversed(USED)
        ]
        total = Decimal(gateway.json("usage", "--by", "session")["total"]["cost_usd"])
        assert total == sum((cost_usd(tokens) for tokens in USED), Decimal(0))
        assert gateway.run("ledger", "verify").returncode == 0
        for request in script.turns:
            body = json.loads(request.body)
            assert (body["model"], body["stream"]) == (MODEL, True)
            assert not body.keys() & {"anthropic_version", "anthropic_beta"}
            assert b"claude-code-20250219" in (request.header("anthropic-beta") or b"")
            assert request.header("x-api-key") == CREDENTIAL.encode()
            assert gateway.gateway_key.encode() not in repr(request.headers).encode() + request.body
        answer = json.loads(script.turns[1].body)["messages"][-1]["content"][-1]
        assert (answer["type"], answer["content"]) == ("tool_result", "hi-42")


@MODES
def test_a_spent_budget_is_shown_with_its_reason(client: Client, tmp_path: Path) -> None:
    with (
        ScriptedUpstream() as upstream,
        gateway_before(tmp_path, upstream, budgets=[NOTHING_LEFT]) as gateway,
    ):
        turn = client(tmp_path, gateway).say("Hello.")
        assert upstream.requests == []
        assert turn.status == 1
        assert "402" in turn.text
        assert "Budget 'team-month'" in turn.text
        rows = gateway.rows("requests", "--session", turn.session_id)
        assert {(row["status"], row["outcome"], row["cost_usd"]) for row in rows} == {(402, "refused", "0")}


def test_bedrock_behind_and_before_the_gateway_is_metered_alike(tmp_path: Path) -> None:
    script = Script(*(bedrock_stream(reply) for reply in two_turns()))
    with ScriptedUpstream(script) as upstream:
        provider = {
            "slug": "bedrock",
            "type": "bedrock",
            "region": "us-east-1",
            "credential": "env:CANARY",
            "base_url": upstream.base_url,
        }
        with gateway_before(tmp_path, upstream, providers=[provider]) as gateway:
            turn = in_bedrock_mode(tmp_path, gateway).say("Go.")
            assert (turn.status, turn.text.strip()) == (0, "Done.")
            rows = rows_of_turns(gateway, turn.session_id)
            assert [row["output_tokens"] for row in rows] == [17, 31]
            assert gateway.run("ledger", "verify").returncode == 0
        assert {request.target for request in script.turns} == {
            f"/model/{BEDROCK_MODEL}/invoke-with-response-stream".encode()
        }


def test_vertex_behind_and_before_the_gateway_is_metered_alike(tmp_path: Path) -> None:
    """Where it runs is the provider's setting, whatever the client's path says."""
    script = Script(*two_turns())
    with ScriptedUpstream(script) as upstream:
        provider = {
            "slug": "vertex",
            "type": "vertex",
            "region": "eu",
            "project": "our-project-123",
            "credential": "env:CANARY",
            "base_url": f"{upstream.base_url}/v1",
        }
        with gateway_before(tmp_path, upstream, providers=[provider]) as gateway:
            turn = in_vertex_mode(tmp_path, gateway).say("Go.")
            assert (turn.status, turn.text.strip()) == (0, "Done.")
            rows = rows_of_turns(gateway, turn.session_id)
            costs = [cost_usd(tokens) * Decimal("1.1") for tokens in reversed(USED)]
            assert [Decimal(row["cost_usd"]) for row in rows] == costs
            assert gateway.run("ledger", "verify").returncode == 0
        place = "/v1/projects/our-project-123/locations/eu/publishers/anthropic/models"
        assert {request.target for request in script.turns} == {f"{place}/{MODEL}:streamRawPredict".encode()}
        for request in script.turns:
            assert json.loads(request.body)["anthropic_version"] == "vertex-2023-10-16"
            assert request.header("authorization") == f"Bearer {CREDENTIAL}".encode()


def answer_to_sdk(received: Received) -> Reply:
    body = json.loads(received.body)
    if received.target.endswith(b"/count_tokens"):
        return json_reply({"input_tokens": 42})
    if body.get("system") == "overloaded":
        return error_reply(529, "overloaded_error", "Overloaded")
    return (
        sse_message("Streamed.", usage=usage(**USED[0])).rechunked(11)
        if body.get("stream")
        else json_message("In one piece.", usage=usage(**USED[1]), compress=True)
    )


def bedrock_sdk(gateway: GatewayProcess, key: str) -> anthropic.AnthropicBedrock:
    return anthropic.AnthropicBedrock(
        base_url=gateway.base_url, api_key=key, aws_region="us-east-1", max_retries=0, timeout=60
    )


def vertex_sdk(gateway: GatewayProcess, key: str) -> anthropic.AnthropicVertex:
    return anthropic.AnthropicVertex(
        base_url=f"{gateway.base_url}/v1",
        access_token=key,
        project_id="proj-1",
        region="global",
        max_retries=0,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("make", "model"),
    [(bedrock_sdk, "global.anthropic.claude-opus-5-5"), (vertex_sdk, MODEL)],
    ids=["bedrock", "vertex"],
)
def test_the_sdk_of_the_cloud_streams_asks_and_is_refused(make: Any, model: str, tmp_path: Path) -> None:
    poor = {"name": "nothing", "scope": {"key": "poor"}, "usd": 0, "period": "month"}
    asked: dict[str, Any] = {
        "model": model,
        "max_tokens": 100,
        "messages": [{"role": "user", "content": "Hello."}],
    }
    with (
        ScriptedUpstream(answer_to_sdk) as upstream,
        gateway_before(tmp_path, upstream, budgets=[poor]) as gateway,
    ):
        with make(gateway, gateway.gateway_key) as client:
            with client.messages.stream(**asked) as stream:
                assert "".join(stream.text_stream) == "Streamed. "
                assert stream.get_final_message().usage.output_tokens == USED[0]["output_tokens"]
            assert client.messages.create(**asked).content[0].text == "In one piece."
            with pytest.raises(anthropic.APIStatusError, match="Overloaded") as raised:
                client.messages.create(**asked, system="overloaded")
            assert raised.value.status_code == 529
        costs = [Decimal(row["cost_usd"]) for row in gateway.rows("requests")]
        assert costs == [Decimal(0), cost_usd(USED[1]), cost_usd(USED[0])]
        assert {json.loads(request.body)["model"] for request in upstream.requests} == {MODEL}

        seen = len(upstream.requests)
        with make(gateway, str(gateway.json("keys", "create", "--name", "poor")["key"])) as client:
            with pytest.raises(anthropic.APIStatusError, match="Budget 'nothing'") as refused:
                client.messages.create(**asked)
            assert refused.value.status_code == 402
        assert len(upstream.requests) == seen


def test_the_sdk_counts_tokens_as_vertex_does(tmp_path: Path) -> None:
    with ScriptedUpstream(answer_to_sdk) as upstream, gateway_before(tmp_path, upstream) as gateway:
        with vertex_sdk(gateway, gateway.gateway_key) as client:
            counted = client.messages.count_tokens(
                model=MODEL, messages=[{"role": "user", "content": "Hello."}]
            )
        assert counted.input_tokens == 42
        (request,) = upstream.requests
        assert json.loads(request.body)["model"] == MODEL
        assert gateway.rows("requests") == []
