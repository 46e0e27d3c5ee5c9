"""Where the whole of an answer does not fit, a budget may ask for a shorter one."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from farebox.domain.budget import Shortage, Standing, Unit
from farebox.domain.plan import Quote
from farebox.gateway.charging.amounts import held_touches
from farebox.gateway.charging.clamp import FLOOR_TOKENS, clamped
from tests.gateway.peers import USED
from tests.gateway.stage import Stage, Told, a_file, a_provider, a_stage, asking
from tests.gateway.test_reserve import QUOTE, an_option
from tests.support.bedrock import bedrock_stream
from tests.support.builders import a_budget
from tests.support.laptop import Laptop
from tests.support.upstream import ScriptedUpstream
from tests.support.upstream_replies import error_reply, json_message, sse_message

INPUT, OUTPUT = 4_000_000, 20_000_000
"""Picodollars a token of claude-opus-5-5."""


def clamping(usd: object = "0.1", **fields: object) -> dict[str, object]:
    return {"name": "b", "scope": {}, "period": "day", "usd": usd, "clamp": True, **fields}


def whole(*, max_tokens: int = 32_000, stream: bool = False, **fields: object) -> bytes:
    return asking("Hi.", stream=stream, max_tokens=max_tokens, **fields)


def sent_max_tokens(stage: Stage) -> list[int]:
    return [json.loads(request.body)["max_tokens"] for request in stage.upstream.sent]


async def told_about(folder: Path, body: bytes, **budget: object) -> tuple[Told, list[int]]:
    async with a_stage(folder, a_file(budgets=[clamping(**budget)])) as stage:
        return await stage.ask(body), sent_max_tokens(stage)


async def test_what_does_not_fit_whole_is_asked_for_shorter_and_told(tmp_path: Path) -> None:
    body = whole()
    async with a_stage(tmp_path, a_file(budgets=[clamping()])) as stage:
        told = await stage.ask(body)
        [sent] = stage.upstream.sent
        # 0.1 USD less the input bound, at 20 USD for a million tokens.
        fits = (100_000_000_000 - (len(body) * 10 // 13 + 1) * INPUT) // OUTPUT
        assert (told.status, told.header("x-farebox-max-tokens")) == (200, str(fits))
        assert sent.body == body.replace(b'"max_tokens":32000', b'"max_tokens":%d' % fits)
        [row] = await stage.rows()
        assert (row.status, row.overrun_picodollars) == (200, 0)


async def test_what_fits_goes_out_as_it_came(tmp_path: Path) -> None:
    async with a_stage(tmp_path, a_file(budgets=[clamping(usd=5)])) as stage:
        body = whole()
        told = await stage.ask(body)
        assert (told.status, told.header("x-farebox-max-tokens")) == (200, None)
        assert stage.upstream.sent[0].body == body


@pytest.mark.parametrize(
    ("fields", "budget"),
    [
        ({}, {"clamp": False}),
        ({}, {"usd": "0.01"}),
        ({"max_tokens": 1_000}, {"usd": "0.015"}),
        ({"thinking": {"type": "enabled", "budget_tokens": 10_000}}, {}),
    ],
    ids=["no clamp", "too little left", "little asked for", "set aside for thinking"],
)
async def test_where_a_shorter_answer_is_no_help_the_request_is_refused(
    fields: dict[str, Any], budget: dict[str, Any], tmp_path: Path
) -> None:
    told, sent = await told_about(tmp_path, whole(**fields), **budget)
    assert (told.status, sent, told.header("x-farebox-max-tokens")) == (402, [], None)


async def test_a_stream_that_can_be_cut_is_not_asked_to_be_shorter(tmp_path: Path) -> None:
    told, sent = await told_about(tmp_path, whole(stream=True))
    assert (told.status, sent) == (200, [32_000])


async def test_a_stream_with_server_tools_cannot_be_cut_and_is(tmp_path: Path) -> None:
    tools = [{"type": "web_search_20250305", "name": "web_search", "max_uses": 1}]
    told, [sent] = await told_about(tmp_path, whole(stream=True, tools=tools))
    assert told.status == 200
    assert FLOOR_TOKENS < sent < 5_000
    assert told.header("x-farebox-max-tokens") == str(sent)


async def test_a_token_budget_asks_for_as_many_tokens_as_it_has(tmp_path: Path) -> None:
    body = whole()
    budget = {"name": "t", "scope": {}, "period": "day", "tokens": 3_000, "count": ["output"], "clamp": True}
    async with a_stage(tmp_path, a_file(budgets=[budget])) as stage:
        assert (await stage.ask(body)).status == 200
        assert sent_max_tokens(stage) == [3_000]


async def test_the_tightest_of_several_budgets_decides(tmp_path: Path) -> None:
    budgets = [clamping("0.3"), {**clamping("0.1"), "name": "c"}, {**clamping("0.2"), "name": "d"}]
    async with a_stage(tmp_path, a_file(budgets=budgets)) as stage:
        assert (await stage.ask(whole())).status == 200
        [sent] = sent_max_tokens(stage)
        assert 4_900 < sent < 5_000


async def test_a_retry_is_told_as_short_as_it_was_asked_for(tmp_path: Path) -> None:
    file = a_file(
        budgets=[clamping()],
        configs=[{"slug": "again", "config": {"provider": "@anthropic", "retry": {"attempts": 1}}}],
        keys=[{"name": "alice", "config": "again"}],
        providers=[a_provider()],
    )
    async with a_stage(tmp_path, file) as stage:
        answers = [error_reply(529, "overloaded_error", "Not now."), json_message(usage=USED)]
        stage.upstream.script = lambda _: answers.pop(0)
        told = await stage.ask(whole())
        first, second = sent_max_tokens(stage)
        assert first == second < 5_000
        assert told.header("x-farebox-max-tokens") == str(second)


def a_quote(output_tokens_max: int, runs: int) -> Quote:
    return replace(
        QUOTE,
        in_slices=False,
        output_runs=runs,
        output_tokens_max=output_tokens_max,
        output_tokens=output_tokens_max * runs,
    )


@given(
    limit=st.integers(0, 2_000_000),
    settled=st.integers(0, 100_000),
    held=st.integers(0, 100_000),
    asked=st.integers(1, 60_000),
    runs=st.integers(1, 3),
    unit=st.sampled_from(Unit),
)
def test_a_shorter_answer_fits_exactly_and_one_token_more_would_not(
    limit: int, settled: int, held: int, asked: int, runs: int, unit: Unit
) -> None:
    budget = a_budget(limit=limit, unit=unit, clamp=True)
    option = an_option(budget)
    quote = a_quote(asked, runs)
    option = dataclasses.replace(option, quote=quote)
    [touch] = held_touches(option, quote)
    standing = Standing(settled, held)
    if settled + held + touch.amount <= limit:
        return
    shorter = clamped(option, Shortage(touch, standing), None)
    if shorter is None:
        return
    lowered = shorter.quote.output_tokens_max
    assert FLOOR_TOKENS <= lowered < asked
    assert json.loads(shorter.body)["max_tokens"] == lowered == shorter.lowered_to
    [fits], [too_much] = held_touches(option, shorter.quote), held_touches(option, a_quote(lowered + 1, runs))
    assert settled + held + fits.amount <= limit < settled + held + too_much.amount


def test_a_stream_of_bedrock_cannot_be_cut_and_is_asked_for_shorter(tmp_path: Path) -> None:
    provider = {"slug": "bedrock", "type": "bedrock", "region": "eu-central-1", "credential": "env:AWS_KEYS"}
    keys = {"access_key_id": "AKIDEXAMPLE", "secret_access_key": "secret"}
    answer = bedrock_stream(sse_message(usage=USED, model="claude-sonnet-4-5"))
    with ScriptedUpstream([answer]) as upstream:
        policy = {
            "providers": [{**provider, "base_url": upstream.base_url}],
            "keys": [{"name": "alice"}],
            "budgets": [clamping()],
        }
        with Laptop(tmp_path, policy, environment={"AWS_KEYS": json.dumps(keys)}) as gateway:
            told = gateway.ask(whole(model="claude-sonnet-4-5", stream=True))
            [sent] = [json.loads(request.body)["max_tokens"] for request in upstream.requests]
            assert (told.status, told.header("x-farebox-max-tokens")) == (200, b"%d" % sent)
            assert FLOOR_TOKENS < sent < 7_000
