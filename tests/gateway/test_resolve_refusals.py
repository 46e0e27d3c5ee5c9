"""How a refusal reaches the client, and where a provider's credential comes from."""

from __future__ import annotations

from pathlib import Path

import pytest

from farebox.domain.record import Outcome
from farebox.domain.usage import CostStatus, Usage
from farebox.gateway.incoming import IncomingRequest
from farebox.gateway.reserve import HoldTerms
from farebox.wire.http import HttpRequest
from tests.gateway.peers import ScriptedAnswer
from tests.gateway.stage import Stage, a_file, a_provider, a_stage, apply, asking
from tests.support.builders import a_secret
from tests.support.wings import open_store

NO_KEY = (
    "No farebox gateway key came with this request. "
    "Send it as x-farebox-key or as a bearer token (Authorization: Bearer fb-...)."
)
BAD_KEY = (
    "This farebox gateway key is not valid (unknown, revoked or expired). "
    "Ask whoever gave it to you for a new one."
)
MISSING = (
    "Provider 'mine' uses the caller's own credential and none came along. Log in to Claude Code, or set "
    "ANTHROPIC_API_KEY to an sk-ant-... key of your own; the farebox key goes in x-farebox-key."
)


def refusing(folder: Path) -> dict[str, object]:
    """Write a policy in which every kind of refusal can be had."""
    return a_file(
        providers=[
            a_provider(models=["claude-*"]),
            a_provider("mine", credential="caller"),
            a_provider("unset", credential="env:UNSET"),
            a_provider("gone", credential=f"file:{folder / 'gone'}"),
        ],
        keys=[
            {"name": "alice"},
            {"name": "narrow", "models": ["claude-haiku-*"], "providers": ["anthropic"]},
            {"name": "fixed", "config": "fixed", "allow_config_override": False},
        ],
        configs=[{"slug": "fixed", "config": {"provider": "@anthropic"}}],
        budgets=[{"name": "none", "scope": {"metadata.team": "broke"}, "usd": 0, "period": "day"}],
    )


