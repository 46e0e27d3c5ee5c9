"""Claude Code, headless and real, through a running gateway to a scripted Anthropic."""

from __future__ import annotations

import http.client
import json
import re
from decimal import Decimal
from pathlib import Path

import pytest

from farebox.domain.errors import CredentialMissing, KeyRefused
from tests.journeys.claude_code import QUIET, ClaudeCode, claude_path
from tests.journeys.scene import CREDENTIAL, PROVIDER, cost_usd, gateway_before, row_of, shown
from tests.support.gateway_process import HOST, GatewayProcess
from tests.support.upstream import ScriptedUpstream, ToolCall, sse_message, usage

pytestmark = pytest.mark.journey

PROMPT_CANARY = "the-secret-word-is-wolpertinger"


def claude(folder: Path, gateway: GatewayProcess, **environment: str) -> ClaudeCode:
    return ClaudeCode.pointed_at(folder / "claude", gateway.base_url, gateway.gateway_key, **environment)


def test_a_session_with_a_tool_call_is_metered_as_the_upstream_reported_it(tmp_path: Path) -> None:
    used = [
        {
            "input_tokens": 12,
            "output_tokens": 31,
            "cache_write_5m_tokens": 9001,
            "cache_write_1h_tokens": 103,
        },
        {"input_tokens": 5, "output_tokens": 17, "cache_read_tokens": 9104, "cache_write_5m_tokens": 57},
        {"input_tokens": 7, "output_tokens": 23, "cache_read_tokens": 9161},
    ]
    call = ToolCall("Bash", {"command": "echo hi-$((6*7))"})
    script = [
        sse_message("Calling.", usage=usage(**used[0]), tool=call),
        sse_message("Done.", usage=usage(**used[1])),
        sse_message("Again.", usage=usage(**used[2])).rechunked(7),
    ]
    with ScriptedUpstream(script) as upstream, gateway_before(tmp_path, upstream) as gateway:
        client = claude(tmp_path, gateway)
        first = client.say(PROMPT_CANARY)
        second = client.resume(first, "And again.")
        assert [first.text.strip(), second.text.strip()] == ["Done.", "Again."]
        assert [first.status, second.status] == [0, 0]
        assert [request.target for request in upstream.requests] == [b"/v1/messages?beta=true"] * 3

        session = first.session_id
        expected = [row_of(tokens, session) for tokens in reversed(used)]
        rows = gateway.rows("requests", "--session", session)
        assert [shown(row, expected[0]) for row in rows] == expected
        total = sum((cost_usd(tokens) for tokens in used), Decimal(0))
        assert Decimal(str(second.result["total_cost_usd"])) == total
        assert Decimal(gateway.json("usage", "--by", "session")["total"]["cost_usd"]) == total
        assert gateway.run("ledger", "verify").returncode == 0

        answer = json.loads(upstream.requests[1].body)["messages"][-1]["content"][-1]
        assert (answer["type"], answer["content"]) == ("tool_result", "hi-42")
        for request in upstream.requests:
            assert request.header("x-api-key") == CREDENTIAL.encode()
            assert gateway.gateway_key.encode() not in repr(request.headers).encode() + request.body
    said = "".join([*gateway.output, *gateway.errors])
    assert PROMPT_CANARY not in said
    assert CREDENTIAL not in said


def test_a_spent_budget_is_shown_after_one_request_that_the_upstream_never_sees(tmp_path: Path) -> None:
    budget = {"name": "team-month", "scope": {"workspace": "default"}, "usd": 0, "period": "month"}
    with ScriptedUpstream() as upstream, gateway_before(tmp_path, upstream, budgets=[budget]) as gateway:
        turn = claude(tmp_path, gateway).say("Hello.")
        assert upstream.requests == []
        assert turn.status == 1
        assert "API Error: 402" in turn.text
        assert "Budget 'team-month'" in turn.text
        rows = gateway.rows("requests")
        assert [(row["status"], row["outcome"], Decimal(row["cost_usd"])) for row in rows] == [
            (402, "refused", Decimal(0))
        ]


def test_a_budget_that_runs_out_within_a_session_stops_it_at_the_next_request(tmp_path: Path) -> None:
    budget = {"name": "key-day", "scope": {"key": "*"}, "usd": 1, "period": "day"}
    dear = {"input_tokens": 100_000, "output_tokens": 40_000}
    call = ToolCall("Bash", {"command": "echo hi"})
    script = [sse_message("Calling.", usage=usage(**dear), tool=call)]
    with (
        ScriptedUpstream(script) as upstream,
        gateway_before(tmp_path, upstream, budgets=[budget]) as gateway,
    ):
        turn = claude(tmp_path, gateway).say("Hello.")
        assert len(upstream.requests) == 1
        assert turn.status == 1
        assert "API Error: 402" in turn.text
        assert re.search(r"\$1\.20? of \$1(\.00)? spent", turn.text)
        rows = gateway.rows("requests")
        assert [(row["outcome"], Decimal(row["cost_usd"])) for row in rows] == [
            ("refused", Decimal(0)),
            ("finished", cost_usd(dear)),
        ]


