"""Rate limits in SQLite: one row a counter, one row a member, every decision one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from farebox.adapters.local.sql.codec import json_text, microseconds
from farebox.adapters.local.sql.database import Database
from farebox.domain.budget.rate_limit import Draw, Level, LimitUnit, SlidingCount, member_level, slot_at

SWEPT_AT_ONCE = 20
"""Rows that one request clears away: more than it can add, few enough to not be felt."""

_SLOTS = "SELECT slots FROM rate_count WHERE limit_key = ? AND bucket = ?"
_COUNT = """
    INSERT INTO rate_count (limit_key, bucket, slots, until_us) VALUES (?, ?, ?, ?)
    ON CONFLICT (limit_key, bucket) DO UPDATE SET slots = excluded.slots, until_us = excluded.until_us
"""
_OTHERS = """
    SELECT count(*) FROM rate_member WHERE limit_key = ? AND bucket = ? AND member <> ? AND until_us > ?
"""
_JOIN = """
    INSERT INTO rate_member (limit_key, bucket, member, until_us) VALUES (?, ?, ?, ?)
    ON CONFLICT (limit_key, bucket, member) DO UPDATE SET until_us = max(until_us, excluded.until_us)
"""
_LEAVE = "DELETE FROM rate_member WHERE limit_key = ? AND bucket = ? AND member = ?"
_RENEW = """
    UPDATE rate_member SET until_us = max(until_us, ?) WHERE limit_key = ? AND bucket = ? AND member = ?
"""
_SWEEP = (
    """
    DELETE FROM rate_count WHERE (limit_key, bucket) IN
        (SELECT limit_key, bucket FROM rate_count WHERE until_us <= ? LIMIT ?)
    """,
    """
    DELETE FROM rate_member WHERE (limit_key, bucket, member) IN
        (SELECT limit_key, bucket, member FROM rate_member WHERE until_us <= ? LIMIT ?)
    """,
)

_slots = msgspec.json.Decoder(tuple[tuple[int, int], ...]).decode


class LocalRateLimits:
    """Fills `ports.RateLimiter`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def admit(
        self, draws: Sequence[Draw], now: datetime, leases_until: Mapping[LimitUnit, datetime]
    ) -> Sequence[Level]:
        """Draw on every bucket, or on none when a level of the answer is short."""

        def step(connection: sqlite3.Connection) -> list[Level]:
            counts = {draw: _count(connection, draw, now) for draw in draws if not draw.limit.counts_members}
            levels = [
                counts[draw].level(draw, now)
                if draw in counts
                else _member_level(connection, draw, now, leases_until)
                for draw in draws
            ]
            if any(level.is_short for level in levels):
                return levels
            for draw in draws:
                if draw in counts:
                    _store(connection, draw, counts[draw].added(slot_at(draw.limit, now), draw.amount), now)
                else:
                    until_us = microseconds(leases_until[draw.limit.unit])
                    connection.execute(_JOIN, (draw.limit.key, draw.bucket, draw.member, until_us))
            for sweep in _SWEEP:
                connection.execute(sweep, (microseconds(now), SWEPT_AT_ONCE))
            return levels

        return await self._database.write(step)

    async def correct(self, draws: Sequence[Draw], at: datetime) -> None:
        """Add each amount to what was drawn at `at`, and let members go."""

        def step(connection: sqlite3.Connection) -> None:
            for draw in draws:
                if draw.limit.counts_members:
                    connection.execute(_LEAVE, (draw.limit.key, draw.bucket, draw.member))
                    continue
                count, slot = _count(connection, draw, at), slot_at(draw.limit, at)
                # A counter that is gone, or has moved on without this slot, is not brought back.
                if any(each == slot for each, _ in count.slots):
                    _store(connection, draw, count.added(slot, draw.amount), at)

        await self._database.write(step)

    async def renew(self, draws: Sequence[Draw], lease_until: datetime) -> None:
        """Move the lease of members that are still there; never back."""
        until_us = microseconds(lease_until)
        rows = [(until_us, draw.limit.key, draw.bucket, draw.member) for draw in draws]
        await self._database.write(lambda connection: connection.executemany(_RENEW, rows).rowcount)


def _count(connection: sqlite3.Connection, draw: Draw, now: datetime) -> SlidingCount:
    row = connection.execute(_SLOTS, (draw.limit.key, draw.bucket)).fetchone()
    return SlidingCount(_slots(row[0]) if row else ()).at(draw.limit, now)


def _store(connection: sqlite3.Connection, draw: Draw, count: SlidingCount, now: datetime) -> None:
    until_us = microseconds(count.empty_at(draw.limit, now))
    connection.execute(_COUNT, (draw.limit.key, draw.bucket, json_text(count.slots), until_us))


def _member_level(
    connection: sqlite3.Connection, draw: Draw, now: datetime, leases_until: Mapping[LimitUnit, datetime]
) -> Level:
    arguments = (draw.limit.key, draw.bucket, draw.member, microseconds(now))
    (others,) = connection.execute(_OTHERS, arguments).fetchone()
    return member_level(draw, others, leases_until[draw.limit.unit])
