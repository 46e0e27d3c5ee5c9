"""Circuit breakers in SQLite, for the processes that share one file and for the next start."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import datetime

import msgspec

from farebox.adapters.local.sql.codec import json_text, microseconds
from farebox.adapters.local.sql.database import Database
from farebox.domain.routing.breaker import FORGOTTEN_AFTER, Breaker, BreakerKey

_ALL = "SELECT document FROM breaker WHERE until_us > ? ORDER BY key"
_ONE = "SELECT document FROM breaker WHERE key = ? AND until_us > ?"
_SWEEP = "DELETE FROM breaker WHERE until_us <= ?"
_FIRST = """
    INSERT INTO breaker (key, version, document, until_us) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING
"""
_NEXT = "UPDATE breaker SET version = ?2, document = ?3, until_us = ?4 WHERE key = ?1 AND version = ?2 - 1"

_breaker = msgspec.json.Decoder(Breaker).decode


class LocalBreakers:
    """Fills `ports.breakers.Breakers`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def breakers(self, now: datetime) -> Sequence[Breaker]:
        """Give every breaker that is known."""

        def step(connection: sqlite3.Connection) -> list[Breaker]:
            rows = connection.execute(_ALL, (microseconds(now),)).fetchall()
            return [_breaker(document) for (document,) in rows]

        return await self._database.look(step)

    async def breaker(self, key: BreakerKey, now: datetime) -> Breaker | None:
        """Give one as it stands."""

        def step(connection: sqlite3.Connection) -> Breaker | None:
            row = connection.execute(_ONE, (key.text(), microseconds(now))).fetchone()
            return _breaker(row[0]) if row else None

        return await self._database.look(step)

    async def put(self, breaker: Breaker, now: datetime) -> bool:
        """Store it where the version before its own still stands, in one transaction."""
        until_us = microseconds(now + FORGOTTEN_AFTER)
        row = (breaker.key.text(), breaker.version, json_text(breaker), until_us)

        def step(connection: sqlite3.Connection) -> bool:
            connection.execute(_SWEEP, (microseconds(now),))
            return connection.execute(_FIRST if breaker.version == 1 else _NEXT, row).rowcount == 1

        return await self._database.write(step)
