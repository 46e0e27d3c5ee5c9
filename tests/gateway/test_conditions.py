"""A conditional config sends each request where its conditions say, by what the request really is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.stage import Stage, a_file, a_provider, a_stage, asking

CONFIG: dict[str, Any] = {
    "strategy": {
        "mode": "conditional",
        "conditions": [
            {"query": {"metadata.team": {"$in": ["core", "web"]}}, "then": "team"},
            {
                "query": {"params.thinking.type": "enabled", "params.max_tokens": {"$gt": 5_000}},
                "then": "big",
            },
            {"query": {"headers.x-kind": {"$regex": "^batch"}}, "then": "slow"},
            {"query": {"params.tools[0].name": {"$exists": True}}, "then": "team"},
        ],
        "default": "plain",
    },
    "targets": [{"name": name, "provider": f"@{name}"} for name in ("plain", "team", "big", "slow")],
}


def conditional(config: dict[str, Any] = CONFIG) -> dict[str, object]:
    return a_file(
        providers=[a_provider(name) for name in ("plain", "team", "big", "slow")],
        configs=[{"slug": "by-kind", "config": config}],
        keys=[
            {"name": "alice", "config": "by-kind"},
            {"name": "core", "config": "by-kind", "metadata": {"team": "core"}},
        ],
    )


def asked(stage: Stage) -> list[str]:
    """Give the providers that were asked, in order."""
    return [request.origin.host.partition(".")[0] for request in stage.upstream.sent]


@pytest.mark.parametrize(
    ("body", "headers", "expected"),
    [
        (asking(), {}, "plain"),
        (asking(), {"x_portkey_metadata": '{"team": "web"}'}, "team"),
        (asking(), {"x_farebox_metadata": '{"team": "sales"}'}, "plain"),
        (asking(), {"key": "core", "x_farebox_metadata": '{"team": "sales"}'}, "team"),
        (asking(max_tokens=9_000, thinking={"type": "enabled"}), {}, "big"),
        (asking(max_tokens=1_000, thinking={"type": "enabled"}), {}, "plain"),
        (asking(), {"x_kind": "batch-7"}, "slow"),
        (asking(tools=[{"name": "Bash", "input_schema": {}}]), {}, "team"),
        (asking(tools=[]), {}, "plain"),
    ],
)
async def test_a_request_goes_where_its_conditions_say(
    tmp_path: Path, body: bytes, headers: dict[str, str], expected: str
) -> None:
    async with a_stage(tmp_path, conditional()) as stage:
        told = await stage.ask(body, **headers)
        assert (told.status, asked(stage)) == (200, [expected])
        assert told.header("x-portkey-provider") == expected
        index = [target["name"] for target in CONFIG["targets"]].index(expected)
        assert told.header("x-portkey-last-used-option-index") == f"config.targets[{index}]"


async def test_a_count_goes_where_a_message_of_the_same_metadata_would(tmp_path: Path) -> None:
    async with a_stage(tmp_path, conditional()) as stage:
        for path in ("/v1/messages", "/v1/messages/count_tokens"):
            await stage.ask(asking(), path=path, x_portkey_metadata='{"team": "web"}')
        assert asked(stage) == ["team", "team"]


async def test_where_no_condition_holds_and_there_is_no_default_it_is_said(tmp_path: Path) -> None:
    strategy = {name: value for name, value in CONFIG["strategy"].items() if name != "default"}
    async with a_stage(tmp_path, conditional({**CONFIG, "strategy": strategy})) as stage:
        told = await stage.ask(asking())
        assert told.error == (
            400,
            "policy_blocked",
            "No condition of config holds for this request, and it has no default.",
        )
        assert stage.upstream.sent == []


async def test_a_field_that_cannot_be_read_is_one_that_is_not_there(tmp_path: Path) -> None:
    deep = b"[" * 5_000 + b"]" * 5_000
    body = asking(thinking="HERE").replace(b'"HERE"', deep)
    async with a_stage(tmp_path, conditional()) as stage:
        await stage.ask(body)
        assert asked(stage) in ([], ["plain"])


async def test_an_inline_config_that_is_wrong_names_its_field(tmp_path: Path) -> None:
    async with a_stage(tmp_path, a_file()) as stage:
        config = json.dumps({"targets": [{"retry": {"attempts": 99}}]})
        told = await stage.ask(asking(), x_portkey_config=config)
        error = json.loads(told.body)["error"]
        assert (told.status, error) == (
            400,
            {
                "type": "invalid_request_error",
                "message": "config.targets[0].retry.attempts: must be a whole number from 0 to 5",
                "path": "config.targets[0].retry.attempts",
            },
        )
        assert told.header("x-should-retry") == "false"
        assert stage.upstream.sent == []