def test_a_cut_stream_is_seen_as_cut_so_that_claude_code_asks_again(tmp_path: Path) -> None:
    used = {"input_tokens": 3, "output_tokens": 4}
    whole = sse_message("Whole at last.", usage=usage(**used))
    script = [whole.cut_after(len(whole.body) // 2), whole]
    with ScriptedUpstream(script) as upstream, gateway_before(tmp_path, upstream) as gateway:
        turn = claude(tmp_path, gateway).say("Hello.")
        assert (turn.status, turn.text.strip()) == (0, "Whole at last.")
        asked = [json.loads(request.body)["stream"] for request in upstream.requests]
        assert asked == [True, True]
        assert [row["outcome"] for row in gateway.rows("requests")] == ["finished", "upstream_cut"]


def test_the_callers_own_login_travels_on_and_the_gateway_key_does_not(tmp_path: Path) -> None:
    login = "sk-ant-oat01-canary-of-the-caller"
    used = {"input_tokens": 3, "output_tokens": 4}
    script = [sse_message("Hello.", usage=usage(**used))]
    with ScriptedUpstream(script) as upstream:
        with gateway_before(tmp_path, upstream, credential="caller") as gateway:
            client = claude(
                tmp_path,
                gateway,
                ANTHROPIC_AUTH_TOKEN=login,
                ANTHROPIC_CUSTOM_HEADERS=f"x-farebox-key: {gateway.gateway_key}",
            )
            assert client.say("Hello.").text.strip() == "Hello."
            (request,) = upstream.requests
            assert request.header("authorization") == f"Bearer {login}".encode()
            assert gateway.gateway_key not in repr(request.headers)
            assert [row["billing"] for row in gateway.rows("requests")] == ["subscription"]
        assert login not in "".join([*gateway.output, *gateway.errors])


def test_a_revoked_key_is_refused_at_once(tmp_path: Path) -> None:
    with ScriptedUpstream() as upstream, gateway_before(tmp_path, upstream) as gateway:
        made = gateway.json("keys", "create", "--name", "leaver")
        assert gateway.run("keys", "revoke", "leaver").returncode == 0
        client = ClaudeCode.pointed_at(tmp_path / "claude", gateway.base_url, made["key"])
        turn = client.say("Hello.")
        assert turn.status == 1
        assert turn.text.startswith(
            "Failed to authenticate. API Error: 401 This farebox gateway key is not valid"
        )
        assert upstream.requests == []
        assert gateway.rows("requests") == []


def test_a_missing_gateway_key_is_told_in_our_words(tmp_path: Path) -> None:
    with ScriptedUpstream() as upstream, gateway_before(tmp_path, upstream, credential="caller") as gateway:
        turn = claude(tmp_path, gateway, ANTHROPIC_AUTH_TOKEN="sk-ant-oat01-mine").say("Hello.")
        assert turn.status == 1
        assert KeyRefused(missing=True).message in turn.text
        assert upstream.requests == []


def test_a_missing_login_of_the_callers_own_is_told_in_our_words(tmp_path: Path) -> None:
    with ScriptedUpstream() as upstream, gateway_before(tmp_path, upstream, credential="caller") as gateway:
        turn = claude(tmp_path, gateway).say("Hello.")
        assert turn.status == 1
        assert CredentialMissing(PROVIDER).message in turn.text
        assert upstream.requests == []


def test_the_demo_model_needs_no_credential(tmp_path: Path) -> None:
    with GatewayProcess(tmp_path) as gateway:
        client = claude(tmp_path, gateway, ANTHROPIC_MODEL="@demo/claude-demo")
        turn = client.say('demo: tool Bash {"command": "echo hi > made-by-the-tool"}')
        assert turn.status == 0
        assert turn.text.startswith("The tool has answered.")
        assert (tmp_path / "claude/project/made-by-the-tool").read_text() == "hi\n"
        rows = gateway.rows("requests", "--session", turn.session_id)
        assert [(row["provider"], row["outcome"]) for row in rows] == [("demo", "finished")] * 2
        assert all(row["output_tokens"] > 0 and row["cache_write_5m_tokens"] > 0 for row in rows)
        assert all(Decimal(row["cost_usd"]) > 0 for row in rows)


def test_farebox_claude_sets_the_environment_itself(tmp_path: Path) -> None:
    used = {"input_tokens": 3, "output_tokens": 4}
    script = [sse_message("Hello.", usage=usage(**used))]
    with ScriptedUpstream(script) as upstream, gateway_before(tmp_path, upstream) as gateway:
        done = gateway.run("claude", "--", "-p", "Hello.", environment={**QUIET, "PATH": claude_path()})
        assert (done.returncode, done.stdout.strip()) == (0, "Hello.")
        assert done.stderr == (
            f"farebox: using the credential that farebox keeps for {PROVIDER}; --own-login uses your own\n"
        )
        (request,) = upstream.requests
        assert request.header("x-claude-code-request-class") == b"main"
        assert [row["outcome"] for row in gateway.rows("requests")] == ["finished"]


def test_the_probe_that_claude_code_sends_at_start_is_answered_without_a_key(tmp_path: Path) -> None:
    with GatewayProcess(tmp_path) as gateway:
        probe = http.client.HTTPConnection(HOST, gateway.port, timeout=10)
        probe.request("HEAD", "/anthropic/api/hello")
        answer = probe.getresponse()
        assert (answer.status, answer.read()) == (200, b"")
        probe.close()
