"""Gateway and admin keys in SQLite, found by the hash of their secret."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import datetime

import msgspec
from msgspec.structs import replace

from farebox.adapters.local.sql.audit import note_change
from farebox.adapters.local.sql.codec import (
    cursor_place,
    cursor_text,
    json_text,
    microseconds,
    optional_microseconds,
)
from farebox.adapters.local.sql.database import Database
from farebox.domain.errors import Conflict, NotFound
from farebox.domain.identity import AdminKey, GatewayKey, refuse_if_changed
from farebox.ports import SYSTEM_ACTOR, Clock, Page

_gateway_key = msgspec.json.Decoder(GatewayKey).decode
_admin_key = msgspec.json.Decoder(AdminKey).decode


class LocalKeys:
    """Fills `ports.Keys`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def find_gateway_key(self, key_hash: bytes) -> GatewayKey | None:
        """Find the key behind a hash, revoked and expired ones too."""
        now_us = microseconds(self._clock.now())

        def step(connection: sqlite3.Connection) -> GatewayKey | None:
            row = connection.execute(
                "SELECT key.document FROM key_secret JOIN key ON key.id = key_secret.key_id"
                " WHERE hash = ? AND (valid_until_us IS NULL OR valid_until_us > ?)",
                (key_hash, now_us),
            ).fetchone()
            return _gateway_key(row[0]) if row else None

        return await self._database.look(step)

    async def find_admin_key(self, key_hash: bytes) -> AdminKey | None:
        """Find the admin key behind a hash, revoked and expired ones too."""

        def step(connection: sqlite3.Connection) -> AdminKey | None:
            row = connection.execute("SELECT document FROM admin_key WHERE hash = ?", (key_hash,)).fetchone()
            return _admin_key(row[0]) if row else None

        return await self._database.look(step)

    async def add_gateway_key(self, key: GatewayKey, key_hash: bytes, *, actor: str = SYSTEM_ACTOR) -> None:
        """Store a new key. Raises `Conflict` when the workspace has an open key of this name."""

        def step(connection: sqlite3.Connection) -> None:
            _refuse_name_in_use(connection, key)
            document = json_text(key)
            connection.execute(
                "INSERT INTO key (id, workspace, name, created_at_us, revoked_at_us, document)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (
                    key.id,
                    key.workspace,
                    key.name,
                    microseconds(key.created_at),
                    optional_microseconds(key.revoked_at),
                    document,
                ),
            )
            connection.execute("INSERT INTO key_secret (hash, key_id) VALUES (?, ?)", (key_hash, key.id))
            self._note(connection, actor, key, before=None, after=document)

        await self._database.write(step)

    async def add_admin_key(self, key: AdminKey, key_hash: bytes, *, actor: str = SYSTEM_ACTOR) -> None:
        """Store a new admin key. Raises `Conflict` for a name in use."""

        def step(connection: sqlite3.Connection) -> None:
            taken = "SELECT 1 FROM admin_key WHERE name = ? AND revoked_at_us IS NULL"
            if key.revoked_at is None and connection.execute(taken, (key.name,)).fetchone():
                raise Conflict(f"There is an admin key '{key.name}' already.")
            document = json_text(key)
            connection.execute(
                "INSERT INTO admin_key (id, name, hash, revoked_at_us, document) VALUES (?, ?, ?, ?, ?)",
                (key.id, key.name, key_hash, optional_microseconds(key.revoked_at), document),
            )
            self._note(connection, actor, key, before=None, after=document)

        await self._database.write(step)

    async def update_gateway_key(
        self, key: GatewayKey, *, before: GatewayKey | None = None, actor: str = SYSTEM_ACTOR
    ) -> None:
        """Replace everything but the secret of the key with this id. Revoking is an update too, and final."""

        def step(connection: sqlite3.Connection) -> None:
            stored = _stored(connection, key.id)
            old = _gateway_key(stored)
            if old.revoked_at is not None and key.revoked_at is None:
                raise Conflict(f"Key '{key.name}' is revoked, which is final. Create a new key.")
            _refuse_name_in_use(connection, key)
            refuse_if_changed(old, before)
            after = json_text(replace(key, shown=old.shown))
            if after == stored:
                return
            connection.execute(
                "UPDATE key SET workspace = ?, name = ?, created_at_us = ?, revoked_at_us = ?, document = ?"
                " WHERE id = ?",
                (
                    key.workspace,
                    key.name,
                    microseconds(key.created_at),
                    optional_microseconds(key.revoked_at),
                    after,
                    key.id,
                ),
            )
            is_revocation = old.revoked_at is None and key.revoked_at is not None
            action = "revoke" if is_revocation else "update"
            self._note(connection, actor, key, before=stored, after=after, action=action)

        await self._database.write(step)

    async def add_secret(
        self,
        key_id: str,
        key_hash: bytes,
        shown: str,
        old_valid_until: datetime,
        *,
        actor: str = SYSTEM_ACTOR,
    ) -> None:
        """Give a key a new secret in one atomic step; the old ones stop at `old_valid_until` or earlier."""

        def step(connection: sqlite3.Connection) -> None:
            before = _stored(connection, key_id)
            if connection.execute("SELECT 1 FROM key_secret WHERE hash = ?", (key_hash,)).fetchone():
                return
            connection.execute(
                "UPDATE key_secret SET valid_until_us = min(ifnull(valid_until_us, ?1), ?1)"
                " WHERE key_id = ?2",
                (microseconds(old_valid_until), key_id),
            )
            connection.execute("INSERT INTO key_secret (hash, key_id) VALUES (?, ?)", (key_hash, key_id))
            key = replace(_gateway_key(before), shown=shown)
            after = json_text(key)
            connection.execute("UPDATE key SET document = ? WHERE id = ?", (after, key_id))
            self._note(connection, actor, key, before=before, after=after, action="rotate")

        await self._database.write(step)

    async def get_gateway_key(self, name_or_id: str, workspace: str | None = None) -> GatewayKey:
        """Find by id, or by name (in one workspace, when given)."""

        def step(connection: sqlite3.Connection) -> GatewayKey:
            rows = connection.execute(
                "SELECT document FROM key WHERE (id = ?1 OR name = ?1) AND (?2 IS NULL OR workspace = ?2)"
                " ORDER BY id = ?1 DESC, revoked_at_us IS NULL DESC, revoked_at_us DESC",
                (name_or_id, workspace),
            ).fetchall()
            return _the_one(name_or_id, [_gateway_key(document) for (document,) in rows])

        return await self._database.look(step)

    async def list_gateway_keys(
        self, *, workspace: str | None = None, limit: int = 100, cursor: str | None = None
    ) -> Page[GatewayKey]:
        """List keys by name, revoked ones included."""
        name, key_id = cursor_place(cursor, tuple[str, str]) if cursor else (None, None)

        def step(connection: sqlite3.Connection) -> Page[GatewayKey]:
            rows = connection.execute(
                "SELECT document FROM key WHERE (?1 IS NULL OR workspace = ?1)"
                " AND (?2 IS NULL OR (name, id) > (?2, ?3)) ORDER BY name, id LIMIT ?4",
                (workspace, name, key_id, limit + 1),
            ).fetchall()
            keys = [_gateway_key(document) for (document,) in rows[:limit]]
            return Page(keys, cursor_text((keys[-1].name, keys[-1].id)) if len(rows) > limit else None)

        return await self._database.read(step)

    async def revoke_admin_key(self, key_id: str, at: datetime, *, actor: str = SYSTEM_ACTOR) -> None:
        """Revoke an admin key; one that is revoked keeps its moment. Raises `NotFound`."""

        def step(connection: sqlite3.Connection) -> None:
            row = connection.execute("SELECT document FROM admin_key WHERE id = ?", (key_id,)).fetchone()
            if row is None:
                raise NotFound("admin key", key_id)
            key = _admin_key(row[0])
            if key.revoked_at is not None:
                return
            key = replace(key, revoked_at=at)
            after = json_text(key)
            connection.execute(
                "UPDATE admin_key SET revoked_at_us = ?, document = ? WHERE id = ?",
                (microseconds(at), after, key_id),
            )
            self._note(connection, actor, key, before=row[0], after=after, action="revoke")

        await self._database.write(step)

    async def list_admin_keys(self) -> Sequence[AdminKey]:
        """List admin keys by name, revoked ones included."""

        def step(connection: sqlite3.Connection) -> list[AdminKey]:
            rows = connection.execute("SELECT document FROM admin_key ORDER BY name, id").fetchall()
            return [_admin_key(document) for (document,) in rows]

        return await self._database.read(step)

    def _note(
        self,
        connection: sqlite3.Connection,
        actor: str,
        key: GatewayKey | AdminKey,
        *,
        before: str | None,
        after: str,
        action: str | None = None,
    ) -> None:
        note_change(
            connection,
            at=self._clock.now(),
            actor=actor,
            kind="gateway_key" if isinstance(key, GatewayKey) else "admin_key",
            name=f"{key.workspace}/{key.name}" if isinstance(key, GatewayKey) else key.name,
            before=before,
            after=after,
            action=action,
        )


