"""Single pieces of policy through the admin plane."""

from pathlib import Path
from typing import Any

import pytest

from tests.http.admin.plane import Plane, admin_plane

KINDS: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    (
        "/v1/providers",
        "p",
        {"slug": "p", "type": "anthropic", "credential": "caller"},
        {"models": ["claude-*"]},
    ),
    ("/v1/admin/workspaces", "w", {"slug": "w"}, {"models": ["claude-*"]}),
    ("/v1/policies/usage-limits", "b", {"name": "b", "period": "day", "usd": "1"}, {"usd": "2"}),
    ("/v1/policies/rate-limits", "r", {"name": "r", "per": "minute", "requests": 1}, {"requests": 2}),
    ("/v1/policies/brakes", "b", {"name": "b", "session_usd": "20"}, {"session_usd": "30"}),
]


@pytest.mark.parametrize(("path", "name", "body", "change"), KINDS, ids=[kind[0] for kind in KINDS])
async def test_every_kind_is_created_read_replaced_and_removed(
    plane: Plane, path: str, name: str, body: dict[str, Any], change: dict[str, Any]
) -> None:
    stored = {**body, "position": 0, "origin": "admin", "updated_at": "2026-11-23T12:00:00Z"}
    created = await plane.ask("POST", path, 201, json=body)
    assert {**created, "warnings": []} == {**stored, "warnings": []}
    assert await plane.ask("GET", f"{path}/{name}") == stored
    assert stored in (await plane.ask("GET", path))["rows"]
    await plane.refused("POST", path, 409, json=body)
    replaced = await plane.ask("PUT", f"{path}/{name}", json={**body, **change})
    assert {**replaced, "warnings": []} == {**stored, **change, "warnings": []}
    await plane.ask("DELETE", f"{path}/{name}", 204)
    for method in ("GET", "DELETE"):
        await plane.refused(method, f"{path}/{name}", 404)
    await plane.refused("PUT", f"{path}/{name}", 404, json=body)


async def test_pieces_stand_in_the_order_of_their_creation(plane: Plane) -> None:
    for slug in ("z", "a", "m"):
        await plane.ask("POST", "/v1/providers", 201, json={"slug": slug, "type": "demo"})
    policy = await plane.store.policies.current()
    assert [spec.slug for spec in policy.providers] == ["z", "a", "m"]


async def test_a_piece_cannot_be_renamed(plane: Plane) -> None:
    await plane.ask("POST", "/v1/admin/workspaces", 201, json={"slug": "w"})
    answer = await plane.refused("PUT", "/v1/admin/workspaces/w", 400, json={"slug": "v"})
    assert answer == ("name: 'v' is not the 'w' of the path; names cannot change", "name")


@pytest.mark.parametrize(
    ("path", "body", "named"),
    [
        ("/v1/providers", {"slug": "p", "type": "skynet"}, "type"),
        ("/v1/configs", {"slug": "c", "config": {"provider": "@nobody"}}, "config 'c'.config.provider"),
        ("/v1/configs", {"slug": "c", "config": {"strategy": {"mode": "x"}}}, "config.strategy.mode"),
        ("/v1/admin/workspaces", {"slug": "w", "config": "c"}, "workspace 'w'.config"),
        ("/v1/policies/usage-limits", {"name": "b", "period": "day", "usd": -1}, "usd"),
        ("/v1/policies/usage-limits", {"name": "b", "period": "day", "usd": 1, "tokens": 1}, "body"),
    ],
)
async def test_a_piece_that_is_wrong_names_the_field(
    plane: Plane, path: str, body: dict[str, Any], named: str
) -> None:
    assert (await plane.refused("POST", path, 400, json=body))[1] == named


async def test_what_is_in_use_is_not_removed(plane: Plane) -> None:
    await plane.ask("POST", "/v1/providers", 201, json={"slug": "p", "type": "demo"})
    await plane.ask("POST", "/v1/configs", 201, json={"slug": "c", "config": {"provider": "@p"}})
    await plane.ask("POST", "/v1/admin/workspaces", 201, json={"slug": "w", "config": "c"})
    await plane.ask("POST", "/v1/api-keys", 201, json={"name": "alice", "workspace": "w"})
    for path, why in (
        ("/v1/providers/p", "provider 'p' is in use: config 'c'.config.provider"),
        ("/v1/configs/c", "config 'c' is in use: workspace 'w'.config"),
        ("/v1/admin/workspaces/w", "Workspace 'w' has keys (alice)."),
    ):
        message, _ = await plane.refused("DELETE", path, 409)
        assert message.startswith(why)
    await plane.ask("DELETE", "/v1/api-keys/alice")
    for path, status in (("/v1/admin/workspaces/w", 204), ("/v1/configs/c", 200), ("/v1/providers/p", 204)):
        await plane.ask("DELETE", path, status)


async def test_a_warning_comes_with_the_piece(plane: Plane) -> None:
    created = await plane.ask(
        "POST", "/v1/providers", 201, json={"slug": "p", "type": "openai", "credential": "env:X"}
    )
    assert created["warnings"] == ["type: this version does not serve 'openai' and refuses its requests"]


async def test_the_default_workspace_is_listed_although_nobody_stored_it(plane: Plane) -> None:
    (row,) = (await plane.ask("GET", "/v1/admin/workspaces"))["rows"]
    assert (row["slug"], row["origin"]) == ("default", "builtin")


async def test_a_change_is_planned_anew_when_another_process_wrote_first(tmp_path: Path) -> None:
    async with admin_plane(tmp_path, races=2) as plane:
        await plane.ask("POST", "/v1/admin/workspaces", 201, json={"slug": "w"})
        assert "w" in (await plane.store.policies.current()).workspaces


async def test_a_change_gives_up_when_others_do_not_stop_writing(tmp_path: Path) -> None:
    async with admin_plane(tmp_path, races=100) as plane:
        message, _ = await plane.refused("POST", "/v1/admin/workspaces", 409, json={"slug": "w"})
        assert message == "The policy is being changed by somebody else; try again."
