"""Routes of admin keys: /v1/admin-keys. The last one that opens cannot be revoked."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import StringConstraints

from farebox.domain.errors import Conflict, NotFound
from farebox.domain.identity import AdminKey
from farebox.http.admin.auth import actor
from farebox.http.admin.issue import issue_admin_key
from farebox.http.admin.ports import AdminPorts
from farebox.http.admin.rows import Row, listing
from farebox.http.moments import optional_utc_text, utc_text
from farebox.http.policy_sections import Section

Name = Annotated[
    str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]*$")
]


class NewAdminKey(Section):
    """An admin key to create."""

    name: Name


def admin_key_router(ports: AdminPorts) -> APIRouter:
    """Make the routes."""
    router = APIRouter(prefix="/v1/admin-keys", tags=["admin keys"])

    @router.get("")
    async def list_admin_keys() -> Row:
        """List admin keys by name, revoked ones included."""
        now = ports.clock.now()
        return listing([_row(key, now) for key in await ports.keys.list_admin_keys()])

    @router.post("", status_code=201)
    async def create(request: Request, body: NewAdminKey) -> Row:
        """Create an admin key and give its secret, once."""
        key, secret = await issue_admin_key(
            body.name, ports.keys, ports.clock, ports.randomness, actor=actor(request)
        )
        return {"key": secret, **_row(key, ports.clock.now())}

    @router.delete("/{name_or_id}")
    async def revoke(request: Request, name_or_id: str) -> Row:
        """Revoke an admin key for good."""
        now = ports.clock.now()
        keys = await ports.keys.list_admin_keys()
        key = next((each for each in keys if name_or_id in (each.id, each.name)), None)
        if key is None:
            raise NotFound("admin key", name_or_id)
        if not any(each.is_valid(now) for each in keys if each.id != key.id):
            raise Conflict(f"'{key.name}' is the last admin key that opens. Create another one first.")
        await ports.keys.revoke_admin_key(key.id, now, actor=actor(request))
        changed = await ports.keys.list_admin_keys()
        return _row(next(each for each in changed if each.id == key.id), now)

    return router


def _row(key: AdminKey, now: datetime) -> Row:
    return {
        "id": key.id,
        "name": key.name,
        "state": "active" if key.is_valid(now) else "revoked",
        "shown": key.shown,
        "created_at": utc_text(key.created_at),
        "revoked_at": optional_utc_text(key.revoked_at),
    }
