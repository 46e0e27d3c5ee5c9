"""The policy in SQLite: one row a resource, one version for all of them."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Mapping, Sequence

import msgspec

from farebox.adapters.config_versions import config_versions
from farebox.adapters.local.sql.audit import note_change
from farebox.adapters.local.sql.codec import json_text, microseconds, moment_at
from farebox.adapters.local.sql.database import Database
from farebox.domain.budget import Unit
from farebox.domain.config import Policy
from farebox.domain.errors import ConfigInvalid, Conflict
from farebox.domain.money import PICODOLLARS_PER_USD
from farebox.domain.policy import CONFIG_VERSION, build_policy
from farebox.ports import Clock, Resource

MAX_LIMIT_USD = 4_000_000
"""Twice this in picodollars still fits in the 64 bits of a column."""

_MAX_LIMIT = MAX_LIMIT_USD * PICODOLLARS_PER_USD
_UPSERT = """
    INSERT INTO resource (kind, name, document, position, origin, updated_at_us) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (kind, name) DO UPDATE SET document = excluded.document, position = excluded.position,
        origin = excluded.origin, updated_at_us = excluded.updated_at_us
"""
_RESOURCES = """
    SELECT kind, name, document, position, origin, updated_at_us FROM resource ORDER BY kind, position, name
"""
_DELETE = "DELETE FROM resource WHERE kind = ? AND name = ?"
_document = msgspec.json.Decoder(dict[str, object]).decode


class LocalPolicies:
    """Fills `ports.Policies`. The built snapshot is kept until the stored version moves."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._snapshot: Policy | None = None
        self._building = asyncio.Lock()

    async def current(self) -> Policy:
        """Give the policy, at the price of reading one number while nothing changed."""
        version = await self._database.look(_version)
        if self._snapshot is None or self._snapshot.version != version:
            async with self._building:
                # Whoever waited here finds it built.
                if self._snapshot is None or self._snapshot.version < version:
                    self._snapshot = await self._database.read(_build)
        return self._snapshot

    async def resources(self) -> tuple[int, Sequence[Resource]]:
        """Give the version and every resource, by kind, position and name."""
        return await self._database.read(lambda connection: (_version(connection), _resources(connection)))

    async def write(
        self,
        *,
        upserts: Sequence[Resource],
        deletes: Sequence[tuple[str, str]],
        expected_version: int,
        actor: str,
    ) -> int:
        """Change resources in one atomic step with its audit rows, and give the new version.

        Raises `Conflict` when the version is no longer the expected one, and `ConfigInvalid` for what cannot
        be a policy.
        """

        def step(connection: sqlite3.Connection) -> int:
            version = _version(connection)
            if version != expected_version:
                raise Conflict(
                    f"The policy has changed meanwhile (version {version}, not {expected_version}). Retry."
                )
            if not upserts and not deletes:
                return version
            versions, forgotten = config_versions(_resources(connection), upserts, actor)
            for resource in upserts:
                self._upsert(connection, resource, actor)
            for version_made in versions:
                connection.execute(_UPSERT, _row(version_made))
            for name in forgotten:
                connection.execute(_DELETE, (CONFIG_VERSION, name))
            for kind, name in deletes:
                self._delete(connection, kind, name, actor)
            connection.execute("UPDATE policy SET version = ?", (version + 1,))
            _refuse_limits_too_large(_build(connection))
            return version + 1

        return await self._database.write(step)

    def _upsert(self, connection: sqlite3.Connection, resource: Resource, actor: str) -> None:
        before = _stored(connection, resource.kind, resource.name)
        after = json_text(resource.document)
        connection.execute(_UPSERT, _row(resource))
        self._note(connection, actor, resource.kind, resource.name, before, after)

    def _delete(self, connection: sqlite3.Connection, kind: str, name: str, actor: str) -> None:
        before = _stored(connection, kind, name)
        if before is not None:
            connection.execute(_DELETE, (kind, name))
            self._note(connection, actor, kind, name, before, None)

    def _note(
        self,
        connection: sqlite3.Connection,
        actor: str,
        kind: str,
        name: str,
        before: str | None,
        after: str | None,
    ) -> None:
        note_change(
            connection, at=self._clock.now(), actor=actor, kind=kind, name=name, before=before, after=after
        )


def _version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("SELECT version FROM policy").fetchone()
    return int(version)


def _row(resource: Resource) -> tuple[object, ...]:
    return (
        resource.kind,
        resource.name,
        json_text(resource.document),
        resource.position,
        resource.origin,
        microseconds(resource.updated_at),
    )


def _resources(connection: sqlite3.Connection) -> list[Resource]:
    return [
        Resource(kind, name, _document(document), position, origin, moment_at(updated_at_us))
        for kind, name, document, position, origin, updated_at_us in connection.execute(_RESOURCES)
    ]


def _build(connection: sqlite3.Connection) -> Policy:
    pieces: list[tuple[str, str, Mapping[str, object]]] = [
        (resource.kind, resource.name, resource.document) for resource in _resources(connection)
    ]
    return build_policy(_version(connection), pieces)


def _stored(connection: sqlite3.Connection, kind: str, name: str) -> str | None:
    found = connection.execute("SELECT document FROM resource WHERE kind = ? AND name = ?", (kind, name))
    row = found.fetchone()
    return row[0] if row else None


def _refuse_limits_too_large(policy: Policy) -> None:
    for budget in policy.budgets:
        if budget.limit > _MAX_LIMIT:
            most = f"{MAX_LIMIT_USD} USD" if budget.unit is Unit.USD else f"{_MAX_LIMIT} tokens"
            raise ConfigInvalid(f"budgets[{budget.name}]", f"the limit of a bucket is at most {most} here")
