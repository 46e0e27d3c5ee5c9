"""Gateway keys through the admin plane."""

from datetime import timedelta
from typing import Any

import pytest

from farebox.domain.identity import is_key_text, key_hash
from tests.http.admin.plane import Plane

FULL = {
    "name": "alice",
    "workspace": "platform",
    "user": "alice@example.com",
    "metadata": {"team": "core"},
    "models": ["claude-*"],
    "providers": ["demo"],
    "config": "main",
    "allow_config_override": False,
    "expires_at": "2027-01-31T00:00:00Z",
}
POLICY = b"workspaces: [{slug: platform}]\nconfigs: [{slug: main, config: {provider: '@demo'}}]"


def row(**fields: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "workspace": "default",
        "state": "active",
        "user": None,
        "metadata": {},
        "models": [],
        "providers": [],
        "config": None,
        "allow_config_override": True,
        "created_at": "2026-11-23T12:00:00Z",
        "expires_at": None,
        "revoked_at": None,
    }
    return {**plain, **fields}


async def create(plane: Plane, **fields: Any) -> Any:
    return await plane.ask("POST", "/v1/api-keys", 201, json=fields)


async def test_a_key_is_created_with_everything_it_may_have(plane: Plane) -> None:
    await plane.ask("POST", "/v1/apply", content=POLICY)
    made = await create(plane, **FULL)
    assert is_key_text(made["key"])
    assert made == row(**FULL, id=made["id"], key=made["key"], shown=made["key"][:9])
    stored = await plane.store.keys.find_gateway_key(key_hash(made["key"]))
    assert stored == await plane.store.keys.get_gateway_key("alice", "platform")


async def test_a_secret_is_told_once_and_never_again(plane: Plane) -> None:
    made = await create(plane, name="alice")
    answers = [
        await plane.client.get(path) for path in ("/v1/api-keys", "/v1/api-keys/alice", "/v1/audit-logs")
    ]
    assert all(made["key"] not in answer.text for answer in answers)
    assert made["key"].encode() not in b"".join(
        path.read_bytes() for path in plane.store.database.path.parent.iterdir()
    )


async def test_a_key_may_expire_after_a_span(plane: Plane) -> None:
    assert (await create(plane, name="a", expires="30d"))["expires_at"] == "2026-12-23T12:00:00Z"
    plane.clock.advance(timedelta(days=30))
    assert (await plane.ask("GET", "/v1/api-keys/a"))["state"] == "expired"


async def test_keys_are_listed_by_name_page_by_page(plane: Plane) -> None:
    for name in ("carol", "alice", "bob"):
        await create(plane, name=name)
    first = await plane.ask("GET", "/v1/api-keys", params={"limit": 2})
    second = await plane.ask("GET", "/v1/api-keys", params={"limit": 2, "cursor": first["next"]})
    assert [each["name"] for each in first["rows"]] == ["alice", "bob"]
    assert [each["name"] for each in second["rows"]] == ["carol"]
    assert second["next"] is None


async def test_a_name_is_taken_until_its_key_is_revoked(plane: Plane) -> None:
    first = await create(plane, name="alice")
    await plane.refused("POST", "/v1/api-keys", 409, json={"name": "alice"})
    revoked = await plane.ask("DELETE", "/v1/api-keys/alice")
    assert (revoked["state"], revoked["revoked_at"]) == ("revoked", "2026-11-23T12:00:00Z")
    second = await create(plane, name="alice")
    assert second["id"] != first["id"]


async def test_revoking_twice_keeps_the_first_moment(plane: Plane) -> None:
    made = await create(plane, name="alice")
    await plane.ask("DELETE", f"/v1/api-keys/{made['id']}")
    plane.clock.advance(timedelta(hours=1))
    again = await plane.ask("DELETE", f"/v1/api-keys/{made['id']}")
    assert again["revoked_at"] == "2026-11-23T12:00:00Z"


