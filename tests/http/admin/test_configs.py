"""Saved configs through the admin plane: in our shape, in Portkey's, and every version of each."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.http.admin.plane import Plane

PATH = "/v1/configs"
NOON = "2026-11-23T12:00:00Z"
DEMO = {"provider": "@demo"}


async def saved(plane: Plane, config: dict[str, Any], slug: str = "main") -> Any:
    return await plane.ask("POST", PATH, 201, json={"slug": slug, "config": config})


async def test_a_config_is_created_read_replaced_and_removed(plane: Plane) -> None:
    row = {
        "slug": "main",
        "config": DEMO,
        "position": 0,
        "origin": "admin",
        "updated_at": NOON,
        "id": "main",
        "name": "main",
        "version": 1,
        "version_id": "main@1",
        "status": "active",
        "is_default": 0,
        "object": "config",
        "created_at": NOON,
        "last_updated_at": NOON,
    }
    assert await saved(plane, DEMO) == {**row, "warnings": []}
    assert await plane.ask("GET", f"{PATH}/main") == row
    listed = await plane.ask("GET", PATH)
    assert listed["rows"] == listed["data"] == [row]
    assert (listed["next"], listed["object"], listed["success"], listed["total"]) == (None, "list", True, 1)
    await plane.refused("POST", PATH, 409, json={"slug": "main", "config": DEMO})
    other = {"provider": "@anthropic"}
    replaced = await plane.ask("PUT", f"{PATH}/main", json={"slug": "main", "config": other})
    assert (replaced["config"], replaced["version_id"]) == (other, "main@2")
    removed = await plane.ask("DELETE", f"{PATH}/main")
    assert removed == {"slug": "main", "object": "config", "success": True}
    for method in ("GET", "DELETE"):
        await plane.refused(method, f"{PATH}/main", 404)
    await plane.refused("PUT", f"{PATH}/main", 404, json={"config": DEMO})
    await plane.refused("GET", f"{PATH}/main/versions", 404)


async def test_every_version_can_be_read_and_none_changes(plane: Plane) -> None:
    for attempts in (1, 2, 2, 3):
        body = {"config": {**DEMO, "retry": {"attempts": attempts}}}
        if attempts == 1:
            await saved(plane, body["config"])
        else:
            await plane.ask("PUT", f"{PATH}/main", json=body)
    rows = (await plane.ask("GET", f"{PATH}/main/versions"))["rows"]
    assert [(row["version_id"], row["config"]["retry"]["attempts"]) for row in rows] == [
        ("main@3", 3),
        ("main@2", 2),
        ("main@1", 1),
    ]
    assert {row["saved_by"] for row in rows} == {"admin:root"}
    first = await plane.ask("GET", f"{PATH}/main@1")
    assert (first["version"], first["config"]) == (1, {**DEMO, "retry": {"attempts": 1}})
    await plane.refused("GET", f"{PATH}/main@9", 404)


async def test_portkeys_shape_names_a_config_and_gets_a_slug(plane: Plane) -> None:
    body = {"name": "Team A: fast!", "config": DEMO, "isDefault": 0, "workspace_id": "ws-1"}
    created = await plane.ask("POST", PATH, 201, json=body)
    assert re.fullmatch("pc-team-a-fast-[0-9a-f]{6}", created["slug"])
    assert (created["id"], created["version_id"]) == (created["slug"], created["slug"] + "@1")
    renamed = await plane.ask("PUT", f"{PATH}/{created['slug']}", json={"name": "Team B", "status": "active"})
    assert (renamed["name"], renamed["config"], renamed["version"]) == ("Team B", DEMO, 1)


async def test_a_config_may_be_json_text(plane: Plane) -> None:
    created = await plane.ask("POST", PATH, 201, json={"slug": "text", "config": '{"provider": "@demo"}'})
    assert created["config"] == DEMO


@pytest.mark.parametrize(
    ("body", "named", "said"),
    [
        ({"config": DEMO}, "body", "needs a slug, or a name"),
        ({"slug": "a b", "config": DEMO}, "slug", "1 to 64 letters"),
        ({"name": "x", "config": DEMO, "isDefault": 1}, "body", "named by the workspace"),
        ({"name": "x"}, "config", "is required"),
        (
            {"name": "x", "config": {"retry": {"attemps": 1}}},
            "config.retry.attemps",
            "did you mean 'attempts'",
        ),
        ({"name": "x", "config": DEMO, "colour": 1}, "colour", "unknown field"),
    ],
)
async def test_what_is_wrong_names_the_field(
    plane: Plane, body: dict[str, Any], named: str, said: str
) -> None:
    message, path = await plane.refused("POST", PATH, 400, json=body)
    assert path == named
    assert said in message


@pytest.mark.parametrize(
    ("body", "named"),
    [({"slug": "other"}, "slug"), ({"config": {"zzz": 1}}, "config.zzz"), ({"status": "off"}, "status")],
)
async def test_a_change_that_cannot_be_made_names_the_field(
    plane: Plane, body: dict[str, Any], named: str
) -> None:
    await saved(plane, DEMO)
    assert (await plane.refused("PUT", f"{PATH}/main", 400, json=body))[1] == named


async def test_an_apply_tells_a_changed_config_field_by_field(plane: Plane) -> None:
    targets: list[dict[str, Any]] = [{**DEMO, "retry": {"attempts": 1}}, {"provider": "@anthropic"}]
    config: dict[str, Any] = {"strategy": {"mode": "fallback"}, "targets": targets}
    await plane.ask("POST", "/v1/apply", json={"configs": [{"slug": "main", "config": config}]})
    changed = {
        **config,
        "targets": [{**targets[0], "retry": {"attempts": 3}}, targets[1], {"provider": "@demo"}],
    }
    answer = await plane.ask(
        "POST", "/v1/apply?dry_run=true", json={"configs": [{"slug": "main", "config": changed}]}
    )
    assert answer["changes"] == [
        {
            "kind": "config",
            "name": "main",
            "action": "changed",
            "fields": [
                {"path": "config.targets[0].retry.attempts", "before": 1, "after": 3},
                {"path": "config.targets[2]", "before": None, "after": {"provider": "@demo"}},
            ],
        }
    ]
    assert [row["version"] for row in (await plane.ask("GET", f"{PATH}/main/versions"))["rows"]] == [1]


async def test_a_key_and_a_workspace_may_stay_with_one_version(plane: Plane) -> None:
    await saved(plane, DEMO)
    await plane.ask("PUT", f"{PATH}/main", json={"config": {"provider": "@anthropic"}})
    await plane.ask("POST", "/v1/admin/workspaces", 201, json={"slug": "w", "config": "main@1"})
    key = await plane.ask("POST", "/v1/api-keys", 201, json={"name": "alice", "config": "main@2"})
    assert key["config"] == "main@2"
    for name, said in (
        ("main@3", "there is no version 'main@3'"),
        ("gone@1", "there is no config 'gone'"),
        ("main@x", "or one version of it"),
    ):
        message, path = await plane.refused("POST", "/v1/api-keys", 400, json={"name": "bob", "config": name})
        assert (path, said in message) == ("config", True)


async def test_a_config_may_name_a_type_as_portkey_does(plane: Plane) -> None:
    place = {"region": "global", "project": "our-project"}
    mine = {"slug": "mine", "type": "vertex", "credential": "caller", **place}
    await plane.ask("POST", "/v1/providers", 201, json=mine)
    assert (await saved(plane, {"provider": "vertex-ai"}))["config"] == {"provider": "vertex-ai"}
    message, path = await plane.refused(
        "POST", PATH, 400, json={"slug": "x", "config": {"provider": "google"}}
    )
    assert path == "config 'x'.config.provider"
    assert message.startswith("config 'x'.config.provider: there is no provider 'google' (there are: mine")
