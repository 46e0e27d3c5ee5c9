"""A key is made while its workspace is removed: one of the two says no."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest
from msgspec.structs import replace

from farebox.domain.policy import WORKSPACE
from farebox.http.admin.app import build_admin_app
from tests.http.admin.plane import ADMIN_SECRET, Plane

NEW_KEY = {"name": "alice", "workspace": "w"}
PATH = "/v1/admin/workspaces/w"


class HastyKeys:
    """A key store next to which somebody removes a workspace, just before or after a key is added."""

    def __init__(self, plane: Plane, *, hurry: Any) -> None:
        self._keys, self._hurry = plane.store.keys, hurry

    def __getattr__(self, name: str) -> Any:
        return getattr(self._keys, name)

    async def add_gateway_key(self, *args: Any, **kwargs: Any) -> None:
        await self._keys.add_gateway_key(*args, **kwargs)
        await self._hurry()


async def states(plane: Plane) -> list[str]:
    return [row["state"] for row in (await plane.ask("GET", "/v1/api-keys"))["rows"]]


@pytest.mark.parametrize("is_key_first", [True, False])
async def test_in_one_process_a_workspace_with_a_key_stays_or_the_key_is_refused(
    plane: Plane, is_key_first: bool
) -> None:
    await plane.ask("POST", "/v1/admin/workspaces", 201, json={"slug": "w"})
    creating = plane.client.post("/v1/api-keys", json=NEW_KEY)
    deleting = plane.client.delete(PATH)
    asked = (creating, deleting) if is_key_first else (deleting, creating)
    statuses = sorted(answer.status_code for answer in await asyncio.gather(*asked))
    left = await plane.client.get(PATH)
    assert (statuses, left.status_code, await states(plane)) in [
        ([201, 409], 200, ["active"]),
        ([204, 400], 404, []),
    ]


async def test_a_key_is_taken_back_when_another_process_removed_its_workspace(plane: Plane) -> None:
    await plane.ask("POST", "/v1/admin/workspaces", 201, json={"slug": "w"})

    async def remove() -> None:
        version, _ = await plane.store.policies.resources()
        await plane.store.policies.write(
            upserts=[], deletes=[(WORKSPACE, "w")], expected_version=version, actor="another"
        )

    ports: Any = replace(plane.ports, keys=HastyKeys(plane, hurry=remove))
    transport = httpx2.ASGITransport(build_admin_app(ports))
    headers = {"authorization": f"Bearer {ADMIN_SECRET}"}
    async with httpx2.AsyncClient(transport=transport, base_url="http://admin", headers=headers) as client:
        answer = await client.post("/v1/api-keys", json=NEW_KEY)
    assert (answer.status_code, answer.json()["error"]["path"]) == (400, "workspace")
    assert await states(plane) == ["revoked"]
