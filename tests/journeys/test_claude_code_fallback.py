"""Claude Code, headless and real, while its provider goes down in the middle of a session."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import pytest

from tests.journeys.claude_code import ClaudeCode
from tests.journeys.scene import CREDENTIAL, MODEL, cost_usd
from tests.support.bedrock import bedrock_stream
from tests.support.gateway_process import GatewayProcess
from tests.support.google import a_pair as a_pair_of_keys
from tests.support.google import claims_of, form_of, granted, service_account_file
from tests.support.upstream import (
    Reply,
    ScriptedUpstream,
    ToolCall,
    error_reply,
    message_events,
    sse,
    sse_message,
    sse_reply,
    usage,
)
from tests.support.vertex import ACCOUNT, PROJECT

pytestmark = pytest.mark.journey

USED = [
    {"input_tokens": 12, "output_tokens": 31, "cache_write_5m_tokens": 9001},
    {"input_tokens": 5, "output_tokens": 17, "cache_read_tokens": 9001},
    {"input_tokens": 7, "output_tokens": 23, "cache_read_tokens": 9001},
]
OVERLOADED = error_reply(529, "overloaded_error", "Overloaded")
ERROR_FIRST = sse_reply(
    [sse("error", {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})]
)
AWS_KEYS = json.dumps({"access_key_id": "AKIDEXAMPLE", "secret_access_key": "canary-of-bedrock"})
VERTEX = {"type": "vertex", "region": "global", "project": PROJECT, "credential": "env:GOOGLE_KEY"}
BEDROCK = {"type": "bedrock", "region": "us-east-1", "credential": "env:AWS_KEYS"}
FOREIGN_THINKING = error_reply(
    400, "invalid_request_error", "messages.1.content.0: Invalid `signature` in `thinking` block"
)


Scene = tuple[ClaudeCode, GatewayProcess, ScriptedUpstream, ScriptedUpstream]


@contextmanager
def a_pair(folder: Path, first: list[Reply], second: list[Reply], **another: object) -> Iterator[Scene]:
    """Run a gateway whose workspace falls back from one provider to another, and point Claude Code at it.

    `another` is what the second one is, where it is not of the first one's kind.
    """
    with ScriptedUpstream(first) as one, ScriptedUpstream(second) as other:
        kind = {"type": "anthropic", "credential": "env:CANARY"}
        providers = [
            {"slug": "first", **kind, "base_url": one.base_url},
            {"slug": "second", **kind, "base_url": other.base_url, **another},
        ]
        config = {
            "strategy": {"mode": "fallback"},
            "targets": [{"provider": "@first", "retry": {"attempts": 1}}, {"provider": "@second"}],
        }
        document = {
            "providers": providers,
            "configs": [{"slug": "resilient", "config": config}],
            "workspaces": [{"slug": "default", "config": "resilient"}],
        }
        environment = {
            "CANARY": CREDENTIAL,
            "AWS_KEYS": AWS_KEYS,
            "GOOGLE_KEY": service_account_file(),
            "FAREBOX_GOOGLE_ENDPOINT_URL": other.base_url,
        }
        with GatewayProcess(folder, config=json.dumps(document), environment=environment) as gateway:
            client = ClaudeCode.pointed_at(folder / "claude", gateway.base_url, gateway.gateway_key)
            yield client, gateway, one, other


def thinking_first(text: str, tokens: dict[str, int], signature: str) -> Reply:
    """Answer with a signed thinking block before the text, as Claude does."""
    start, *events = message_events(text, usage=usage(**tokens))
    place = {"index": 0}
    thought = [
        ("content_block_start", {"content_block": {"type": "thinking", "thinking": "", "signature": ""}}),
        ("content_block_delta", {"delta": {"type": "signature_delta", "signature": signature}}),
        ("content_block_stop", {}),
    ]
    thinking = [sse(name, {"type": name, **place, **rest}) for name, rest in thought]
    moved = [event.replace(b'"index":0', b'"index":1') for event in events]
    return sse_reply([start, *thinking, *moved])


def test_an_outage_within_a_session_is_a_slower_answer_and_every_attempt_is_booked(tmp_path: Path) -> None:
    """The tool call comes from one provider, its result goes to the other, which had an outage of its own."""
    call = ToolCall("Bash", {"command": "echo hi-$((6*7))"})
    first = [sse_message("Calling.", usage=usage(**USED[0]), tool=call), OVERLOADED, ERROR_FIRST]
    second = [sse_message("Done.", usage=usage(**USED[1]))]
    with a_pair(tmp_path, first, second) as (client, gateway, one, other):
        turn = client.say("Run it.")
        assert (turn.status, turn.text.strip()) == (0, "Done.")
        assert (len(one.requests), len(other.requests)) == (3, 1)
        answer = json.loads(other.requests[0].body)["messages"][-1]["content"][-1]
        assert (answer["type"], answer["content"]) == ("tool_result", "hi-42")
        assert other.requests[0].body == one.requests[1].body == one.requests[2].body

        rows = gateway.rows("requests", "--session", turn.session_id)
        told = [(row["provider"], row["status"], row["attempts"], row["outcome"]) for row in rows]
        assert told == [("second", 200, 3, "finished"), ("first", 200, 1, "finished")]
        assert [Decimal(row["cost_usd"]) for row in rows] == [cost_usd(USED[1]), cost_usd(USED[0])]
        shown = Decimal(str(turn.result["total_cost_usd"]))
        assert round(shown, 9) == cost_usd(USED[0]) + cost_usd(USED[1])
        assert gateway.run("ledger", "verify").returncode == 0


def test_thinking_of_the_lost_provider_is_left_out_as_the_client_heals_itself(tmp_path: Path) -> None:
    """The other provider does not know the signature and says so; Claude Code asks again without thinking."""
    first = [thinking_first("Hello.", USED[0], "signed-by-the-first"), *[OVERLOADED] * 8]
    second = [FOREIGN_THINKING, sse_message("Still here.", usage=usage(**USED[1]))]
    with a_pair(tmp_path, first, second) as (client, gateway, _, other):
        started = client.say("Hello.")
        assert (started.status, started.text.strip()) == (0, "Hello.")
        turn = client.resume(started, "Are you there?")
        assert (turn.status, turn.text.strip()) == (0, "Still here.")
        refused, healed = (request.body for request in other.requests)
        assert b"signed-by-the-first" in refused
        assert b"signed-by-the-first" not in healed
        rows = gateway.rows("requests", "--session", turn.session_id)
        told = [(row["provider"], row["status"], row["attempts"]) for row in rows]
        assert told == [("second", 200, 3), ("second", 400, 3), ("first", 200, 1)]
        assert gateway.run("ledger", "verify").returncode == 0


def test_a_session_goes_on_over_bedrock_while_anthropic_is_down(tmp_path: Path) -> None:
    """The tool's result and the next turn are answered in Bedrock's frames; then Anthropic is back."""
    call = ToolCall("Bash", {"command": "echo hi-$((6*7))"})
    first = [sse_message("Calling.", usage=usage(**USED[0]), tool=call), OVERLOADED, OVERLOADED]
    second = [bedrock_stream(sse_message("Done.", usage=usage(**USED[1])))]
    back = sse_message("Back.", usage=usage(**USED[2]))
    with a_pair(tmp_path, [*first, back], second, **BEDROCK) as (client, gateway, one, other):
        turn = client.say("Run it.")
        assert (turn.status, turn.text.strip()) == (0, "Done.")
        again = client.resume(turn, "Are you back?")
        assert (again.status, again.text.strip()) == (0, "Back.")
        (asked,) = other.requests
        assert asked.target.endswith(b"claude-opus-5-5/invoke-with-response-stream")
        answer = json.loads(asked.body)["messages"][-1]["content"][-1]
        assert (answer["type"], answer["content"]) == ("tool_result", "hi-42")

        rows = gateway.rows("requests", "--session", turn.session_id)
        told = [(row["provider"], row["status"], row["attempts"], row["cost_status"]) for row in rows]
        assert told == [
            ("first", 200, 1, "priced"),
            ("second", 200, 3, "priced"),
            ("first", 200, 1, "priced"),
        ]
        # What is asked through a profile of one part of the world costs a tenth more.
        assert Decimal(rows[1]["cost_usd"]) == cost_usd(USED[1]) * Decimal("1.1")
        assert gateway.run("ledger", "verify").returncode == 0
        for request in one.requests:
            assert b"canary-of-bedrock" not in repr(request.headers).encode() + request.body
    assert "canary-of-bedrock" not in "".join([*gateway.output, *gateway.errors])


def test_a_session_goes_on_over_vertex_while_anthropic_is_down(tmp_path: Path) -> None:
    """The other provider also gives the token that its requests need, for a service account's key."""
    call = ToolCall("Bash", {"command": "echo hi-$((6*7))"})
    first = [sse_message("Calling.", usage=usage(**USED[0]), tool=call), *[OVERLOADED] * 4]
    done = sse_message("Done.", usage=usage(**USED[1])).rechunked(7)
    second = [granted("ya29.canary"), done, sse_message("Still here.", usage=usage(**USED[2]))]
    with a_pair(tmp_path, first, second, **VERTEX) as (client, gateway, one, other):
        turn = client.say("Run it.")
        assert (turn.status, turn.text.strip()) == (0, "Done.")
        again = client.resume(turn, "Are you there?")
        assert (again.status, again.text.strip()) == (0, "Still here.")
        token, asked, asked_again = other.requests
        assert claims_of(form_of(token.body)["assertion"])["iss"] == ACCOUNT
        place = (
            f"/v1/projects/{PROJECT}/locations/global/publishers/anthropic/models/{MODEL}:streamRawPredict"
        )
        assert (asked.target.decode(), asked_again.target.decode()) == (place, place)
        assert b"claude-code-20250219" in (asked.header("anthropic-beta") or b"")
        answer = json.loads(asked.body)["messages"][-1]["content"][-1]
        assert (answer["type"], answer["content"]) == ("tool_result", "hi-42")

        rows = gateway.rows("requests", "--session", turn.session_id)
        told = [(row["provider"], row["status"], row["cost_status"]) for row in rows]
        assert told == [("second", 200, "priced"), ("second", 200, "priced"), ("first", 200, "priced")]
        # Globally Vertex costs what Anthropic does.
        costs = [cost_usd(USED[2]), cost_usd(USED[1]), cost_usd(USED[0])]
        assert [Decimal(row["cost_usd"]) for row in rows] == costs
        assert gateway.run("ledger", "verify").returncode == 0
        for request in one.requests:
            assert b"ya29" not in repr(request.headers).encode() + request.body
    said = "".join([*gateway.output, *gateway.errors])
    assert "ya29" not in said
    assert a_pair_of_keys().private.splitlines()[1] not in said