async def test_an_update_changes_what_it_names_and_null_takes_away(plane: Plane) -> None:
    made = await create(plane, name="alice", user="a", metadata={"x": "1"}, expires="1d")
    body = {"metadata": {"y": "2"}, "user": None, "allow_config_override": False, "expires_at": None}
    changed = await plane.ask("PUT", "/v1/api-keys/alice", json=body)
    assert changed == row(
        id=made["id"], name="alice", shown=made["shown"], metadata={"y": "2"}, allow_config_override=False
    )
    later = await plane.ask("PUT", "/v1/api-keys/alice", json={"expires": "2h"})
    assert later["expires_at"] == "2026-11-23T14:00:00Z"
    assert await plane.ask("GET", "/v1/api-keys/alice") == later


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "name"),
        ({"name": "a", "colour": 1}, "colour"),
        ({"name": "a/b"}, "name"),
        ({"name": "a", "models": "claude-*"}, "models"),
        ({"name": "a", "metadata": {"x": 1.5}}, "metadata.x"),
        ({"name": "a", "expires": "2026-11-23T11:59:59Z"}, "expires"),
        ({"name": "a", "expires": "2026-11-23"}, "expires"),
        ({"name": "a", "expires_at": "2026-11-23T12:00:00Z"}, "expires_at"),
        ({"name": "a", "expires": "soon"}, "expires"),
        ({"name": "a", "expires_at": "soon"}, "expires_at"),
        ({"name": "a", "expires": "1d", "expires_at": "2027-01-31T00:00:00Z"}, "body"),
        ({"name": "a", "workspace": "nowhere"}, "workspace"),
        ({"name": "a", "config": "nothing"}, "config"),
        ({"name": "a", "providers": ["demo", "nobody"]}, "providers[1]"),
    ],
)
async def test_a_creation_that_is_wrong_names_the_field(plane: Plane, body: Any, path: str) -> None:
    message, named = await plane.refused("POST", "/v1/api-keys", 400, json=body)
    assert named == path
    assert message.startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"name": "b"}, "name"),
        ({"workspace": "platform"}, "workspace"),
        ({"colour": 1}, "colour"),
        ({"config": "nothing"}, "config"),
        ({"expires": "2026-11-23"}, "expires"),
        ({"expires": "soon"}, "expires"),
    ],
)
async def test_an_update_that_is_wrong_names_the_field(plane: Plane, body: Any, path: str) -> None:
    await create(plane, name="alice")
    assert (await plane.refused("PUT", "/v1/api-keys/alice", 400, json=body))[1] == path


async def test_a_body_that_is_no_json_is_told_as_such(plane: Plane) -> None:
    headers = {"content-type": "application/json"}
    answer = await plane.refused("POST", "/v1/api-keys", 400, content=b"{no", headers=headers)
    assert answer == ("body: JSON decode error", "body")


async def test_a_rotation_gives_a_new_secret_and_the_old_one_opens_until_the_overlap_ends(
    plane: Plane,
) -> None:
    made = await create(plane, name="alice")
    rotated = await plane.ask("POST", "/v1/api-keys/alice/rotate", json={"overlap_s": 60})
    assert rotated["id"] == made["id"]
    assert rotated["key"] != made["key"]
    assert rotated["old_valid_until"] == "2026-11-23T12:01:00Z"
    keys = plane.store.keys
    assert await keys.find_gateway_key(key_hash(made["key"])) is not None
    plane.clock.advance(timedelta(seconds=61))
    assert await keys.find_gateway_key(key_hash(made["key"])) is None
    assert await keys.find_gateway_key(key_hash(rotated["key"])) is not None


async def test_a_rotation_without_a_body_overlaps_half_an_hour(plane: Plane) -> None:
    await create(plane, name="alice")
    rotated = await plane.ask("POST", "/v1/api-keys/alice/rotate")
    assert rotated["old_valid_until"] == "2026-11-23T12:30:00Z"


async def test_a_revoked_key_is_not_rotated(plane: Plane) -> None:
    await create(plane, name="alice")
    await plane.ask("DELETE", "/v1/api-keys/alice")
    message, _ = await plane.refused("POST", "/v1/api-keys/alice/rotate", 409)
    assert message == "Key 'alice' is revoked; create a new one instead."


async def test_a_key_that_is_not_there_is_a_404(plane: Plane) -> None:
    for method, path in (("GET", ""), ("PUT", ""), ("DELETE", ""), ("POST", "/rotate")):
        message, _ = await plane.refused(method, f"/v1/api-keys/nobody{path}", 404, json={})
        assert "nobody" in message


async def test_a_name_in_two_workspaces_wants_its_workspace(plane: Plane) -> None:
    await plane.ask("POST", "/v1/apply", content=POLICY)
    await create(plane, name="alice")
    await create(plane, name="alice", workspace="platform")
    await plane.refused("DELETE", "/v1/api-keys/alice", 409)
    revoked = await plane.ask("DELETE", "/v1/api-keys/alice", params={"workspace": "platform"})
    assert revoked["workspace"] == "platform"
    live = await plane.ask("GET", "/v1/api-keys/alice", params={"workspace": "default"})
    assert live["state"] == "active"


async def test_the_audit_names_the_administrator(plane: Plane) -> None:
    await create(plane, name="alice")
    (entry,) = (await plane.ask("GET", "/v1/audit-logs", params={"limit": 1}))["rows"]
    assert (entry["actor"], entry["action"], entry["kind"]) == ("admin:root", "create", "gateway_key")
