"""Gateway and admin keys in DynamoDB, found by the hash of their secret in one read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import cast

import msgspec
from msgspec.structs import replace

from farebox.adapters.aws import audit
from farebox.adapters.aws.codec import cursor_place, cursor_text, microseconds
from farebox.adapters.aws.dynamodb.actions import Action
from farebox.adapters.aws.dynamodb.attributes import Item
from farebox.adapters.aws.dynamodb.errors import Unmet
from farebox.adapters.aws.dynamodb.items import Items
from farebox.adapters.aws.key_store.kept import Kept
from farebox.adapters.aws.key_store.key_items import (
    ADMIN,
    GATEWAY,
    AnyKey,
    StoredKey,
    document_of,
    id_key,
    key_actions,
    kind_of,
    name_actions,
    place_of,
    secret_key,
)
from farebox.adapters.aws.stamps import Stamps
from farebox.adapters.aws.tables import TableNames
from farebox.domain.errors import Conflict, NotFound, StoreFault
from farebox.domain.identity import AdminKey, GatewayKey, refuse_if_changed
from farebox.ports import SYSTEM_ACTOR, AuditEntry, Clock, Page

_MAX_ROUNDS = 6

FRESH_MS = 3_000
"""How long a key that was found serves without another read: a revocation holds everywhere within 5 s."""

STALE_MS = 300_000
"""How old a key may be while the store cannot answer. It could not have been revoked meanwhile either."""


class DynamoKeys:
    """Fills `ports.Keys`. What authentication finds is kept for `fresh_ms`; a change by this process is seen
    by it at once.
    """

    def __init__(
        self, items: Items, tables: TableNames, clock: Clock, stamps: Stamps, *, fresh_ms: int = FRESH_MS
    ) -> None:
        self._items, self._table = items, tables.keys
        self._clock, self._stamps = clock, stamps
        self._kept: Kept[bytes, Item] = Kept(clock, fresh_ms)

    async def find_gateway_key(self, key_hash: bytes) -> GatewayKey | None:
        """Find the key behind a hash, revoked and expired ones too."""
        key = await self._find(key_hash)
        return key if isinstance(key, GatewayKey) else None

    async def find_admin_key(self, key_hash: bytes) -> AdminKey | None:
        """Find the admin key behind a hash, revoked and expired ones too."""
        key = await self._find(key_hash)
        return key if isinstance(key, AdminKey) else None

    async def add_gateway_key(self, key: GatewayKey, key_hash: bytes, *, actor: str = SYSTEM_ACTOR) -> None:
        """Store a new key. Raises `Conflict` when the workspace has an open key of this name."""
        await self._add(key, key_hash, actor)

    async def add_admin_key(self, key: AdminKey, key_hash: bytes, *, actor: str = SYSTEM_ACTOR) -> None:
        """Store a new admin key. Raises `Conflict` for a name in use."""
        await self._add(key, key_hash, actor)

    async def update_gateway_key(
        self, key: GatewayKey, *, before: GatewayKey | None = None, actor: str = SYSTEM_ACTOR
    ) -> None:
        """Replace everything but the secret of the key with this id. Revoking is an update too, and final."""

        def changed(old: StoredKey) -> tuple[StoredKey, str] | None:
            if old.key.revoked_at is not None and key.revoked_at is None:
                raise Conflict(f"Key '{key.name}' is revoked, which is final. Create a new key.")
            refuse_if_changed(old.key, before)
            updated = replace(key, shown=old.key.shown)
            if updated == old.key:
                return None
            is_revocation = old.key.revoked_at is None and key.revoked_at is not None
            return replace(old, key=updated), "revoke" if is_revocation else "update"

        await self._change(GATEWAY, key.id, changed, actor)

    async def add_secret(
        self,
        key_id: str,
        key_hash: bytes,
        shown: str,
        old_valid_until: datetime,
        *,
        actor: str = SYSTEM_ACTOR,
    ) -> None:
        """Give a key a new secret in one atomic step; the old ones stop at `old_valid_until` or earlier.

        Those that have stopped already are forgotten.
        """
        until_us, now_us = microseconds(old_valid_until), microseconds(self._clock.now())

        def changed(old: StoredKey) -> tuple[StoredKey, str] | None:
            if key_hash.hex() in old.secrets:
                return None
            ending = {
                each: until_us if valid is None else min(valid, until_us)
                for each, valid in old.secrets.items()
                if valid is None or valid > now_us
            }
            return replace(
                old, key=replace(old.key, shown=shown), secrets={**ending, key_hash.hex(): None}
            ), "rotate"

        await self._change(GATEWAY, key_id, changed, actor)

    async def get_gateway_key(self, name_or_id: str, workspace: str | None = None) -> GatewayKey:
        """Find by id, or by name (in one workspace, when given)."""
        found = [
            key
            for key in (await self._stored_or_none(GATEWAY, name_or_id), *await self._named(name_or_id))
            if isinstance(key, GatewayKey) and workspace in (None, key.workspace)
        ]
        return _the_one(name_or_id, found)

    async def list_gateway_keys(
        self, *, workspace: str | None = None, limit: int = 100, cursor: str | None = None
    ) -> Page[GatewayKey]:
        """List keys by name, revoked ones included."""
        after = place_of(*cursor_place(cursor, tuple[str, str])) if cursor else "\0"
        keys: list[GatewayKey] = []
        walk = self._items.query(self._table, "#pk = :pk AND #sk > :after", pk=GATEWAY, after=after)
        async for item in walk:
            key = cast(GatewayKey, document_of(item))
            if workspace not in (None, key.workspace):
                continue
            if len(keys) == limit:
                return Page(keys, cursor_text((keys[-1].name, keys[-1].id)))
            keys.append(key)
        return Page(keys)

    async def revoke_admin_key(self, key_id: str, at: datetime, *, actor: str = SYSTEM_ACTOR) -> None:
        """Revoke an admin key; one that is revoked keeps its moment. Raises `NotFound`."""

        def changed(old: StoredKey) -> tuple[StoredKey, str] | None:
            if old.key.revoked_at is not None:
                return None
            return replace(old, key=replace(old.key, revoked_at=at)), "revoke"

        await self._change(ADMIN, key_id, changed, actor)

    async def list_admin_keys(self) -> Sequence[AdminKey]:
        """List admin keys by name, revoked ones included."""
        walk = self._items.query(self._table, "#pk = :pk", pk=ADMIN)
        return [cast(AdminKey, document_of(item)) async for item in walk]

    async def _find(self, key_hash: bytes) -> AnyKey | None:
        item = self._kept.fresh(key_hash) or await self._secret_item(key_hash)
        if item is None:
            return None
        valid_until_us = item["valid_until_us"]
        if isinstance(valid_until_us, int) and valid_until_us <= microseconds(self._clock.now()):
            return None
        return document_of(item)

    async def _secret_item(self, key_hash: bytes) -> Item | None:
        read_at_ms = self._clock.monotonic_ms()
        try:
            item = await self._items.get(self._table, secret_key(key_hash.hex()))
        except StoreFault:
            known = self._kept.within(key_hash, STALE_MS)
            if known is None:
                raise
            return known
        # A hash that is not known is not kept: the key may be made in the next moment.
        if item is not None:
            self._kept.keep(key_hash, item, read_at_ms)
        return item

    async def _add(self, key: AnyKey, key_hash: bytes, actor: str) -> None:
        new = StoredKey(key, {key_hash.hex(): None}, self._items.token())
        names = name_actions(self._table, None, key)
        actions = [*names, *key_actions(self._table, None, new), self._note(actor, "create", None, key)]
        try:
            await self._items.transact(actions)
        except Unmet as unmet:
            stored = await self._stored(kind_of(key), key.id)
            if stored is not None and stored.revision == new.revision:
                return
            if names and unmet.failed(0):
                raise _name_in_use(key) from None
            raise Conflict(f"There is a key with the id or the secret of '{key.name}' already.") from None

    async def _change(
        self,
        kind: str,
        key_id: str,
        changed: Callable[[StoredKey], tuple[StoredKey, str] | None],
        actor: str,
    ) -> None:
        """Read a key, let `changed` say what it becomes and what that is called, and write it whole."""
        revision = self._items.token()
        for _ in range(_MAX_ROUNDS):
            old = await self._stored(kind, key_id)
            if old is None:
                raise NotFound("admin key" if kind == ADMIN else "key", key_id)
            change = None if old.revision == revision else changed(old)
            if change is None:
                return
            new, action = replace(change[0], revision=revision), change[1]
            actions = [
                *key_actions(self._table, old, new),
                self._note(actor, action, old.key, new.key),
                *name_actions(self._table, old.key, new.key),
            ]
            try:
                return await self._items.transact(actions)
            except Unmet as unmet:
                # While the key is what was read, only its new name can be taken: secrets are random.
                if not unmet.failed(0):
                    raise _name_in_use(new.key) from None
            finally:
                # Also when the answer was lost: then it may have been written.
                self._kept.forget()
        raise StoreFault(f"key {key_id} kept changing under {_MAX_ROUNDS} changes")

    async def _stored(self, kind: str, key_id: str) -> StoredKey | None:
        pointer = await self._items.get(self._table, id_key(kind, key_id))
        if pointer is None:
            return None
        place = {"pk": kind, "sk": place_of(cast(str, pointer["name"]), key_id)}
        item = await self._items.get(self._table, place)
        return StoredKey.read(item) if item else None

    async def _stored_or_none(self, kind: str, key_id: str) -> AnyKey | None:
        stored = await self._stored(kind, key_id)
        return stored.key if stored else None

    async def _named(self, name: str) -> list[AnyKey]:
        walk = self._items.query(
            self._table, "#pk = :pk AND begins_with(#sk, :name)", pk=GATEWAY, name=place_of(name)
        )
        return [document_of(item) async for item in walk]

    def _note(self, actor: str, action: str, before: AnyKey | None, after: AnyKey) -> Action:
        name = f"{after.workspace}/{after.name}" if isinstance(after, GatewayKey) else after.name
        entry = AuditEntry(
            self._clock.now(), actor, action, kind_of(after), name, _document(before), _document(after)
        )
        return audit.note(self._table, self._stamps.next_place(), entry)


def _document(key: AnyKey | None) -> dict[str, object] | None:
    if key is None:
        return None
    document: dict[str, object] = msgspec.to_builtins(key)
    return document


def _name_in_use(key: AnyKey) -> Conflict:
    if isinstance(key, GatewayKey):
        return Conflict(f"Workspace '{key.workspace}' has a key '{key.name}' already.")
    return Conflict(f"There is an admin key '{key.name}' already.")


def _the_one(name_or_id: str, keys: Sequence[GatewayKey]) -> GatewayKey:
    """Choose among keys of one name, open ones first; a name cannot choose between workspaces."""
    if not keys:
        raise NotFound("key", name_or_id)
    by_id = [key for key in keys if key.id == name_or_id]
    if by_id:
        return by_id[0]
    candidates = [key for key in keys if key.revoked_at is None]
    if not candidates:
        candidates = sorted(keys, key=lambda key: cast(datetime, key.revoked_at), reverse=True)
    workspaces = sorted({key.workspace for key in candidates})
    if len(workspaces) > 1:
        several = ", ".join(workspaces)
        raise Conflict(f"Workspaces {several} each have a key '{name_or_id}'. Name the workspace or the id.")
    return candidates[0]
