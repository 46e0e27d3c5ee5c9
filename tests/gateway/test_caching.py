"""The cache through the whole gateway: what is given again, to whom, what it costs, and what is kept."""

from __future__ import annotations

import asyncio
import gzip
import json
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from farebox.adapters.cache_entry import unpack
from farebox.adapters.local.sql.cache import LocalResponseCache
from farebox.domain.record import Outcome
from farebox.domain.routing.caching import CacheStatus
from farebox.domain.usage import Usage
from farebox.gateway.caching.cache import AnswerCache
from farebox.gateway.caching.question import BODY_BYTES_MAX
from farebox.gateway.caching.recording import ENTRY_BYTES_MAX, Room
from farebox.http.data_plane import DataPlane
from tests.gateway.peers import USED, CountingRandomness
from tests.gateway.stage import SECRET, Stage, Told, a_file, a_provider, a_stage, asking
from tests.support.upstream import Reply, error_reply, json_message, sse_message
from tests.support.upstream_replies import REQUEST_ID

SECOND = timedelta(seconds=1)
WORKSPACES = [{"slug": "default"}, {"slug": "research"}]
KEYS = [{"name": "alice"}, {"name": "bob"}, {"name": "rita", "workspace": "research"}]
COST = 1_400_000_000
"""Of 100 input and 50 output tokens at 4 and 20 USD a million."""


def caching(cache: object = "simple", **sections: object) -> dict[str, object]:
    """Write a policy whose workspaces both use a config that switches the cache on."""
    config = {"slug": "cached", "config": {"provider": "@anthropic", "cache": cache}}
    workspaces = [{**workspace, "config": "cached"} for workspace in WORKSPACES]
    return a_file(**{"configs": [config], "workspaces": workspaces, "keys": KEYS, **sections})


async def ask(stage: Stage, body: bytes | None = None, *, key: str = "alice", **headers: str) -> Told:
    """Ask, and wait until what is to be kept is kept."""
    told = await stage.ask(asking() if body is None else body, key=key, **headers)
    await stage.gateway.cache.drain()
    return told


def status(told: Told) -> str | None:
    assert told.header("x-farebox-cache-status") == told.header("x-portkey-cache-status")
    return told.header("x-farebox-cache-status")


async def statuses(stage: Stage, *questions: dict[str, str]) -> list[str | None]:
    return [status(await ask(stage, asking(), **question)) for question in questions]


def replying(stage: Stage, reply: Reply) -> None:
    stage.upstream.script = lambda _: reply


def with_cache(stage: Stage, cache: AnswerCache) -> None:
    """Let the stage's requests ask another cache."""
    gateway = replace(stage.gateway, cache=cache)
    stage.plane = DataPlane(gateway, CountingRandomness(), body_bytes_max=1_000_000)


async def test_a_stream_is_given_again_byte_for_byte_and_asks_nobody(tmp_path: Path) -> None:
    async with a_stage(tmp_path, caching()) as stage:
        replying(stage, sse_message("Hello there, how are you?", usage=USED).rechunked(7))
        first, again = await ask(stage), await ask(stage)
        assert (status(first), status(again)) == ("MISS", "HIT")
        assert again.body == first.body
        assert again.body.endswith(b'event: message_stop\ndata: {"type":"message_stop"}\n\n')
        assert again.header("content-type") == first.header("content-type")
        assert again.is_whole
        assert len(stage.upstream.sent) == 1


async def test_a_whole_answer_is_given_again_byte_for_byte(tmp_path: Path) -> None:
    async with a_stage(tmp_path, caching()) as stage:
        replying(stage, json_message(usage=USED))
        body = asking(stream=False)
        first, again = await ask(stage, body), await ask(stage, body)
        assert (status(first), status(again)) == ("MISS", "HIT")
        assert (again.status, again.body) == (200, first.body)
        assert again.header("content-length") == str(len(first.body))


