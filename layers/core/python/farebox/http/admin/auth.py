"""Who may use the admin plane: whoever holds an admin key. Gateway keys open nothing here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import Request

from farebox.domain.errors import KeyRefused
from farebox.domain.identity import ADMIN_KEY_PREFIX, AdminKey, is_key_text, key_hash
from farebox.http.admin.ports import AdminPorts


def admin_key_check(ports: AdminPorts) -> Callable[[Request], Awaitable[AdminKey]]:
    """Make the check that every route of the admin plane depends on. It raises `KeyRefused`."""

    async def check(request: Request) -> AdminKey:
        text = _presented(request)
        key = await ports.keys.find_admin_key(key_hash(text)) if is_key_text(text, ADMIN_KEY_PREFIX) else None
        if key is None or not key.is_valid(ports.clock.now()):
            raise KeyRefused()
        request.state.actor = f"admin:{key.name}"
        return key

    return check


def actor(request: Request) -> str:
    """Name whoever was let in, for the audit trail."""
    return str(request.state.actor)


def _presented(request: Request) -> str:
    """Take the first of the two headers that holds something like an admin key."""
    scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
    texts = (request.headers.get("x-portkey-api-key", ""), bearer if scheme.lower() == "bearer" else "")
    return next((text.strip() for text in texts if text.strip().startswith(ADMIN_KEY_PREFIX)), "")
