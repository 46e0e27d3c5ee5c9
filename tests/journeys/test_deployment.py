"""From clone to Claude Code: the CDK CLI deploys the real app into an emulated account, and it is used."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from decimal import Decimal
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from farebox.compose.deployment import stack_name
from tests.journeys.claude_code import ClaudeCode
from tests.journeys.operator import ACCOUNT, STAGE, Operator
from tests.journeys.scene import CREDENTIAL, MODEL, PROVIDER, cost_usd
from tests.support.cloud.client import asking
from tests.support.cloud.function_url import FunctionUrl
from tests.support.dynamo import REGION
from tests.support.laptop import asking as message
from tests.support.ministack import whole_ministack
from tests.support.upstream import ScriptedUpstream, ToolCall, sse_message, usage

pytestmark = pytest.mark.journey

SECRET = f"farebox/{STAGE}/anthropic"
REVOKED_WITHIN_S = 5.0
CLIENTS, ENVIRONMENTS = 100, 20


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """Deploy once for all tests of this file, and make the first admin key."""
    with whole_ministack() as server:
        operator = Operator(server.port, tmp_path_factory.mktemp("operator"))
        operator.cdk("bootstrap", f"aws://{ACCOUNT}/{REGION}")
        operator.cdk("deploy", "--all", "--require-approval", "never")
        made = operator.told("bootstrap", "--region", REGION)
        operator.use_admin_plane(made["admin_url"], made["admin_key"])
        operator.put_secret(SECRET, CREDENTIAL)
        yield operator


def policy(upstream: ScriptedUpstream, *names: str, **sections: Any) -> dict[str, Any]:
    provider = {
        "slug": PROVIDER,
        "type": "anthropic",
        "credential": f"secretsmanager:{SECRET}",
        "base_url": upstream.base_url,
    }
    keys = [{"name": name, "user": f"{name}@example.com"} for name in names]
    return {"providers": [provider], "keys": keys, **sections}


def test_the_first_admin_key_is_made_once(operator: Operator) -> None:
    again = operator.farebox("bootstrap", "--region", REGION)
    assert again.returncode != 0
    assert "has an admin key already: 'first'" in again.stderr
    assert operator.gateway_url().startswith("https://")


async def test_claude_code_goes_through_the_function_url_and_is_booked(
    operator: Operator, tmp_path: Path
) -> None:
    used = [
        {"input_tokens": 12, "output_tokens": 31, "cache_write_5m_tokens": 9001},
        {"input_tokens": 5, "output_tokens": 17, "cache_read_tokens": 9001},
    ]
    script = [
        sse_message(
            "Calling.", usage=usage(**used[0]), tool=ToolCall("Bash", {"command": "echo hi-$((6*7))"})
        ),
        sse_message("Done.", usage=usage(**used[1])).rechunked(7),
    ]
    budget = {"name": "key-day", "scope": {"key": "*"}, "usd": 20, "period": "day"}
    with ScriptedUpstream(script) as upstream:
        keys = await asyncio.to_thread(operator.apply, policy(upstream, "alice", budgets=[budget]))
        async with FunctionUrl(operator.proxy()) as url:
            client = ClaudeCode.pointed_at(tmp_path / "claude", url.url, keys["alice"])
            turn = await asyncio.to_thread(client.say, "the-secret-word-is-wolpertinger")
            await url.all_frozen()
            log = url.log
        assert (turn.status, turn.text.strip()) == (0, "Done.")
        assert {received.header("x-api-key") for received in upstream.messages} == {CREDENTIAL.encode()}
        answer = json.loads(upstream.messages[1].body)["messages"][-1]["content"][-1]
        assert (answer["type"], answer["content"]) == ("tool_result", "hi-42")

    total = sum((cost_usd(tokens) for tokens in used), Decimal(0))
    rows = operator.told("requests", "--session", turn.session_id)["rows"]
    assert [(row["model"], row["outcome"]) for row in rows] == [(MODEL, "finished")] * 2
    assert sum(Decimal(row["cost_usd"]) for row in rows) == total
    assert turn.result["total_cost_usd"] == pytest.approx(float(total))
    assert operator.farebox("ledger", "verify").returncode == 0
    for secret in (CREDENTIAL, keys["alice"], "wolpertinger"):
        assert secret not in log


async def test_a_spent_budget_and_a_revoked_key_are_refused_at_once(
    operator: Operator, tmp_path: Path
) -> None:
    budget = {"name": "bob-day", "scope": {"key": "bob"}, "usd": 0, "period": "day"}
    with ScriptedUpstream(lambda received: sse_message(usage=usage(input_tokens=1))) as upstream:
        keys = await asyncio.to_thread(operator.apply, policy(upstream, "bob", "carol", budgets=[budget]))
        async with FunctionUrl(operator.proxy()) as url:
            client = ClaudeCode.pointed_at(tmp_path / "claude", url.url, keys["bob"])
            turn = await asyncio.to_thread(client.say, "Hello.")
            assert turn.status == 1
            assert "API Error: 402" in turn.text
            assert "Budget 'bob-day'" in turn.text
            assert upstream.messages == []

            assert await status_with(url, keys["carol"]) == 200
            done = await asyncio.to_thread(operator.farebox, "keys", "revoke", "carol")
            assert done.returncode == 0, done.stderr
            revoked_at = time.monotonic()
            while (status := await status_with(url, keys["carol"])) == 200:
                assert time.monotonic() - revoked_at < REVOKED_WITHIN_S
            assert status == 401


async def test_a_hundred_clients_over_twenty_environments_leave_exact_books(operator: Operator) -> None:
    answer = sse_message("A few words.", usage=usage(input_tokens=30, output_tokens=20))
    budget = {"name": "dave-day", "scope": {"key": "dave"}, "usd": 500, "period": "day"}
    with ScriptedUpstream(lambda received: answer) as upstream:
        keys = await asyncio.to_thread(operator.apply, policy(upstream, "dave", budgets=[budget]))
        async with FunctionUrl(operator.proxy(), environments=ENVIRONMENTS) as url:
            await asyncio.gather(*(served(url, keys["dave"], answer.body) for _ in range(CLIENTS)))
            await url.all_frozen()
            assert len(url.environments) <= ENVIRONMENTS
            assert url.throttled > 0
        assert len(upstream.messages) == CLIENTS
    cost = CLIENTS * cost_usd({"input_tokens": 30, "output_tokens": 20})
    [used] = [row for row in operator.told("usage", "--by", "key")["rows"] if row["key"] == "dave"]
    assert (used["requests"], Decimal(used["cost_usd"])) == (CLIENTS, cost)
    [bucket] = [row for row in operator.told("budgets")["rows"] if row["name"] == "dave-day"]
    assert (Decimal(bucket["settled_usd"]), Decimal(bucket["held_usd"])) == (cost, Decimal(0))
    assert operator.farebox("ledger", "verify").returncode == 0


async def test_what_was_used_is_summed_and_a_crossing_reaches_whoever_subscribed(operator: Operator) -> None:
    """A relay that is away loses nothing: a replay brings it, and what comes twice counts once."""
    answer = sse_message("A few words.", usage=usage(input_tokens=30, output_tokens=20))
    each = cost_usd({"input_tokens": 30, "output_tokens": 20})
    limit = {"name": "erin-day", "scope": {"key": "erin"}, "usd": str(each * 3 / 2), "period": "day"}
    budget = {**limit, "alerts": [50], "on_exhausted": "alert"}
    mailbox = operator.open_mailbox()
    with ScriptedUpstream(lambda received: answer) as upstream:
        keys = await asyncio.to_thread(operator.apply, policy(upstream, "erin", budgets=[budget]))
        async with FunctionUrl(operator.proxy()) as url:
            assert await status_with(url, keys["erin"]) == 200
            [alert] = await asyncio.to_thread(operator.alerts, mailbox, 1)
            assert (alert["kind"], alert["budget"], alert["threshold"]) == (
                "budget_threshold",
                "erin-day",
                50,
            )
            assert alert["command"].startswith("farebox budgets raise erin-day ")
            sums = await asyncio.to_thread(operator.sums_reach, "erin", 1)
            assert list(sums.values()) == [1, 1, 1]

            operator.set_relay(is_on=False)
            assert await status_with(url, keys["erin"]) == 200
            for _ in range(2):
                assert (await asyncio.to_thread(operator.told, "replay", "--since", "1h"))["announced"] > 0
            sums = await asyncio.to_thread(operator.sums_reach, "erin", 2)
            assert list(sums.values()) == [2, 2, 2]

            operator.set_relay(is_on=True)
            assert await status_with(url, keys["erin"]) == 200
            # Had anything been counted twice by then, it would be more than three.
            sums = await asyncio.to_thread(operator.sums_reach, "erin", 3)
            assert list(sums.values()) == [3, 3, 3]
    operator.close_mailbox(mailbox)


async def served(url: FunctionUrl, key: str, expected: bytes) -> None:
    """Ask until it is answered: what Lambda throttles comes again as soon as an environment is free."""
    headers = [("content-type", "application/json"), ("x-farebox-key", key)]
    while True:
        async with asking(url.port, "/v1/messages", body=message(stream=True), headers=headers) as reply:
            body = await reply.read()
        if reply.status != HTTPStatus.TOO_MANY_REQUESTS:
            assert (reply.status, body) == (200, expected)
            return
        await url.one_frozen()


async def status_with(url: FunctionUrl, key: str) -> int:
    headers = [("content-type", "application/json"), ("x-farebox-key", key)]
    async with asking(url.port, "/v1/messages", body=message(stream=True), headers=headers) as reply:
        await reply.read()
    await url.all_frozen()
    return reply.status


def test_taking_the_functions_away_leaves_the_books(operator: Operator) -> None:
    before, rows = operator.left(), operator.ledger_rows()
    assert (before["functions"], before["queues"], before["topics"]) == (6, 6, 1)
    assert rows > 0
    operator.cdk("destroy", stack_name(STAGE, "gateway"), stack_name(STAGE, "jobs"), "--force")
    assert operator.left() == {
        "functions": 0,
        "queues": 0,
        "topics": 0,
        "event buses": 1,  # the account's own
        "tables": before["tables"],
        "secrets": before["secrets"],
    }
    assert operator.ledger_rows() == rows