async def test_a_hit_costs_nothing_and_says_what_it_saved(tmp_path: Path) -> None:
    budget = {"name": "day", "usd": 1, "period": "day"}
    tokens = {"name": "tokens", "tokens": 10_000, "period": "day", "scope": {"key": "*"}}
    async with a_stage(tmp_path, caching(budgets=[budget, tokens])) as stage:
        await ask(stage)
        settled = await stage.settled()
        await ask(stage, key="bob")
        assert await stage.settled() == settled
        assert await stage.held() == 0
        paid, saved = await stage.rows()
        assert (paid.cache_status, paid.cost_picodollars, paid.saved_picodollars) == (
            CacheStatus.MISS,
            COST,
            0,
        )
        assert (saved.outcome, saved.cache_status, saved.status) == (Outcome.CACHED, CacheStatus.HIT, 200)
        assert (saved.cost_picodollars, saved.charged_picodollars, saved.saved_picodollars) == (0, 0, COST)
        assert (saved.usage, saved.attempts, saved.key) == (Usage(), (), "bob")
        assert (saved.provider, saved.model) == ("anthropic", "claude-opus-5-5")
        assert saved.ttft_ms is not None
        assert [record.id for record in stage.finished] == [paid.id, saved.id]


async def test_an_answer_of_the_cache_says_which_answer_it_is(tmp_path: Path) -> None:
    async with a_stage(tmp_path, caching()) as stage:
        replying(stage, sse_message(usage=USED).with_headers(("anthropic-x", "y")))
        first, again = await ask(stage), await ask(stage)
        assert (first.header("request-id"), first.header("anthropic-x")) == (REQUEST_ID, "y")
        assert again.header("request-id") == again.header("x-farebox-request-id") != REQUEST_ID
        assert again.header("anthropic-x") is None
        assert again.header("x-farebox-provider") == "anthropic"
        assert again.header("x-farebox-last-used-option-index") == "config"


async def test_no_workspace_gets_the_answer_of_another(tmp_path: Path) -> None:
    async with a_stage(tmp_path, caching()) as stage:
        replying(stage, sse_message("The canary sings 5f3a.", usage=USED))
        assert status(await ask(stage)) == "MISS"
        replying(stage, sse_message("Something else.", usage=USED))
        other = await ask(stage, key="rita")
        assert (status(other), b"5f3a" in other.body) == ("MISS", False)
        assert b"canary" in (await ask(stage, key="bob")).body


async def test_workspaces_whose_configs_say_so_share_answers(tmp_path: Path) -> None:
    async with a_stage(tmp_path, caching({"mode": "simple", "across_workspaces": True})) as stage:
        assert await statuses(stage, {"key": "alice"}, {"key": "rita"}) == ["MISS", "HIT"]


async def test_a_config_of_a_callers_own_opens_no_other_workspace(tmp_path: Path) -> None:
    shared = json.dumps({"provider": "@anthropic", "cache": {"mode": "simple", "across_workspaces": True}})
    async with a_stage(tmp_path, caching()) as stage:
        assert await statuses(stage, {}, {"key": "rita", "x_farebox_config": shared}) == ["MISS", "MISS"]


async def test_a_login_of_the_callers_own_shares_with_nobody(tmp_path: Path) -> None:
    provider = a_provider(credential="caller")
    async with a_stage(tmp_path, caching(providers=[provider])) as stage:
        own = {"authorization": "Bearer sk-ant-oat01-mine"}
        told = [{**own, "key": "alice"}, {**own, "key": "alice"}, {**own, "key": "bob"}]
        assert await statuses(stage, *told) == ["MISS", "HIT", "MISS"]


