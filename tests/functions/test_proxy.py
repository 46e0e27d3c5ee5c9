"""The proxy function as Lambda runs it, over an emulated account: its answers, its books, what it tells."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from dataclasses import asdict
from urllib.parse import quote, unquote

import pytest

from farebox.domain.record import Outcome
from farebox.wire.event_stream import FrameReader
from tests.infra.conftest import Cloud, clouds, dev
from tests.infra.parts import listed, statements
from tests.support.bedrock import data_lines
from tests.support.cloud.actions import ActionProxy
from tests.support.cloud.client import asking
from tests.support.cloud.function_url import FunctionUrl
from tests.support.cloud.stage import PROVIDER_SECRET, Stage, a_policy, a_stage, keep_secret
from tests.support.dynamo import CREDENTIALS, REGION
from tests.support.google import AUDIENCE, a_pair, claims_of, form_of, granted, service_account_file
from tests.support.laptop import asking as message
from tests.support.ministack import Ministack, ministack
from tests.support.upstream import (
    Ending,
    Received,
    Reply,
    ScriptedUpstream,
    json_message,
    sse_message,
    usage,
)
from tests.support.vertex import ACCOUNT, PROJECT

__all__ = ["clouds", "dev", "ministack"]

USAGE = usage(input_tokens=3, output_tokens=2)
ANSWER = sse_message("An answer of a few words.", usage=USAGE)
PROMPT = "the-secret-word-is-wolpertinger"
GOOGLE_SECRET_ID = "farebox/test/google"
CACHED = {
    "configs": [{"slug": "cached", "config": {"provider": "@anthropic", "cache": "simple"}}],
    "workspaces": [{"slug": "default", "config": "cached"}],
}


@pytest.fixture
def port(ministack: Ministack) -> int:
    keep_secret(ministack.port)
    return ministack.port


def headers(stage: Stage, name: str = "alice") -> list[tuple[str, str]]:
    return [("content-type", "application/json"), ("x-farebox-key", stage.keys[name])]


async def test_answers_pass_byte_for_byte_and_are_in_the_books_before_the_freeze(port: int) -> None:
    whole = json_message(usage=USAGE)
    with ScriptedUpstream([ANSWER, whole]) as upstream:
        async with a_stage(port, a_policy(upstream)) as stage:
            async with FunctionUrl(stage.proxy()) as url:
                for body, told in ((message(PROMPT, stream=True), ANSWER), (message(PROMPT), whole)):
                    async with asking(url.port, "/v1/messages", body=body, headers=headers(stage)) as reply:
                        assert (reply.status, await reply.read()) == (200, told.body)
                    await url.all_frozen()
                assert [row.outcome for row in await stage.rows()] == [Outcome.FINISHED] * 2
                assert await stage.drifts() == []
                log = url.log
            assert [invocation.ending for invocation in url.invocations] == ["whole", "whole"]
            assert [received.body for received in upstream.requests] == [
                message(PROMPT, stream=True),
                message(PROMPT),
            ]
            assert upstream.requests[0].header("x-api-key") == PROVIDER_SECRET.encode()
            for secret in (PROMPT, PROVIDER_SECRET, stage.key):
                assert secret not in log
            lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
            assert [line["requests"] for line in lines if "_aws" in line] == [1, 1]
            assert [line["cold_starts"] for line in lines if "_aws" in line] == [1, 0]
            assert [line["outcome"] for line in lines if line.get("event") == "request"] == ["finished"] * 2


async def test_answers_are_kept_before_the_freeze_and_given_again_by_another_environment(port: int) -> None:
    large = json_message(base64.b64encode(os.urandom(500_000)).decode(), usage=USAGE)
    with ScriptedUpstream([ANSWER, large]) as upstream:
        async with a_stage(port, a_policy(upstream, **CACHED)) as stage:
            for expected in ("MISS", "HIT"):
                async with FunctionUrl(stage.proxy()) as url:
                    for body, told in ((message(PROMPT, stream=True), ANSWER), (message(PROMPT), large)):
                        async with asking(
                            url.port, "/v1/messages", body=body, headers=headers(stage)
                        ) as reply:
                            assert (reply.status, await reply.read()) == (200, told.body)
                            assert reply.head.value("x-farebox-cache-status") == expected
                        await url.all_frozen()
                    log = url.log
            assert len(upstream.requests) == 2
            rows = await stage.rows()
            assert [row.outcome for row in rows] == [Outcome.CACHED] * 2 + [Outcome.FINISHED] * 2
            assert [row.saved_picodollars for row in rows] == [row.cost_picodollars for row in rows[2:]] + [
                0,
                0,
            ]
            assert await stage.drifts() == []
            assert "cache_hits" in log
            assert PROMPT not in log


async def test_a_client_of_bedrocks_gets_frames_and_is_booked(port: int) -> None:
    model = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
    with ScriptedUpstream([ANSWER]) as upstream:
        async with a_stage(port, a_policy(upstream)) as stage:
            async with FunctionUrl(stage.proxy()) as url:
                target = f"/model/{quote(model, safe='')}/invoke-with-response-stream"
                async with asking(url.port, target, body=message(PROMPT), headers=headers(stage)) as reply:
                    frames = FrameReader().feed(await reply.read())
                    assert reply.head.value("content-type") == "application/vnd.amazon.eventstream"
                await url.all_frozen()
            told = [base64.b64decode(json.loads(frame.payload)["bytes"]) for frame in frames]
            assert told == data_lines(ANSWER.body)
            [row] = await stage.rows()
            assert (row.outcome, row.usage.output_tokens) == (Outcome.FINISHED, 2)
            assert json.loads(upstream.requests[0].body)["model"] == "claude-sonnet-4-5-20250929"
            assert await stage.drifts() == []


async def test_vertex_is_asked_as_the_functions_role_or_with_a_kept_key(port: int) -> None:
    keep_secret(port, GOOGLE_SECRET_ID, service_account_file())
    shown: dict[bytes, dict[str, str]] = {}

    def google(received: Received) -> Reply:
        if received.target in (b"/v1/token", b"/token"):
            shown[received.target] = form_of(received.body)
            return granted("ya29.of-the-role" if received.target == b"/v1/token" else "ya29.of-the-key")
        return ANSWER

    place = {"type": "vertex", "region": "global", "project": PROJECT}
    with ScriptedUpstream(google) as upstream:
        by_role = {"slug": "role", **place, "audience": AUDIENCE, "base_url": upstream.base_url}
        by_key = {
            "slug": "key",
            **place,
            "credential": f"secretsmanager:{GOOGLE_SECRET_ID}",
            "base_url": upstream.base_url,
        }
        async with a_stage(port, a_policy(upstream, providers=[by_role, by_key])) as stage:
            async with FunctionUrl(stage.proxy({"FAREBOX_GOOGLE_ENDPOINT_URL": upstream.base_url})) as url:
                for slug in ("role", "key", "role"):
                    named = [*headers(stage), ("x-farebox-provider", f"@{slug}")]
                    body = message(PROMPT, stream=True)
                    async with asking(url.port, "/v1/messages", body=body, headers=named) as reply:
                        assert (reply.status, await reply.read()) == (200, ANSWER.body)
                    await url.all_frozen()
                log = url.log
            assert [row.outcome for row in await stage.rows()] == [Outcome.FINISHED] * 3
            assert await stage.drifts() == []
    tokens = [
        request.header("authorization") for request in upstream.requests if b"/models/" in request.target
    ]
    assert tokens == [b"Bearer ya29.of-the-role", b"Bearer ya29.of-the-key", b"Bearer ya29.of-the-role"]
    subject = unquote(shown[b"/v1/token"]["subject_token"])
    assert f"Credential={CREDENTIALS.access_key_id}/" in subject
    assert f"https://sts.{REGION}.amazonaws.com?Action=GetCallerIdentity" in subject
    assert claims_of(shown[b"/token"]["assertion"])["iss"] == ACCOUNT
    for secret in ("ya29.", a_pair().private.splitlines()[1]):
        assert secret not in log


async def test_a_stream_that_reaches_the_functions_time_is_booked_and_cut(port: int) -> None:
    stalled = ANSWER.with_piece(4, Ending.STALL)
    with ScriptedUpstream([stalled]) as upstream:
        async with a_stage(port, a_policy(upstream)) as stage:
            async with FunctionUrl(stage.proxy(timeout_s=6.0)) as url:
                body = message(stream=True)
                async with asking(url.port, "/v1/messages", body=body, headers=headers(stage)) as reply:
                    await reply.read()
                    assert not reply.is_whole
                await url.all_frozen()
            [row] = await stage.rows()
            assert row.outcome is Outcome.STOPPED
            assert row.charged_picodollars > 0
            assert await stage.drifts() == []


async def test_a_spent_budget_and_a_revoked_key_are_refused_in_anthropics_shape(port: int) -> None:
    spent = {"name": "team-month", "scope": {"workspace": "default"}, "usd": 0, "period": "month"}
    with ScriptedUpstream() as upstream:
        async with (
            a_stage(port, a_policy(upstream, budgets=[spent])) as stage,
            FunctionUrl(stage.proxy()) as url,
        ):
            told = {}
            for status, named in ((402, headers(stage)), (401, [("x-farebox-key", "fb-" + "0" * 40)])):
                async with asking(url.port, "/v1/messages", body=message(), headers=named) as reply:
                    told[status] = (reply.status, json.loads(await reply.read()))
            assert {status: answered[0] for status, answered in told.items()} == {402: 402, 401: 401}
            assert told[402][1]["error"]["type"] == "billing_error"
            assert "Budget 'team-month'" in told[402][1]["error"]["message"]
            assert upstream.requests == []
            await url.all_frozen()
            assert [row.outcome for row in await stage.rows()] == [Outcome.REFUSED]


async def test_many_at_once_are_booked_exactly_one_stream_to_an_environment(port: int) -> None:
    clients, environments = 12, 4
    with ScriptedUpstream(lambda received: ANSWER) as upstream:
        async with a_stage(port, a_policy(upstream)) as stage:
            async with FunctionUrl(stage.proxy(), environments=environments) as url:

                async def until_served() -> None:
                    while True:
                        async with asking(
                            url.port, "/v1/messages", body=message(stream=True), headers=headers(stage)
                        ) as reply:
                            body = await reply.read()
                            if reply.status == 200:
                                assert body == ANSWER.body
                                return
                            assert reply.status == 429
                        # What Lambda throttles may come again as soon as an environment is free.
                        await url.one_frozen()

                await asyncio.gather(*(until_served() for _ in range(clients)))
                await url.all_frozen()
                assert len(url.environments) <= environments
            rows = await stage.rows()
            assert [row.outcome for row in rows] == [Outcome.FINISHED] * clients
            assert await stage.drifts() == []
            [standing] = await stage.store.store.reports.standings(
                (await stage.store.store.policies.current()).budgets, stage.store.clock.now()
            )
            assert standing.standing.settled == sum(row.charged_picodollars for row in rows)
            assert standing.standing.held == 0


async def test_the_role_may_do_all_that_the_proxy_asks_for(port: int, dev: Cloud) -> None:
    """A brief life: streams that are topped up, an answer at once, refusals, a limit, a store read anew."""
    long = sse_message("word " * 3_000, usage=usage(input_tokens=3, output_tokens=6_000))
    limit = {"name": "pace", "scope": {"key": "*"}, "requests": 3, "per": "minute"}
    with ScriptedUpstream([long, json_message(usage=USAGE), ANSWER]) as upstream:
        async with (
            ActionProxy(port) as between,
            a_stage(port, a_policy(upstream, rate_limits=[limit], **CACHED)) as stage,
        ):
            between_only = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{between.port}"}
            async with FunctionUrl(stage.proxy(between_only)) as url:
                told = []
                asked_for = [message(text) for text in "abc"]
                for body in (message(stream=True, max_tokens=9_000), *asked_for):
                    async with asking(url.port, "/v1/messages", body=body, headers=headers(stage)) as reply:
                        await reply.read()
                        told.append(reply.status)
                await url.all_frozen()
        assert told == [200, 200, 200, 429]
        tables = {name: logical for logical, name in asdict(stage.store.deployment.tables).items()}
        asked = {(action, tables.get(table, table)) for action, table in between.asked}
    assert ("dynamodb:UpdateItem", "budgets") in asked
    assert ("dynamodb:PutItem", "cache") in asked
    for action, table in asked:
        assert is_allowed(dev, action, table), f"the role may not {action} on {table}"


def is_allowed(cloud: Cloud, action: str, table: str) -> bool:
    return any(
        action in listed(statement["Action"])
        and (not table or f"{table.capitalize()}Table" in json.dumps(statement["Resource"]))
        for statement in statements(cloud, "proxy")
    )
