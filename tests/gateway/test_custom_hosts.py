"""A host of somebody's choice is gone to only where an administrator allows it, and never with more than
belongs there.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from farebox.domain.errors import PolicyRefused
from farebox.domain.record import Outcome
from farebox.wire.http import HttpRequest, Origin
from tests.gateway.peers import USED
from tests.gateway.stage import SECRET, Stage, a_file, a_provider, a_stage, asking
from tests.support.upstream import Reply, sse_message

HOST = "https://models.example.net/v1"
CHOSEN = Origin("https", "models.example.net", 443, is_chosen=True)
INLINE = json.dumps({"provider": "@anthropic", "custom_host": HOST})


def a_policy(**workspace: Any) -> dict[str, object]:
    return a_file(
        providers=[a_provider(), a_provider("mine", credential="caller")],
        workspaces=[{"slug": "w", **workspace}],
        configs=[{"slug": "elsewhere", "config": {"provider": "@anthropic", "custom_host": HOST}}],
        keys=[
            {"name": "alice", "workspace": "w"},
            {"name": "fixed", "workspace": "w", "config": "elsewhere", "allow_config_override": False},
        ],
    )


def sent(stage: Stage) -> HttpRequest:
    (request,) = stage.upstream.sent
    return request


def value(request: HttpRequest, name: bytes) -> bytes | None:
    return next((value for key, value in request.headers if key == name), None)


@pytest.mark.parametrize(
    ("headers", "where"),
    [
        ({"x_portkey_custom_host": HOST}, "x-farebox-custom-host"),
        ({"x_farebox_custom_host": HOST, "x_portkey_provider": "@mine"}, "x-farebox-custom-host"),
        ({"x_portkey_config": INLINE}, "config.custom_host"),
        (
            {"x_portkey_config": json.dumps({"custom_host": HOST, "targets": [{"provider": "@anthropic"}]})},
            "config.targets[0].custom_host",
        ),
    ],
)
async def test_callers_name_no_hosts_unless_their_workspace_lists_them(
    tmp_path: Path, headers: dict[str, str], where: str
) -> None:
    async with a_stage(tmp_path, a_policy(custom_hosts=["other.example.net"])) as stage:
        told = await stage.ask(asking(), **headers)
        assert told.error == (
            400,
            "policy_blocked",
            f"{where}: 'models.example.net' is no host that workspace 'w' lets callers name "
            "(its custom_hosts: other.example.net). "
            "Use a saved config that names it, or ask your administrator.",
        )
        assert stage.upstream.sent == []


@pytest.mark.parametrize(
    "headers",
    [
        {"x_portkey_custom_host": HOST},
        {"x_portkey_config": INLINE},
        {"x_portkey_config": "elsewhere"},
        {"key": "fixed"},
    ],
)
async def test_an_allowed_host_is_asked_in_the_providers_place_and_as_one_that_was_chosen(
    tmp_path: Path, headers: dict[str, str]
) -> None:
    async with a_stage(tmp_path, a_policy(custom_hosts=["*.example.net"])) as stage:
        told = await stage.ask(asking(), **headers)
        assert told.status == 200
        assert (sent(stage).origin, sent(stage).target) == (CHOSEN, b"/v1/messages")
        assert value(sent(stage), b"x-api-key") == SECRET.encode()
        assert not [name for name, _ in sent(stage).headers if name.startswith((b"x-farebox", b"x-portkey"))]


async def test_a_saved_config_may_name_a_host_where_callers_may_not(tmp_path: Path) -> None:
    async with a_stage(tmp_path, a_policy()) as stage:
        assert (await stage.ask(asking(), x_portkey_config="elsewhere")).status == 200
        assert sent(stage).origin == CHOSEN


async def test_naming_a_provider_beside_a_saved_host_sends_no_other_credential_there(tmp_path: Path) -> None:
    both = {"x_portkey_config": "elsewhere", "x_api_key": "sk-ant-api03-of-alice"}
    async with a_stage(tmp_path, a_policy()) as stage:
        await stage.ask(asking(model="@mine/claude-opus-5-5"), **both)
        assert sent(stage).origin == Origin("https", "mine.example", 443)
        stage.upstream.sent.clear()
        await stage.ask(asking(), x_portkey_provider="@mine", **both)
        assert (sent(stage).origin, value(sent(stage), b"x-api-key")) == (CHOSEN, SECRET.encode())


async def test_a_fixed_config_keeps_its_host(tmp_path: Path) -> None:
    async with a_stage(tmp_path, a_policy(custom_hosts=["*.example.net"])) as stage:
        told = await stage.ask(asking(), key="fixed", x_farebox_custom_host="https://x.example.net")
        assert told.error[2] == "This key uses a fixed config; x-farebox-custom-host is not allowed with it."
        assert stage.upstream.sent == []


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        (
            {"x_portkey_custom_host": "http://169.254.169.254"},
            "is no host that workspace 'w' lets callers name",
        ),
        ({"x_portkey_custom_host": "https://0x7f000001"}, "no address in the usual form"),
        ({"x_portkey_custom_host": "file:///etc"}, "http or https URL"),
        ({"x_portkey_request_timeout": "soon"}, "whole number from 1"),
        ({"x_portkey_request_timeout": "0"}, "whole number from 1"),
        ({"x_portkey_request_timeout": "9" * 40}, "whole number from 1"),
        ({"x_portkey_forward_headers": "authorization"}, "'authorization' is never sent on"),
        ({"x_portkey_forward_headers": "Api-Key"}, "'api-key' is never sent on"),
        ({"x_portkey_forward_headers": "anthropic-workspace-id"}, "it says whose account is asked"),
        ({"x_portkey_forward_headers": "x-goog-user-project"}, "it says whose account is asked"),
        ({"x_portkey_forward_headers": "x-a, x-portkey-api-key"}, "'x-portkey-api-key' is never sent on"),
        ({"x_portkey_forward_headers": ",".join(f"h{index}" for index in range(30))}, "at most 20 names"),
    ],
)
async def test_a_header_that_cannot_be_followed_is_refused(
    tmp_path: Path, headers: dict[str, str], said: str
) -> None:
    async with a_stage(tmp_path, a_policy(custom_hosts=["*.example.net"])) as stage:
        told = await stage.ask(asking(), **headers)
        assert (told.status, stage.upstream.sent) == (400, [])
        assert said in told.error[2]


async def test_headers_of_the_request_stand_over_its_config(tmp_path: Path) -> None:
    config = json.dumps({"provider": "@anthropic", "request_timeout": 5_000, "forward_headers": ["x-a"]})
    headers = {"x_portkey_request_timeout": "700", "x_portkey_forward_headers": "X-B, x-c"}
    async with a_stage(tmp_path, a_policy()) as stage:
        told = await stage.ask(asking(), x_portkey_config=config, **headers, x_b="1")
        assert told.status == 200
        assert stage.upstream.timeouts[0].first_byte_ms == 700
        assert value(sent(stage), b"x-b") == b"1"


async def test_the_older_header_for_a_provider_is_understood(tmp_path: Path) -> None:
    async with a_stage(tmp_path, a_policy()) as stage:
        told = await stage.ask(asking(), x_portkey_virtual_key="mine", x_api_key="sk-ant-api03-of-alice")
        assert told.header("x-farebox-provider") == "mine"


async def test_a_host_whose_addresses_are_refused_counts_as_a_target_that_refuses(tmp_path: Path) -> None:
    targets = [{"provider": "@anthropic", "custom_host": HOST}, {"provider": "@anthropic"}]
    config = {"strategy": {"mode": "fallback"}, "targets": targets}
    policy = {**a_policy(), "configs": [{"slug": "elsewhere", "config": config}]}
    private = "The host 'models.example.net' cannot be used: an address of it is a private one."

    def refusing(request: HttpRequest) -> Reply:
        if request.origin.is_chosen:
            raise PolicyRefused(private)
        return sse_message(usage=USED)

    async with a_stage(tmp_path, policy) as stage:
        stage.upstream.script = refusing
        told = await stage.ask(asking(), x_portkey_config="elsewhere")
        assert (told.status, told.header("x-portkey-last-used-option-index")) == (200, "config.targets[1]")
        alone = await stage.ask(asking(), x_portkey_config=json.dumps({"provider": "@anthropic"}))
        assert alone.status == 200
        first, second = await stage.rows()
        assert first.cost_picodollars == second.cost_picodollars


async def test_a_host_that_is_refused_and_has_no_other_target_is_told(
    tmp_path: Path,
) -> None:
    def refusing(request: HttpRequest) -> Reply:
        raise PolicyRefused("The host 'models.example.net' cannot be used.")

    async with a_stage(tmp_path, a_policy()) as stage:
        stage.upstream.script = refusing
        told = await stage.ask(asking(), x_portkey_config="elsewhere")
        assert told.error == (400, "policy_blocked", "The host 'models.example.net' cannot be used.")
        (row,) = await stage.rows()
        assert (row.outcome, row.cost_picodollars) == (Outcome.REFUSED, 0)