@pytest.mark.parametrize(
    ("cache", "headers", "expected"),
    [
        (None, {}, "DISABLED"),
        (None, {"x_portkey_cache": "simple"}, "MISS"),
        (None, {"x_farebox_cache": "true"}, "MISS"),
        (None, {"x_portkey_cache": "nonsense"}, "DISABLED"),
        ("simple", {"x_portkey_cache": "false"}, "DISABLED"),
        ("simple", {"x_portkey_debug": "false"}, "DISABLED"),
        ("semantic", {}, "MISS"),
        ({"mode": "simple", "max_age": 60}, {}, "MISS"),
        ("simple", {"x_portkey_cache_force_refresh": "true"}, "REFRESH"),
        ("simple", {"x_farebox_cache_force_refresh": "false"}, "MISS"),
        ("simple", {"cache_control": "no-transform, max-age=0"}, "DISABLED"),
    ],
)
async def test_config_and_headers_say_whether_the_cache_is_asked(
    tmp_path: Path, cache: object, headers: dict[str, str], expected: str
) -> None:
    async with a_stage(tmp_path, caching(cache)) as stage:
        first, again = await ask(stage, asking(), **headers), await ask(stage, asking(), **headers)
        assert status(first) == expected
        assert status(again) == ("HIT" if expected == "MISS" else expected)
        assert [row.cache_status for row in await stage.rows()] == [
            str(status(first)).lower(),
            str(status(again)).lower(),
        ]


@pytest.mark.parametrize("narrowed", ["key", "workspace"])
async def test_who_may_not_choose_a_config_may_not_switch_the_cache_on(tmp_path: Path, narrowed: str) -> None:
    fixed = {"allow_config_override": False}
    key = {"name": "alice", **(fixed if narrowed == "key" else {})}
    workspace = {"slug": "default", **(fixed if narrowed == "workspace" else {})}
    async with a_stage(tmp_path, a_file(keys=[key], workspaces=[workspace])) as stage:
        assert status(await ask(stage, x_farebox_cache="true")) == "DISABLED"
        assert stage.cache.calls == []


async def test_a_namespace_stands_in_the_place_of_the_callers_metadata(tmp_path: Path) -> None:
    alice, bob = '{"_user":"alice"}', '{"_user":"bob"}'
    async with a_stage(tmp_path, caching()) as stage:
        asked = [{"x_portkey_metadata": alice}, {"x_portkey_metadata": bob}, {"x_portkey_metadata": alice}]
        assert await statuses(stage, *asked) == ["MISS", "MISS", "HIT"]
        named = [{**each, "x_portkey_cache_namespace": "all"} for each in asked]
        assert await statuses(stage, *named) == ["MISS", "HIT", "HIT"]
        assert await statuses(stage, {"x_portkey_cache_namespace": "other"}) == ["MISS"]


async def test_session_and_machine_do_not_matter_and_betas_do(tmp_path: Path) -> None:
    async with a_stage(tmp_path, caching()) as stage:
        for number in (1, 2):
            user_id = json.dumps({"device_id": f"d{number}", "session_id": f"s{number}"})
            body = asking(metadata={"user_id": user_id})
            told = await ask(
                stage, body, x_claude_code_session_id=f"s{number}", anthropic_beta=["a, b", "b,a"][number - 1]
            )
            assert status(told) == ("MISS" if number == 1 else "HIT")
        assert status(await ask(stage, body, anthropic_beta="a,b,c")) == "MISS"
        assert status(await ask(stage, body, anthropic_beta="a,b", anthropic_version="2023-06-01")) == "MISS"
        assert status(await ask(stage, asking("Hi!"))) == "MISS"
        assert status(await ask(stage, asking(stream=False))) == "MISS"


async def test_headers_that_a_config_sends_on_count_and_others_do_not(tmp_path: Path) -> None:
    config = {"provider": "@anthropic", "cache": "simple", "forward_headers": ["x-tenant"]}
    file = a_file(configs=[{"slug": "c", "config": config}], keys=[{"name": "alice", "config": "c"}])
    async with a_stage(tmp_path, file) as stage:
        asked = [{"x_tenant": "a", "x_other": "1"}, {"x_tenant": "a", "x_other": "2"}, {"x_tenant": "b"}]
        assert await statuses(stage, *asked) == ["MISS", "HIT", "MISS"]


async def test_an_answer_lives_as_long_as_its_config_says_and_no_longer(tmp_path: Path) -> None:
    async with a_stage(tmp_path, caching({"mode": "simple", "max_age": 60})) as stage:
        assert await statuses(stage, {}) == ["MISS"]
        stage.clock.advance(59 * SECOND)
        assert await statuses(stage, {}) == ["HIT"]
        stage.clock.advance(SECOND)
        assert await statuses(stage, {}, {}) == ["MISS", "HIT"]


