"""What an apply says beside its changes."""

from typing import Any

import pytest
from msgspec.structs import replace

from farebox.http.admin.apply import apply_document
from farebox.http.admin.ports import DEPLOYED_CREDENTIALS
from farebox.http.policy_document import parse_policy
from tests.http.admin.plane import Plane
from tests.support.google import AUDIENCE

PAST, AHEAD = "2026-11-23T11:59:59Z", "2026-11-24T00:00:00Z"


async def applied(plane: Plane, file: dict[str, Any], **params: str) -> tuple[list[str], dict[str, str]]:
    """Give the warnings, and the action by name."""
    answer = await plane.ask("POST", "/v1/apply", json=file, params=params)
    return answer["warnings"], {change["name"]: change["action"] for change in answer["changes"]}


def budgets(**scope: object) -> dict[str, Any]:
    return {"budgets": [{"name": "b", "scope": scope, "usd": 1, "period": "day"}]}


async def test_the_first_providers_of_a_file_replace_the_built_in_ones(plane: Plane) -> None:
    file = {"providers": [{"slug": "anthropic", "type": "anthropic", "credential": "env:KEY"}]}
    told = {"anthropic": "created", "demo": "replaced"}
    assert await applied(plane, file, dry_run="true") == ([], told)
    assert await applied(plane, file) == ([], told)
    assert await applied(plane, file) == ([], {"anthropic": "unchanged"})


async def test_a_file_without_providers_replaces_none(plane: Plane) -> None:
    assert await applied(plane, budgets()) == ([], {"b": "created"})


async def test_a_scope_that_names_what_is_not_there_is_a_warning_at_its_path(plane: Plane) -> None:
    file = budgets(workspace="nowhere", key=["nobody", "who-*"], provider="demo", user="u", model="m")
    file["rate_limits"] = [{"name": "r", "scope": {"provider": "gone"}, "requests": 1, "per": "minute"}]
    warnings, _ = await applied(plane, file)
    assert warnings == [
        "budgets[0].scope.workspace: there is no workspace 'nowhere', so this covers nothing",
        "budgets[0].scope.key: there is no key 'nobody', so this covers nothing",
        "rate_limits[0].scope.provider: there is no provider 'gone', so this covers nothing",
    ]


async def test_a_scope_may_name_what_the_file_or_the_store_has(plane: Plane) -> None:
    await plane.ask("POST", "/v1/api-keys", 201, json={"name": "stored"})
    file = {
        **budgets(workspace=["platform", "default"], key=["stored", "bob", "*b"], provider="main"),
        "providers": [{"slug": "main", "type": "demo"}],
        "workspaces": [{"slug": "platform"}],
        "keys": [{"name": "bob", "workspace": "platform"}],
    }
    assert (await applied(plane, file))[0] == []


async def test_a_key_of_several_workspaces_is_there(plane: Plane) -> None:
    await plane.ask("POST", "/v1/admin/workspaces", 201, json={"slug": "other"})
    for workspace in ("default", "other"):
        await plane.ask("POST", "/v1/api-keys", 201, json={"name": "twin", "workspace": workspace})
    assert (await applied(plane, budgets(key="twin")))[0] == []


async def test_a_key_that_is_over_when_it_is_made_is_a_warning(plane: Plane) -> None:
    file = {"keys": [{"name": "a", "expires_at": PAST}, {"name": "b", "expires_at": AHEAD}]}
    assert (await applied(plane, file))[0] == ["keys[0].expires_at: is in the past, so the key opens nothing"]


@pytest.mark.parametrize(
    "credential", ["secretsmanager:prod/anthropic", "file:/run/key", "env:KEY", "caller"]
)
async def test_a_credential_that_this_gateway_cannot_read_is_a_warning(plane: Plane, credential: str) -> None:
    document = {"providers": [{"slug": "a", "type": "anthropic", "credential": credential}]}
    told = await plane.ask("POST", "/v1/apply", json=document)
    warning = (
        "providers[0].credential: this gateway cannot read 'secretsmanager:prod/anthropic'; "
        "it reads caller, aws, google, env:, file:"
    )
    assert told["warnings"] == ([warning] if credential.startswith("secretsmanager") else [])


async def test_a_deployed_gateway_is_known_to_google_by_an_audience_alone(plane: Plane) -> None:
    deployed = replace(plane.ports, reads_credentials=DEPLOYED_CREDENTIALS)
    vertex = {"slug": "v", "type": "vertex", "region": "global", "project": "our-project-123"}
    for audience, warnings in (({"audience": AUDIENCE}, 0), ({}, 1)):
        document = parse_policy({"providers": [{**vertex, **audience}]})
        told = (await apply_document(document, deployed, actor="test")).warnings
        assert len(told) == warnings
    assert told[0] == (
        "providers[0].credential: this gateway cannot read 'google'; it reads caller, aws, secretsmanager:, "
        "and google where an audience names a workload identity provider"
    )


async def test_a_price_that_is_far_from_the_list_is_a_warning_at_its_path(plane: Plane) -> None:
    prices = {
        "multiplier": 0.0009,
        "models": {
            "claude-sonnet-4-5": {"input": 0.000003, "output": 15, "cache_read": 0},
            "claude-Opus-4-5": {"input": 5, "output": 25_000},
            "my-own": {"input": 0.000003, "output": 1_000_000},
        },
    }
    file = {"providers": [{"slug": "a", "type": "anthropic", "credential": "caller", "prices": prices}]}
    warnings, _ = await applied(plane, file)
    assert warnings == [
        "providers[0].prices.models.claude-sonnet-4-5.input: is 0.000003 where the list has"
        " 3 USD; prices are for a million tokens",
        "providers[0].prices.models.claude-opus-4-5.output: is 25000 where the list has"
        " 25 USD; prices are for a million tokens",
        "providers[0].prices.multiplier: is 0.0009, so that a dollar of the list counts as $0.0009",
    ]


async def test_a_price_that_was_negotiated_is_no_warning(plane: Plane) -> None:
    prices = {"multiplier": 0.8, "models": {"claude-sonnet-4-5": {"input": 0.3, "output": 150}}}
    file = {"providers": [{"slug": "a", "type": "anthropic", "credential": "caller", "prices": prices}]}
    assert (await applied(plane, file))[0] == []
