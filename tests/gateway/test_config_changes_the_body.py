"""Where a config changes the body, what goes out is quoted, narrowed and priced; else the bytes pass."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from farebox.domain.errors import UpstreamTimeout, UpstreamUnreachable
from farebox.wire.http import Timeouts
from tests.gateway.stage import Stage, Told, a_file, a_provider, a_stage, asking
from tests.gateway.test_fallback import GOOD, by_host, failing
from tests.gateway.test_retries import no
from tests.support.upstream import error_reply, json_reply

HAIKU, OPUS = "claude-haiku-5-5", "claude-opus-5-5"


def a_policy(**sections: object) -> dict[str, object]:
    everyone = {"name": "all", "scope": {}, "usd": 100, "period": "day"}
    return a_file(
        providers=[a_provider("first"), a_provider("second")], **{"budgets": [everyone], **sections}
    )


async def asked(stage: Stage, config: object, body: bytes, path: str = "/v1/messages") -> Told:
    return await stage.ask(body, path=path, x_farebox_config=json.dumps(config))


async def test_a_config_that_changes_nothing_sends_the_bytes_as_they_came(tmp_path: Path) -> None:
    body = asking(stream=True).replace(b'"max_tokens"', b' "max_tokens"')
    async with a_stage(tmp_path, a_policy()) as stage:
        config = {"provider": "@first", "default_params": {}, "drop_params": [], "retry": {"attempts": 1}}
        assert (await asked(stage, config, body)).status == 200
        assert stage.upstream.sent[0].body == body


async def test_defaults_overrides_and_drops_are_applied_for_each_target(tmp_path: Path) -> None:
    targets: list[dict[str, object]] = [
        {
            "provider": "@first",
            "override_params": {"temperature": 0.25, "model": HAIKU},
            "default_params": {"top_k": 5, "max_tokens": 1},
            "drop_params": ["metadata.user_id"],
        },
        {"provider": "@second"},
    ]
    body = asking(stream=True, metadata={"user_id": "u", "kept": 1})
    async with a_stage(tmp_path, a_policy()) as stage:
        stage.upstream.script = by_host(first=no(500), second=lambda: GOOD)
        config = {"strategy": {"mode": "fallback"}, "targets": targets}
        assert (await asked(stage, config, body)).status == 200
        first, second = (request.body for request in stage.upstream.sent)
        (row,) = await stage.rows()
    assert second == body
    told = json.loads(first)
    assert (told["model"], told["temperature"], told["top_k"]) == (HAIKU, 0.25, 5)
    assert (told["max_tokens"], told["metadata"]) == (1000, {"kept": 1})
    assert [attempt.model for attempt in row.attempts] == [HAIKU, OPUS]


async def test_what_is_held_is_quoted_from_the_body_that_goes_out(tmp_path: Path) -> None:
    held = []
    async with a_stage(tmp_path, a_policy()) as stage:
        for limit in (1000, 3000):
            config = {"provider": "@first", "override_params": {"max_tokens": limit}}
            stream = await stage.begin(asking(stream=True), x_farebox_config=json.dumps(config))
            held.append(await stage.held())
            await stream.aclose()
    assert held[1] - held[0] == 2000 * 20_000_000


async def test_an_override_opens_no_model_that_the_key_may_not_use(tmp_path: Path) -> None:
    keys = [{"name": "alice", "models": ["claude-opus-*"]}]
    async with a_stage(tmp_path, a_policy(keys=keys)) as stage:
        for override in ({"fallbacks": [{"model": HAIKU}]}, {"model": HAIKU}):
            told = await asked(stage, {"provider": "@first", "override_params": override}, asking())
            assert told.error[:2] == (400, "policy_blocked")
            assert HAIKU in told.error[2]
        assert stage.upstream.sent == []


async def test_a_count_goes_where_a_message_would_and_falls_back(tmp_path: Path) -> None:
    counted = json_reply({"input_tokens": 12})
    config = {
        "strategy": {"mode": "fallback"},
        "targets": [
            {"provider": "@nobody"},
            {"provider": "@first", "retry": {"attempts": 3}},
            {"provider": "@second", "drop_params": ["tools"]},
        ],
    }
    async with a_stage(tmp_path, a_policy()) as stage:
        stage.upstream.script = by_host(first=no(529), second=lambda: counted)
        told = await asked(stage, config, asking(tools=[]), "/v1/messages/count_tokens")
        assert [request.origin.host for request in stage.upstream.sent] == ["first.example", "second.example"]
        assert "tools" not in json.loads(stage.upstream.sent[1].body)
        assert all(answer.is_closed for answer in stage.upstream.answers)
        assert await stage.rows() == []
    assert (told.status, told.body) == (200, counted.body)
    assert told.header("x-farebox-last-used-option-index") == "config.targets[2]"


async def test_a_count_waits_no_longer_than_its_target_may(tmp_path: Path) -> None:
    counted = json_reply({"input_tokens": 12})
    late = failing(UpstreamTimeout("first.example", "total", 700))
    strategy = {"mode": "fallback", "on_status_codes": [408]}
    targets = [{"provider": "@first", "request_timeout": 700}, {"provider": "@second"}]
    async with a_stage(tmp_path, a_policy()) as stage:
        stage.upstream.script = by_host(first=late, second=lambda: counted)
        config = {"strategy": strategy, "targets": targets}
        told = await asked(stage, config, asking(stream=False), "/v1/messages/count_tokens")
        assert (told.status, told.body) == (200, counted.body)
        first, second = stage.upstream.timeouts
    assert (first.connect_ms, first.total_ms) == (700, 700)
    assert second == Timeouts()


async def test_a_count_moves_on_from_a_provider_that_is_gone(tmp_path: Path) -> None:
    config = {"strategy": {"mode": "fallback"}, "targets": [{"provider": "@first"}, {"provider": "@second"}]}
    gone = failing(UpstreamUnreachable("first.example", "refused"))
    counted = json_reply({"input_tokens": 12})
    async with a_stage(tmp_path, a_policy()) as stage:
        stage.upstream.script = by_host(first=gone, second=lambda: counted)
        told = await asked(stage, config, asking(), "/v1/messages/count_tokens")
        assert (told.status, told.body) == (200, counted.body)
        stage.upstream.script = by_host(first=gone, second=gone)
        told = await asked(stage, config, asking(), "/v1/messages/count_tokens")
        assert told.error[:2] == (502, "api_error")


async def test_a_body_that_a_config_makes_unreadable_is_the_callers_to_know(tmp_path: Path) -> None:
    config = {"provider": "@first", "override_params": {"tools": "none"}}
    async with a_stage(tmp_path, a_policy()) as stage:
        for path in ("/v1/messages", "/v1/messages/count_tokens"):
            told = await asked(stage, config, asking(), path)
            assert told.error[:2] == (400, "invalid_request_error")
            assert told.error[2].startswith("tools:")


@pytest.mark.parametrize("status", [404, 529])
async def test_a_count_that_nobody_gives_is_the_last_ones_answer(status: int, tmp_path: Path) -> None:
    last = error_reply(status, "some_error", "Not here.")
    config = {
        "strategy": {"mode": "fallback"},
        "targets": [{"provider": "@first"}, {"provider": "@second"}],
    }
    async with a_stage(tmp_path, a_policy()) as stage:
        stage.upstream.script = by_host(first=no(500), second=lambda: last)
        told = await asked(stage, config, asking(), "/v1/messages/count_tokens")
    assert (told.status, told.body) == (status, last.body)


async def test_a_condition_and_a_nested_balance_decide_who_is_asked(tmp_path: Path) -> None:
    config = {
        "strategy": {
            "mode": "conditional",
            "conditions": [{"query": {"params.max_tokens": {"$gt": 500}}, "then": "large"}],
            "default": "small",
        },
        "targets": [
            {
                "name": "large",
                "strategy": {"mode": "fallback"},
                "targets": [
                    {"strategy": {"mode": "loadbalance"}, "targets": [{"provider": "@first", "weight": 1}]},
                    {"provider": "@second"},
                ],
            },
            {"name": "small", "provider": "@second"},
        ],
    }
    async with a_stage(tmp_path, a_policy()) as stage:
        stage.upstream.script = by_host(first=no(500), second=lambda: GOOD)
        large = await asked(stage, config, asking(stream=True, max_tokens=501))
        small = await asked(stage, config, asking(stream=True, max_tokens=500))
        rows = await stage.rows()
    assert large.header("x-portkey-last-used-option-index") == "config.targets[0].targets[1]"
    assert small.header("x-portkey-last-used-option-index") == "config.targets[1]"
    assert [[attempt.option_path for attempt in row.attempts] for row in rows] == [
        ["config.targets[0].targets[0].targets[0]", "config.targets[0].targets[1]"],
        ["config.targets[1]"],
    ]


async def test_where_no_condition_holds_and_there_is_no_default_the_request_is_refused(
    tmp_path: Path,
) -> None:
    config = {
        "strategy": {
            "mode": "conditional",
            "conditions": [{"query": {"metadata.team": "web"}, "then": "web"}],
        },
        "targets": [{"name": "web", "provider": "@first"}],
    }
    async with a_stage(tmp_path, a_policy()) as stage:
        told = await asked(stage, config, asking())
    assert told.error[:2] == (400, "policy_blocked")


async def test_a_body_is_not_written_anew_for_a_target_that_nobody_may_use(tmp_path: Path) -> None:
    """A config may name a thousand of them, for a body of megabytes."""
    wrong = {"override_params": {"tools": "none"}}
    config = {
        "strategy": {"mode": "fallback"},
        "targets": [{"provider": "@nobody", **wrong}, {"provider": "@second"}],
    }
    async with a_stage(tmp_path, a_policy()) as stage:
        for path in ("/v1/messages", "/v1/messages/count_tokens"):
            assert (await asked(stage, config, asking(), path)).status == 200