async def test_a_config_says_how_long_before_a_header_does_and_the_default_is_a_week(tmp_path: Path) -> None:
    hour = json.dumps({"provider": "@anthropic", "cache": {"mode": "simple", "max_age": 3_600}})
    async with a_stage(tmp_path, caching()) as stage:
        await ask(stage)
        stage.clock.advance(SECOND)
        assert await statuses(stage, {"cache_control": "max-age=1"}) == ["MISS"]
        stage.clock.advance(SECOND)
        await ask(stage)
        stage.clock.advance(SECOND)
        assert await statuses(stage, {"x_farebox_config": hour, "cache_control": "max-age=1"}) == ["HIT"]
        stage.clock.advance(timedelta(days=7) - SECOND)
        assert await statuses(stage, {"cache_control": "max-age=3600"}) == ["MISS"]
        stage.clock.advance(3_599 * SECOND)
        assert await statuses(stage, {}) == ["HIT"]
        stage.clock.advance(SECOND)
        assert await statuses(stage, {}) == ["MISS"]


async def test_a_refresh_gets_a_new_answer_and_keeps_it(tmp_path: Path) -> None:
    async with a_stage(tmp_path, caching()) as stage:
        replying(stage, sse_message("Old.", usage=USED))
        await ask(stage)
        replying(stage, sse_message("New.", usage=USED))
        told = await ask(stage, x_portkey_cache_force_refresh="true")
        assert (status(told), b"New." in told.body) == ("REFRESH", True)
        again = await ask(stage)
        assert (status(again), again.body) == ("HIT", told.body)
        assert [row.cost_picodollars for row in await stage.rows()] == [COST, COST, 0]


@pytest.mark.parametrize(
    "reply",
    [
        error_reply(400, "invalid_request_error", "prompt is too long"),
        error_reply(529, "overloaded_error", "Overloaded"),
        sse_message(usage=USED).cut_after(300),
        sse_message(usage=USED).with_piece(
            2, b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"x"}}\n\n'
        ),
        Reply(200, (("content-type", "application/json"),), (b'{"type":"message"}',)),
        Reply(200, (("content-type", "text/event-stream"),), (b"",)),
        Reply(201, sse_message(usage=USED).headers, sse_message(usage=USED).pieces),
    ],
)
async def test_only_whole_good_answers_are_kept(tmp_path: Path, reply: Reply) -> None:
    async with a_stage(tmp_path, caching()) as stage:
        replying(stage, reply)
        assert status(await ask(stage)) == "MISS"
        assert stage.cache.calls == ["get"]
        replying(stage, sse_message(usage=USED))
        assert status(await ask(stage)) == "MISS"


async def test_an_answer_that_the_budget_cut_is_not_kept(tmp_path: Path) -> None:
    budget = {"name": "day", "usd": "0.09", "period": "day"}
    async with a_stage(tmp_path, caching(budgets=[budget])) as stage:
        replying(stage, sse_message("word " * 6_000, usage=USED))
        told = await ask(stage, asking(max_tokens=64_000))
        assert b'"stop_reason":"max_tokens"' in told.body
        assert (await stage.rows())[0].outcome is Outcome.BUDGET_CUT
        assert stage.cache.calls == ["get"]


async def test_what_the_client_did_not_wait_for_is_not_kept(tmp_path: Path) -> None:
    async with a_stage(tmp_path, caching()) as stage:
        stream = await stage.begin(asking())
        await stream.receive()
        stream.leave()
        await stream.aclose()
        await stage.gateway.cache.drain()
        assert stage.cache.calls == ["get"]


async def test_an_exhausted_budget_refuses_no_answer_that_costs_nothing(tmp_path: Path) -> None:
    budget = {"name": "day", "usd": "0.0014", "period": "day", "scope": {"key": "alice"}}
    async with a_stage(tmp_path, caching(budgets=[budget])) as stage:
        await ask(stage, key="bob")
        assert (await ask(stage, asking("Another."), key="alice")).status == 402
        assert status(await ask(stage, key="alice")) == "HIT"


