"""Thresholds in SQLite: decided by a conditional insert, so once whoever asks and however often."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import datetime

import msgspec

from farebox.adapters.local.sql import rows
from farebox.adapters.local.sql.codec import json_text, microseconds
from farebox.adapters.local.sql.database import Database
from farebox.domain.budget.alert import Crossing
from farebox.ports import Drawn

_crossing = msgspec.json.Decoder(Crossing).decode

_ENTRIES = "SELECT entries FROM ledger WHERE id = ?1 OR corrects = ?1"
_BUCKET = """
    SELECT settled, exhausted_limit FROM bucket
    WHERE budget = ? AND unit = ? AND bucket = ? AND window_key = ?
"""
_DECIDE = """
    INSERT INTO threshold
        (budget, unit, bucket, window_key, limit_amount, threshold, decided_at_us, document)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
"""
_UNTOLD = """
    SELECT document FROM threshold WHERE told_at_us IS NULL ORDER BY decided_at_us, threshold LIMIT ?
"""
_TELL = """
    UPDATE threshold SET told_at_us = ?7
    WHERE budget = ?1 AND unit = ?2 AND bucket = ?3 AND window_key = ?4 AND limit_amount = ?5
        AND threshold = ?6 AND told_at_us IS NULL
"""


class LocalThresholds:
    """Fills `ports.Thresholds`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def drawn(self, request_ids: Sequence[str]) -> Sequence[Drawn]:
        """Give every bucket that these requests were booked on, as it stands now, each once."""

        def step(connection: sqlite3.Connection) -> list[Drawn]:
            keys = {
                key: None
                for request_id in request_ids
                for (entries,) in connection.execute(_ENTRIES, (request_id,)).fetchall()
                for key in rows.decoded_entries(entries)
            }
            # A refused request is booked at nothing, perhaps on a bucket that has no row yet.
            return [Drawn(*key, *(connection.execute(_BUCKET, key).fetchone() or (0, None))) for key in keys]

        return await self._database.look(step)

    async def decide(self, crossings: Sequence[Crossing]) -> Sequence[Crossing]:
        """Store what nobody had decided before in one atomic step; give only that."""

        def step(connection: sqlite3.Connection) -> list[Crossing]:
            return [
                crossing
                for crossing in crossings
                if connection.execute(
                    _DECIDE, (*crossing.identity, microseconds(crossing.at), json_text(crossing))
                ).rowcount
            ]

        return await self._database.write(step) if crossings else ()

    async def untold(self, *, limit: int = 100) -> Sequence[Crossing]:
        """Give decided crossings that were not delivered yet, oldest first."""

        def step(connection: sqlite3.Connection) -> list[Crossing]:
            return [_crossing(document) for (document,) in connection.execute(_UNTOLD, (limit,))]

        return await self._database.read(step)

    async def told(self, crossing: Crossing, at: datetime) -> None:
        """Note that everybody has been told; the first time stands."""
        arguments = (*crossing.identity, microseconds(at))
        await self._database.write(lambda connection: connection.execute(_TELL, arguments).rowcount)
