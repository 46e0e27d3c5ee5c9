"""Ways around what an administrator decided."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.gateway.stage import Stage, a_file, a_provider, a_stage, asking

HAIKU = "claude-haiku-5-5"
OPUS = "claude-opus-5-5"
FIXED = a_file(
    configs=[{"slug": "cheap", "config": {"override_params": {"model": HAIKU}}}],
    workspaces=[{"slug": "w", "config": "cheap", "allow_config_override": False}],
    keys=[{"name": "alice", "workspace": "w"}],
)
NARROW = a_file(keys=[{"name": "alice", "models": ["claude-haiku-*"]}])


def models_sent(stage: Stage) -> list[str]:
    return [json.loads(request.body)["model"] for request in stage.upstream.sent]


@pytest.mark.parametrize(
    ("model", "headers"),
    [(OPUS, {"x_farebox_provider": "@anthropic"}), (f"@anthropic/{OPUS}", {})],
    ids=["header", "model"],
)
async def test_naming_a_provider_does_not_shake_off_the_model_of_a_fixed_config(
    tmp_path: Path, model: str, headers: dict[str, str]
) -> None:
    async with a_stage(tmp_path, FIXED) as stage:
        await stage.ask(asking(model=model), **headers)
        assert models_sent(stage) in ([], [HAIKU])


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": [{"type": "advisor_20260301", "name": "advisor", "model": OPUS}]},
        {"fallbacks": [{"model": OPUS}]},
    ],
    ids=["advisor", "fallbacks"],
)
async def test_a_narrowed_key_reaches_no_other_model_through_the_body(
    tmp_path: Path, fields: dict[str, object]
) -> None:
    async with a_stage(tmp_path, NARROW) as stage:
        told = await stage.ask(asking("Hi.", model=HAIKU, **fields))
        assert (told.status, stage.upstream.sent) == (400, [])


@pytest.mark.parametrize("name", ["api_key", "x_goog_api_key", "x_auth_token", "x_litellm_api_key"])
async def test_our_key_is_never_forwarded_under_another_name(tmp_path: Path, name: str) -> None:
    async with a_stage(tmp_path) as stage:
        secret = stage.keys["alice"]
        await stage.ask(asking(), **{name: secret})
        [sent] = stage.upstream.sent
        assert [header for header, value in sent.headers if secret.encode() in value] == []


@pytest.mark.parametrize("model", [f"{OPUS}-20260901", f"{OPUS}[1m]", f"anthropic/{OPUS}", OPUS.upper()])
async def test_another_spelling_of_a_model_falls_under_its_budget(tmp_path: Path, model: str) -> None:
    budget = {"name": "opus", "scope": {"model": OPUS}, "usd": 0, "period": "total"}
    async with a_stage(tmp_path, a_file(budgets=[budget], providers=[a_provider()])) as stage:
        told = await stage.ask(asking(model=model))
        assert (told.status, stage.upstream.sent) == (402, [])