async def test_a_hit_is_a_request_and_no_tokens_where_requests_and_tokens_are_limited(tmp_path: Path) -> None:
    limits = [
        {"name": "rpm", "requests": 3, "per": "minute"},
        {"name": "tpm", "tokens": 1_500, "per": "minute"},
        {"name": "places", "concurrent": 1},
    ]
    async with a_stage(tmp_path, caching(rate_limits=limits)) as stage:
        assert await statuses(stage, {}, {}) == ["MISS", "HIT"]
        last = await ask(stage)
        assert (status(last), last.header("x-ratelimit-remaining-requests")) == ("HIT", "0")
        assert (await ask(stage)).error[:2] == (429, "rate_limit_error")


async def test_a_caller_who_lost_the_model_gets_no_answer_of_it(tmp_path: Path) -> None:
    narrow = {"name": "rob", "models": ["claude-haiku-*"]}
    async with a_stage(tmp_path, caching(keys=[*KEYS, narrow])) as stage:
        await ask(stage)
        assert (await ask(stage, key="rob")).error[:2] == (400, "policy_blocked")


async def test_a_fallback_is_looked_up_where_it_is_turned_to(tmp_path: Path) -> None:
    config = {
        "strategy": {"mode": "fallback"},
        "cache": {"mode": "simple"},
        "targets": [{"provider": "@anthropic"}, {"provider": "@second"}],
    }
    file = a_file(
        providers=[a_provider(), a_provider("second")],
        configs=[{"slug": "two", "config": config}],
        keys=[{"name": "alice", "config": "two"}],
    )
    async with a_stage(tmp_path, file) as stage:
        stage.upstream.script = lambda request: (
            sse_message(usage=USED)
            if request.origin.host == "second.example"
            else error_reply(529, "overloaded_error", "Overloaded")
        )
        first, again = await ask(stage), await ask(stage)
        assert (status(first), status(again)) == ("MISS", "HIT")
        assert again.header("x-farebox-last-used-option-index") == "config.targets[1]"
        assert [request.origin.host for request in stage.upstream.sent] == [
            "anthropic.example",
            "second.example",
            "anthropic.example",
        ]
        row = (await stage.rows())[1]
        assert (row.outcome, row.provider, len(row.attempts)) == (Outcome.CACHED, "second", 1)


async def test_each_try_of_one_target_looks_once(tmp_path: Path) -> None:
    config = {"provider": "@anthropic", "cache": "simple", "retry": {"attempts": 2}}
    file = a_file(configs=[{"slug": "c", "config": config}], keys=[{"name": "alice", "config": "c"}])
    async with a_stage(tmp_path, file) as stage:
        replies = [error_reply(529, "overloaded_error", "Overloaded"), sse_message(usage=USED)]
        stage.upstream.script = lambda _: replies.pop(0)
        assert status(await ask(stage)) == "MISS"
        assert stage.cache.calls == ["get", "put"]


async def test_a_cache_that_fails_is_a_miss_and_a_line_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with a_stage(tmp_path, caching()) as stage:
        stage.cache.failing = {"get", "put"}
        assert await statuses(stage, {}, {}) == ["MISS", "MISS"]
        assert caplog.text.count("the cache did not answer") == 2
        assert caplog.text.count("an answer is not kept") == 2
        stage.cache.failing.clear()
        assert await statuses(stage, {}, {}) == ["MISS", "HIT"]


async def test_a_damaged_entry_is_a_miss_and_is_written_anew(tmp_path: Path) -> None:
    async with a_stage(tmp_path, caching()) as stage:
        await ask(stage)
        await stage.store.database.write(
            lambda connection: (
                connection.execute("UPDATE cache_entry SET data = substr(data, 1, 99)").rowcount
            )
        )
        assert await statuses(stage, {}, {}) == ["MISS", "HIT"]