OPUS_REFUSED = "Model 'claude-opus-5-5' is not allowed for this key (allowed: claude-haiku-*)."
REFUSALS: dict[str, tuple[dict[str, str | None], bytes, tuple[int, str, str]]] = {
    "no key": ({"key": None}, asking(), (401, "authentication_error", NO_KEY)),
    "unknown key": (
        {"key": None, "x_farebox_key": a_secret(9)},
        asking(),
        (401, "authentication_error", BAD_KEY),
    ),
    "no credential": (
        {"x_farebox_provider": "@mine"},
        asking(),
        (401, "authentication_error", MISSING),
    ),
    "model": ({"key": "narrow"}, asking(), (400, "policy_blocked", OPUS_REFUSED)),
    "provider": (
        {"key": "narrow", "x_farebox_provider": "@mine"},
        asking(model="claude-haiku-5-5"),
        (400, "policy_blocked", "There is no provider '@mine' that you may use (yours: @anthropic)."),
    ),
    "model of provider": (
        {"x_farebox_provider": "@anthropic"},
        asking(model="gpt-5"),
        (400, "policy_blocked", "Model 'gpt-5' is not allowed at provider 'anthropic' (allowed: claude-*)."),
    ),
    "override": (
        {"key": "fixed", "x_portkey_config": "fixed"},
        asking(),
        (
            400,
            "policy_blocked",
            "This key uses a fixed config; x-farebox-config is not allowed with it.",
        ),
    ),
    "no model": ({}, b'{"max_tokens":1}', (400, "invalid_request_error", "model: is required.")),
    "no max_tokens": (
        {},
        asking(max_tokens=-1),
        (400, "invalid_request_error", "max_tokens: must not be negative."),
    ),
    "metadata": (
        {"x_farebox_metadata": "x" * 5000},
        asking(),
        (400, "invalid_request_error", "x-farebox-metadata: must be at most 4096 bytes."),
    ),
    "half a name": (
        {},
        asking(model="@mine"),
        (400, "invalid_request_error", "model: '@mine' should read @provider/model."),
    ),
    "budget": (
        {"x_farebox_metadata": '{"team": "broke"}'},
        asking(),
        (
            402,
            "billing_error",
            "Budget 'none' is exhausted: $0.00 of $0.00 spent. It resets at 2026-11-24T00:00:00Z; "
            "ask your farebox administrator to raise it.",
        ),
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
async def test_a_refusal_stops_the_client_at_once_and_sends_nothing(case: str, tmp_path: Path) -> None:
    asked, body, error = REFUSALS[case]
    async with a_stage(tmp_path, refusing(tmp_path)) as stage:
        told = await stage.ask(body, **asked)  # type: ignore[arg-type]  # `key` may be None, headers not
        assert told.error == error
        assert told.header("x-should-retry") == "false"
        assert told.header("retry-after") is None
        assert told.header("content-type") == "application/json"
        assert told.header("request-id") == told.header("x-farebox-request-id")
        assert f'"request_id":"{told.header("request-id")}"' in told.body.decode()
        assert stage.upstream.sent == []


@pytest.mark.parametrize("case", [case for case in REFUSALS if not case.endswith(" key")])
async def test_a_refusal_of_a_known_caller_is_a_row_that_costs_nothing(case: str, tmp_path: Path) -> None:
    asked, body, (status, _, _) = REFUSALS[case]
    async with a_stage(tmp_path, refusing(tmp_path)) as stage:
        await stage.ask(body, **asked)  # type: ignore[arg-type]
        [row] = await stage.rows()
        assert (row.status, row.outcome, row.key) == (status, Outcome.REFUSED, asked.get("key", "alice"))
        assert (row.cost_picodollars, row.charged_picodollars, row.usage) == (0, 0, Usage())
        assert (row.cost_status, row.attempts, row.ttft_ms) == (CostStatus.PRICED, (), None)
        assert (await stage.holds(), await stage.settled()) == ([], {})


@pytest.mark.parametrize(("case", "model"), [("model", "claude-opus-5-5"), ("half a name", "@mine")])
async def test_a_refused_row_names_the_model_that_was_asked_for(
    case: str, model: str, tmp_path: Path
) -> None:
    asked, body, _ = REFUSALS[case]
    async with a_stage(tmp_path, refusing(tmp_path)) as stage:
        await stage.ask(body, **asked)  # type: ignore[arg-type]
        assert [(row.model, row.provider) for row in await stage.rows()] == [(model, None)]


@pytest.mark.parametrize("case", ["no key", "unknown key"])
async def test_a_request_without_a_valid_key_is_no_row(case: str, tmp_path: Path) -> None:
    asked, body, _ = REFUSALS[case]
    async with a_stage(tmp_path, refusing(tmp_path)) as stage:
        await stage.ask(body, **asked)  # type: ignore[arg-type]
        assert await stage.rows() == []


@pytest.mark.parametrize("case", ["no key", "unknown key", "no credential", "model", "provider", "override"])
async def test_counting_tokens_is_refused_alike_and_is_never_a_row(case: str, tmp_path: Path) -> None:
    asked, body, error = REFUSALS[case]
    async with a_stage(tmp_path, refusing(tmp_path)) as stage:
        told = await stage.ask(body, path="/v1/messages/count_tokens", **asked)  # type: ignore[arg-type]
        assert (told.error, stage.upstream.sent, await stage.rows()) == (error, [], [])


async def test_counting_tokens_is_free_and_no_budget_blocks_it(tmp_path: Path) -> None:
    broke = [{"name": "none", "scope": {}, "usd": 0, "period": "day"}]
    async with a_stage(tmp_path, a_file(budgets=broke)) as stage:
        stage.upstream.script = lambda _: ScriptedAnswer(200, [], [b'{"input_tokens":7}'])
        told = await stage.ask(asking(), path="/v1/messages/count_tokens")
        assert (told.status, told.body) == (200, b'{"input_tokens":7}')
        assert (await stage.rows(), stage.ledger.calls) == ([], [])


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
@pytest.mark.parametrize(("slug", "why"), [("unset", "there is no credential here"), ("gone", "")])
async def test_an_unreadable_credential_is_our_fault_and_said_without_a_retry(
    path: str, slug: str, why: str, tmp_path: Path
) -> None:
    async with a_stage(tmp_path, refusing(tmp_path)) as stage:
        told = await stage.ask(asking(), path=path, x_farebox_provider=f"@{slug}")
        reference = "env:UNSET" if slug == "unset" else f"file:{tmp_path / 'gone'}"
        why = why or "the file cannot be read (No such file or directory)"
        message = f"The credential of provider '{slug}' cannot be read: {reference}: {why}."
        assert told.error == (500, "api_error", message)
        assert told.header("x-should-retry") == "false"
        assert stage.upstream.sent == []


async def key_sent(stage: Stage) -> bytes:
    assert (await stage.ask(asking())).status == 200
    return next(value for name, value in stage.upstream.sent[-1].headers if name == b"x-api-key")


async def test_a_credential_from_the_environment_is_rotated_without_a_restart(tmp_path: Path) -> None:
    async with a_stage(tmp_path) as stage:
        assert await key_sent(stage) == b"sk-ant-api03-of-the-provider"
        stage.environment["SECRET"] = "sk-ant-api03-next\n"
        assert await key_sent(stage) == b"sk-ant-api03-next"


async def test_a_credential_from_a_file_is_rotated_without_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "credential"
    file.write_text("sk-ant-api03-first\n")
    policy = a_file(providers=[a_provider(credential=f"file:{file}")])
    async with a_stage(tmp_path / "data", policy) as stage:
        assert await key_sent(stage) == b"sk-ant-api03-first"
        file.write_text("sk-ant-api03-second-one\n")
        assert await key_sent(stage) == b"sk-ant-api03-second-one"
        file.unlink()
        assert (await stage.ask(asking())).status == 500


async def test_a_stored_login_travels_as_a_bearer_and_is_paid_by_its_owner(tmp_path: Path) -> None:
    async with a_stage(tmp_path) as stage:
        stage.environment["SECRET"] = "sk-ant-oat01-of-the-house"
        await stage.ask(asking())
        [sent] = stage.upstream.sent
        assert (b"authorization", b"Bearer sk-ant-oat01-of-the-house") in sent.headers
        assert b"x-api-key" not in dict(sent.headers)
        assert [row.billing.value for row in await stage.rows()] == ["metered"]


async def test_a_caller_is_shown_the_models_it_may_use_and_no_other(tmp_path: Path) -> None:
    providers = [a_provider(models=["claude-haiku-*", "claude-sonnet-5*"]), a_provider("spare")]
    keys = [
        {"name": "alice", "workspace": "w", "models": ["claude-haiku-5*", "claude-opus-5*"]},
        {"name": "spare", "providers": ["spare"], "models": ["claude-opus-5-5"]},
        {"name": "none", "providers": ["anthropic"], "models": ["claude-opus-*"]},
        {"name": "all"},
    ]
    workspaces = [{"slug": "w", "models": ["claude-haiku-*"]}]
    async with a_stage(tmp_path, a_file(providers=providers, keys=keys, workspaces=workspaces)) as stage:

        async def shown(key: str) -> list[str]:
            headers = [(b"x-farebox-key", stage.keys[key].encode())]
            request = IncomingRequest("req_1", "models", b"", headers, no_body)
            return [model.id for model in await stage.gateway.models(request)]

        assert await shown("alice") == ["claude-haiku-5-5"]
        assert await shown("spare") == ["claude-opus-5-5"]
        assert await shown("none") == []
        everything = await shown("all")
        assert len(set(everything)) == len(everything) > 10


async def no_body() -> bytes:
    raise AssertionError("a list of models needs no body")


async def test_a_policy_that_changes_decides_the_next_request(tmp_path: Path) -> None:
    async with a_stage(tmp_path) as stage:
        assert (await stage.ask(asking())).status == 200
        await apply(stage, {"keys": [{"name": "alice", "models": ["claude-haiku-*"]}]})
        assert (await stage.ask(asking())).error[1:] == ("policy_blocked", OPUS_REFUSED)


async def test_a_store_that_fails_before_anything_was_held_sends_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    budgets = [{"name": "all", "scope": {}, "usd": 1, "period": "day"}]
    async with a_stage(tmp_path, a_file(budgets=budgets), terms=HoldTerms()) as stage:
        stage.ledger.failing = {"reserve"}
        told = await stage.ask(asking())
        assert told.error == (
            503,
            "api_error",
            "The farebox store cannot answer; no request is sent while spending cannot be checked.",
        )
        # Why is the operator's to know: it may name accounts, roles and tables.
        request_id = told.header("x-farebox-request-id")
        assert f"request {request_id}: The farebox store cannot answer (the disk is on fire)" in caplog.text
        assert told.header("x-should-retry") is None
        assert stage.upstream.sent == []
        assert [(row.status, row.charged_picodollars) for row in await stage.rows()] == [(503, 0)]


async def test_a_store_that_is_gone_refuses_every_route(tmp_path: Path) -> None:
    async with a_stage(tmp_path) as stage:
        stage.store.close()
        for route in ("/v1/messages", "/v1/messages/count_tokens"):
            assert (await stage.ask(asking(), path=route)).error[:2] == (503, "api_error")
        assert stage.upstream.sent == []
        stage.store = open_store(tmp_path, stage.clock)


async def test_an_unexpected_error_gives_nothing_away(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: HttpRequest) -> ScriptedAnswer:
        raise RuntimeError("a detail of ours")

    async with a_stage(tmp_path) as stage:
        stage.upstream.script = broken
        told = await stage.ask(asking())
        assert told.error == (
            500,
            "api_error",
            "farebox failed while handling this request. The operator finds it in the log by its request id.",
        )
        assert "a detail of ours" in caplog.text
        assert str(told.header("request-id")) in caplog.text