def _stored(connection: sqlite3.Connection, key_id: str) -> str:
    row = connection.execute("SELECT document FROM key WHERE id = ?", (key_id,)).fetchone()
    if row is None:
        raise NotFound("key", key_id)
    document: str = row[0]
    return document


def _refuse_name_in_use(connection: sqlite3.Connection, key: GatewayKey) -> None:
    if key.revoked_at is not None:
        return
    taken = "SELECT 1 FROM key WHERE workspace = ? AND name = ? AND revoked_at_us IS NULL AND id <> ?"
    if connection.execute(taken, (key.workspace, key.name, key.id)).fetchone():
        raise Conflict(f"Workspace '{key.workspace}' has a key '{key.name}' already.")


def _the_one(name_or_id: str, keys: Sequence[GatewayKey]) -> GatewayKey:
    """Choose among keys of one name, open ones first; a name cannot choose between workspaces."""
    if not keys:
        raise NotFound("key", name_or_id)
    if keys[0].id == name_or_id:
        return keys[0]
    candidates = [key for key in keys if key.revoked_at is None] or keys
    workspaces = sorted({key.workspace for key in candidates})
    if len(workspaces) > 1:
        several = ", ".join(workspaces)
        raise Conflict(f"Workspaces {several} each have a key '{name_or_id}'. Name the workspace or the id.")
    return candidates[0]