@pytest.mark.parametrize(
    ("body", "reply"),
    [(asking(), sse_message(usage=USED)), (asking(stream=False), json_message(usage=USED))],
)
async def test_nobody_waits_for_an_answer_to_be_kept(tmp_path: Path, body: bytes, reply: Reply) -> None:
    async with a_stage(tmp_path, caching()) as stage:
        replying(stage, reply)
        stage.cache.may_put.clear()
        told = await stage.ask(body)
        assert (status(told), told.is_whole) == ("MISS", True)
        assert len(await stage.rows()) == 1
        stage.cache.may_put.set()
        await stage.gateway.cache.drain()
        assert status(await ask(stage, body)) == "HIT"


async def test_a_cache_that_takes_too_long_is_a_miss(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with a_stage(tmp_path, caching()) as stage:
        await ask(stage)
        stage.cache.may_get.clear()
        slow = AnswerCache(stage.cache, stage.clock, look_up_s=0)
        with_cache(stage, slow)
        assert status(await stage.ask(asking(), x_farebox_trace_id="t")) == "MISS"
        await slow.drain()
        assert "within 0 s" in caplog.text


async def test_a_cache_that_takes_an_answer_too_slowly_does_without_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with a_stage(tmp_path, caching()) as stage:
        stage.cache.may_put.clear()
        slow = AnswerCache(stage.cache, stage.clock, store_s=0)
        with_cache(stage, slow)
        assert status(await stage.ask(asking())) == "MISS"
        await slow.drain()
        assert "did not take it within 0 s" in caplog.text


async def test_a_store_without_a_place_for_an_answer_does_without_it(tmp_path: Path) -> None:
    async with a_stage(tmp_path, caching()) as stage:
        none = LocalResponseCache(stage.store.database, max_bytes=1)
        with_cache(stage, AnswerCache(none, stage.clock))
        assert await statuses(stage, {}, {}) == ["MISS", "MISS"]


async def test_a_gateway_without_a_store_asks_no_cache(tmp_path: Path) -> None:
    async with a_stage(tmp_path, caching()) as stage:
        with_cache(stage, AnswerCache(None, stage.clock))
        assert await statuses(stage, {}, {}) == ["DISABLED", "DISABLED"]


async def test_an_answer_that_is_too_large_unpacked_is_not_kept(tmp_path: Path) -> None:
    async with a_stage(tmp_path, caching()) as stage:
        plain = json_message("word " * (ENTRY_BYTES_MAX // 4), usage=USED)
        headers = (*plain.headers, ("content-encoding", "gzip"))
        replying(stage, Reply(200, headers, (gzip.compress(plain.body, 1),)))
        assert (await ask(stage, asking(stream=False))).status == 200
        assert stage.cache.calls == ["get"]


async def test_many_that_ask_the_same_at_once_all_get_it_whole(tmp_path: Path) -> None:
    async with a_stage(tmp_path, caching()) as stage:
        told = await asyncio.gather(*(stage.ask(asking()) for _ in range(10)))
        assert {each.body for each in told} == {told[0].body}
        await stage.gateway.cache.drain()
        again = await ask(stage)
        assert (status(again), again.body) == ("HIT", told[0].body)
        assert len(await stage.rows()) == 11


@pytest.mark.parametrize("room_bytes", [0, 5_000])
async def test_answers_beyond_the_room_pass_and_are_not_kept(tmp_path: Path, room_bytes: int) -> None:
    async with a_stage(tmp_path, caching()) as stage:
        text = "word " * 300
        replying(stage, sse_message(text, usage=USED))
        room = Room(room_bytes)
        small = AnswerCache(stage.cache, stage.clock, room=room)
        with_cache(stage, small)
        streamed = await stage.ask(asking())
        replying(stage, json_message("word " * 1_200, usage=USED))
        whole = await stage.ask(asking(stream=False))
        await small.drain()
        assert (streamed.is_whole, whole.is_whole, stage.cache.calls) == (True, True, ["get", "get"])
        assert room.left_bytes == room_bytes


async def test_a_gzipped_answer_is_kept_as_it_reads(tmp_path: Path) -> None:
    async with a_stage(tmp_path, caching()) as stage:
        plain = json_message(usage=USED)
        packed = gzip.compress(plain.body)
        headers = (*plain.headers, ("content-encoding", "gzip"))
        replying(stage, Reply(200, headers, (packed,)))
        body = asking(stream=False)
        first, again = await ask(stage, body, accept_encoding="gzip"), await ask(stage, body)
        assert (first.body, again.body) == (packed, plain.body)
        assert (status(again), again.header("content-encoding")) == ("HIT", None)


@pytest.mark.parametrize("coding", ["br", "gzip"])
async def test_what_cannot_be_read_is_not_kept(tmp_path: Path, coding: str) -> None:
    async with a_stage(tmp_path, caching()) as stage:
        plain = json_message(usage=USED)
        replying(stage, Reply(200, (*plain.headers, ("content-encoding", coding)), (plain.body,)))
        body = asking(stream=False)
        assert [status(await ask(stage, body)) for _ in range(2)] == ["MISS", "MISS"]


async def test_a_body_that_can_be_read_two_ways_passes_by_the_cache(tmp_path: Path) -> None:
    async with a_stage(tmp_path, caching()) as stage:
        body = asking().replace(b'"role":"user"', b'"role":"user","role":"user"')
        assert [status(await ask(stage, body)) for _ in range(2)] == ["DISABLED", "DISABLED"]
        assert stage.cache.calls == []


async def test_a_question_that_is_too_large_passes_by_the_cache(tmp_path: Path) -> None:
    async with a_stage(tmp_path, caching()) as stage:
        stage.plane = DataPlane(stage.gateway, CountingRandomness(), body_bytes_max=2 * BODY_BYTES_MAX)
        text = "x" * BODY_BYTES_MAX
        assert [status(await ask(stage, asking(text))) for _ in range(2)] == ["DISABLED", "DISABLED"]
        assert status(await ask(stage, asking(text[: BODY_BYTES_MAX - 500]))) == "MISS"


async def test_a_client_that_leaves_while_the_cache_is_asked_is_one_row(tmp_path: Path) -> None:
    async with a_stage(tmp_path, caching()) as stage:
        await ask(stage)
        stage.cache.may_get.clear()
        asked = asyncio.ensure_future(stage.ask(asking()))
        while stage.cache.calls.count("get") < 2:
            await asyncio.sleep(0)
        asked.cancel("client gone")
        with pytest.raises(asyncio.CancelledError):
            await asked
        stage.cache.may_get.set()
        rows = await stage.rows()
        assert [(row.outcome, row.cost_picodollars) for row in rows[1:]] == [(Outcome.CLIENT_GONE, 0)]


async def test_counting_tokens_asks_no_cache(tmp_path: Path) -> None:
    async with a_stage(tmp_path, caching()) as stage:
        replying(stage, Reply(200, (("content-type", "application/json"),), (b'{"input_tokens":9}',)))
        told = [await stage.ask(asking(), path="/v1/messages/count_tokens") for _ in range(2)]
        assert [status(each) for each in told] == ["DISABLED", "DISABLED"]
        assert stage.cache.calls == []


async def test_neither_question_nor_credential_is_kept_with_an_answer(tmp_path: Path) -> None:
    canary = "canary-9b1e-question"
    async with a_stage(tmp_path, caching()) as stage:
        replying(stage, json_message("The answer.", usage=USED))
        await ask(stage, asking(canary, stream=False))
        rows = await stage.store.database.look(
            lambda connection: connection.execute("SELECT key, data FROM cache_entry").fetchall()
        )
        ((key, data),) = rows
        entry = unpack(data)
        assert b"The answer." in entry.body
        for secret in (canary, SECRET, stage.keys["alice"]):
            assert secret.encode() not in repr(entry).encode() + key + data


async def test_an_answer_that_a_budget_shortened_is_not_given_to_who_asks_for_all(tmp_path: Path) -> None:
    budget = {"name": "b", "period": "day", "usd": "0.1", "clamp": True}
    body = asking(stream=False, max_tokens=32_000)
    async with a_stage(tmp_path, caching(budgets=[budget])) as stage:
        replying(stage, json_message(usage=USED))
        told = await ask(stage, body)
        assert told.header("x-farebox-max-tokens") is not None
        assert stage.cache.calls == ["get"]
        assert status(await ask(stage, body)) == "MISS"
