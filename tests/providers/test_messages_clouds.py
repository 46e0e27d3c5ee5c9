"""Foundry and Claude Platform on AWS through a gateway: what is asked, what is seen, what is booked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from farebox.domain.record import Outcome
from farebox.domain.usage import CostStatus
from tests.support.laptop import Laptop, asking
from tests.support.upstream import Reply, ScriptedUpstream, sse_message, usage

MODEL = "claude-sonnet-4-5"
ANSWER = sse_message("A few words.", usage=usage(input_tokens=30, output_tokens=20), model=MODEL)
KEY = "cloud-key-canary"
KEYS = json.dumps({"access_key_id": "AKIDEXAMPLE", "secret_access_key": "s", "session_token": "t"})
JSON = (("Content-Type", "application/json"),)
FOUNDRY = {"type": "foundry", "resource": "ours"}
ON_AWS = {"type": "anthropic-aws", "region": "us-east-1", "workspace_id": "wrkspc_1"}
BOTH = pytest.mark.parametrize("kind", [FOUNDRY, ON_AWS], ids=["foundry", "anthropic-aws"])


def laptop(
    folder: Path,
    upstream: ScriptedUpstream,
    kind: dict[str, str],
    secret: str = KEY,
    *,
    environment: dict[str, str] | None = None,
) -> Laptop:
    provider = {"slug": "cloud", "credential": "env:CLOUD_KEY", "base_url": upstream.base_url, **kind}
    policy: dict[str, Any] = {
        "providers": [provider],
        "keys": [{"name": "alice", "user": "alice@example.com"}],
        "budgets": [{"name": "everyone-day", "scope": {}, "usd": 1000, "period": "day"}],
    }
    return Laptop(folder, policy, environment={"CLOUD_KEY": secret, **(environment or {})})


@BOTH
def test_a_stream_passes_as_it_is_under_the_clouds_key_and_is_booked(
    tmp_path: Path, kind: dict[str, str]
) -> None:
    with ScriptedUpstream([ANSWER]) as upstream, laptop(tmp_path, upstream, kind) as gateway:
        answer = gateway.ask(asking(stream=True))
        assert (answer.status, answer.body) == (200, ANSWER.body)
        [row] = gateway.settled(1)
        assert KEY not in "".join(gateway.log)
    assert (row.outcome, row.cost_status) == (Outcome.FINISHED, CostStatus.PRICED)
    assert (row.model, row.usage.output_tokens) == (MODEL, 20)
    [asked] = upstream.requests
    assert asked.target == b"/v1/messages"
    sent = [asked.header(name) for name in ("x-api-key", "api-key", "authorization")]
    key = KEY.encode()
    assert sent == ([key, key, None] if kind is FOUNDRY else [None, None, b"Bearer " + key])


def test_foundry_is_asked_by_an_application_of_entra_with_one_token_for_many_requests(tmp_path: Path) -> None:
    given = Reply(200, JSON, (b'{"token_type":"Bearer","expires_in":3599,"access_token":"token-canary"}',))
    kind = {**FOUNDRY, "tenant_id": "ours.example", "client_id": "66666666-7777-8888-9999-000000000000"}
    with ScriptedUpstream([given]) as entra, ScriptedUpstream([ANSWER] * 3) as upstream:
        environment = {"AZURE_AUTHORITY_HOST": entra.base_url}
        with laptop(tmp_path, upstream, kind, environment=environment) as gateway:
            assert [gateway.ask(asking(stream=True)).status for _ in range(3)] == [200] * 3
            assert len(gateway.settled(3)) == 3
            log = "".join(gateway.log)
    [asked] = entra.requests
    assert asked.target == b"/ours.example/oauth2/v2.0/token"
    assert f"client_secret={KEY}".encode() in asked.body
    assert [each.header("authorization") for each in upstream.requests] == [b"Bearer token-canary"] * 3
    assert {each.header("x-api-key") or each.header("api-key") for each in upstream.requests} == {None}
    assert "token-canary" not in log
    assert KEY not in log


def test_an_entra_that_gives_no_token_is_a_fault_of_the_provider_that_costs_nothing(tmp_path: Path) -> None:
    refusal = Reply(401, JSON, (b'{"error":"invalid_client","error_description":"AADSTS7000222: expired"}',))
    kind = {**FOUNDRY, "tenant_id": "ours.example", "client_id": "66666666-7777-8888-9999-000000000000"}
    with ScriptedUpstream([refusal]) as entra, ScriptedUpstream([ANSWER]) as upstream:
        environment = {"AZURE_AUTHORITY_HOST": entra.base_url}
        with laptop(tmp_path, upstream, kind, environment=environment) as gateway:
            answer = gateway.ask(asking())
            assert answer.status == 500
            assert gateway.settled(1)[0].charged_picodollars == 0
    assert upstream.requests == []


def test_claude_platform_on_aws_is_asked_for_the_workspace_and_signed(tmp_path: Path) -> None:
    with ScriptedUpstream([ANSWER]) as upstream, laptop(tmp_path, upstream, ON_AWS, KEYS) as gateway:
        assert gateway.ask(asking(stream=True)).status == 200
    [asked] = upstream.requests
    assert b"/us-east-1/aws-external-anthropic/aws4_request" in (asked.header("authorization") or b"")
    assert asked.header("anthropic-workspace-id") == b"wrkspc_1"
    assert asked.header("x-api-key") is None


@BOTH
def test_a_refused_credential_of_farebox_does_not_log_the_caller_out(
    tmp_path: Path, kind: dict[str, str]
) -> None:
    refusal = Reply(401, JSON, (b'{"error":{"code":"401","message":"Access denied."}}',))
    with ScriptedUpstream([refusal]) as upstream, laptop(tmp_path, upstream, kind) as gateway:
        answer = gateway.ask(asking())
        assert (answer.status, answer.header("x-should-retry")) == (403, b"false")
        assert json.loads(answer.body)["error"]["message"] == "Access denied."
        assert gateway.settled(1)[0].charged_picodollars == 0


@BOTH
def test_tokens_are_counted_and_never_as_nothing(tmp_path: Path, kind: dict[str, str]) -> None:
    script = [Reply(200, JSON, (b'{"input_tokens":321}',)), Reply(200, JSON, (b'{"input_tokens":0}',))]
    with ScriptedUpstream(script) as upstream, laptop(tmp_path, upstream, kind) as gateway:
        target = "/v1/messages/count_tokens"
        assert json.loads(gateway.ask(asking(), target=target).body) == {"input_tokens": 321}
        assert gateway.ask(asking(), target=target).status >= 500
