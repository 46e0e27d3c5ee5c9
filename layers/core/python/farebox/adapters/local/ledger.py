"""Money in SQLite: holds, buckets and the append-only ledger, every method one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import datetime
from typing import TypeAlias

import msgspec

from farebox.adapters.local.process import ProcessToken, is_known_dead
from farebox.adapters.local.sql import buckets, rows
from farebox.adapters.local.sql.buckets import BucketKey, Movement
from farebox.adapters.local.sql.codec import json_text, microseconds, moment_at
from farebox.adapters.local.sql.database import Database, Step
from farebox.domain.budget import Shortage, Touch
from farebox.domain.errors import StoreFault
from farebox.domain.record import Outcome, RequestRecord
from farebox.ports import Hold

Holder: TypeAlias = tuple[str | None, int | None, str | None]

_touches = msgspec.json.Decoder(tuple[Touch, ...]).decode
_record = msgspec.json.Decoder(RequestRecord).decode

_OPEN = """
    INSERT INTO hold (request_id, sequence, lease_until_us, touches, draft, machine, pid, started)
    SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8 WHERE NOT EXISTS (SELECT 1 FROM ledger WHERE id = ?1)
    ON CONFLICT (request_id) DO NOTHING
"""
_REPLACE = """
    UPDATE hold SET sequence = ?2, lease_until_us = ?3, touches = ?4, draft = ?5 WHERE request_id = ?1
"""
_RENEW = "UPDATE hold SET lease_until_us = max(lease_until_us, ?) WHERE request_id = ?"
_BOOKED = "SELECT outcome, entries FROM ledger WHERE id = ?"
_HOLDERS = """
    SELECT request_id, lease_until_us, machine, pid, started FROM hold ORDER BY lease_until_us, request_id
"""
_HOLD = "SELECT request_id, sequence, touches, lease_until_us, draft FROM hold WHERE request_id = ?"


class LocalLedger:
    """Fills `ports.Ledger`. `process` is whose holds these are, so that a successor finds them at once."""

    def __init__(self, database: Database, process: ProcessToken) -> None:
        self._database = database
        self._process = process

    async def reserve(self, hold: Hold) -> Shortage | None:
        """Hold every touch, or none and say which bucket is short.

        A bucket that was exhausted is short too, until its limit rises. A request that has a hold already,
        or is settled, changes nothing and is not refused.
        """
        columns = _columns(hold)
        holder = (self._process.machine, self._process.pid, self._process.started)

        def step(connection: sqlite3.Connection) -> None:
            if connection.execute(_OPEN, (*columns, *holder)).rowcount == 1:
                for touch in hold.touches:
                    buckets.grow(connection, touch, touch.amount)

        return await self._unless_short(step)

    async def top_up(self, hold: Hold) -> Shortage | None:
        """Replace the open hold by this one; only amounts that grow are checked.

        A sequence that is not newer than the stored one, and a request that is over, change nothing. Raises
        `StoreFault` when the hold was swept: what it grew by could not be held any more.
        """
        columns = _columns(hold)

        def step(connection: sqlite3.Connection) -> None:
            row = connection.execute(_HOLD, (hold.request_id,)).fetchone()
            if row is None:
                _refuse_if_swept(connection, hold.request_id)
                return
            if hold.sequence <= row[1]:
                return
            _rehold(connection, _touches(row[2]), hold.touches)
            connection.execute(_REPLACE, columns)

        return await self._unless_short(step)

    async def renew(self, request_id: str, lease_until: datetime) -> None:
        """Move the lease of an open hold; never back."""
        arguments = (microseconds(lease_until), request_id)
        await self._database.write(lambda connection: connection.execute(_RENEW, arguments).rowcount)

    async def void(self, request_id: str) -> None:
        """Give everything back: nothing was sent. The id may be reserved again."""

        def step(connection: sqlite3.Connection) -> None:
            movements: dict[BucketKey, Movement] = {}
            _release(connection, request_id, movements)
            buckets.move(connection, movements)

        await self._database.write(step)

    async def settle(self, request_id: str, record: RequestRecord, booked: Sequence[Touch]) -> None:
        """Release the hold if one is open, book `booked` and write the ledger row.

        Where the sweeper was quicker, the true record follows once as `id#correction`, which books the
        difference.
        """

        def step(connection: sqlite3.Connection) -> None:
            movements: dict[BucketKey, Movement] = {}
            _release(connection, request_id, movements)
            if rows.append_request(connection, request_id, record, booked):
                buckets.add_settled(movements, booked)
            elif record.outcome is not Outcome.EXPIRED:
                _correct(connection, request_id, record, booked, movements)
            buckets.move(connection, movements)

        await self._database.write(step)

    async def exhaust(self, touches: Sequence[Touch]) -> None:
        """Mark buckets exhausted until their window ends or their limit rises above `touch.budget.limit`."""
        await self._database.write(lambda connection: buckets.shut(connection, touches))

    async def expired_holds(self, now: datetime, *, limit: int = 100) -> Sequence[Hold]:
        """Give open holds whose lease has run out, and those of processes of this machine that are gone."""
        now_us = microseconds(now)

        def step(connection: sqlite3.Connection) -> list[Hold]:
            dead: dict[Holder, bool] = {}
            found: list[Hold] = []
            for request_id, lease_until_us, *holder in connection.execute(_HOLDERS).fetchall():
                if lease_until_us <= now_us or self._is_gone((holder[0], holder[1], holder[2]), dead):
                    found.append(_hold(connection.execute(_HOLD, (request_id,)).fetchone()))
                if len(found) == limit:
                    break
            return found

        return await self._database.read(step)

    def _is_gone(self, holder: Holder, known: dict[Holder, bool]) -> bool:
        machine, pid, started = holder
        if machine is None or pid is None:
            return False
        if holder not in known:
            known[holder] = is_known_dead(ProcessToken(machine, pid, started or ""), self._process)
        return known[holder]

    async def _unless_short(self, step: Step[None]) -> Shortage | None:
        try:
            await self._database.write(step)
        except buckets.Short as short:
            return short.shortage
        return None


def _columns(hold: Hold) -> tuple[str, int, int, str, str]:
    lease_until_us = microseconds(hold.lease_until)
    return hold.request_id, hold.sequence, lease_until_us, json_text(hold.touches), json_text(hold.draft)


def _hold(row: tuple[str, int, str, int, str]) -> Hold:
    request_id, sequence, touches, lease_until_us, draft = row
    return Hold(request_id, sequence, _touches(touches), moment_at(lease_until_us), _record(draft))


def _release(connection: sqlite3.Connection, request_id: str, movements: dict[BucketKey, Movement]) -> None:
    released = connection.execute("DELETE FROM hold WHERE request_id = ? RETURNING touches", (request_id,))
    for (touches,) in released.fetchall():
        buckets.add_held(movements, _touches(touches), -1)


def _correct(
    connection: sqlite3.Connection,
    request_id: str,
    record: RequestRecord,
    booked: Sequence[Touch],
    movements: dict[BucketKey, Movement],
) -> None:
    """Put the true record in the place of a swept one; of any other row this is a repetition."""
    outcome, entries = connection.execute(_BOOKED, (request_id,)).fetchone()
    if not _awaits_correction(connection, request_id, outcome):
        return
    buckets.add_settled(movements, booked)
    for key, amount in rows.decoded_entries(entries).items():
        movements.setdefault(key, Movement()).settled -= amount
    rows.append_correction(connection, request_id, record, movements)


def _rehold(connection: sqlite3.Connection, old: Sequence[Touch], new: Sequence[Touch]) -> None:
    movements: dict[BucketKey, Movement] = {}
    buckets.add_held(movements, old, -1)
    buckets.add_held(movements, new, +1)
    for touch in new:
        growth = movements.get(buckets.key_of(touch))
        if growth and growth.held > 0:
            buckets.grow(connection, touch, growth.held)
            growth.held = 0
    buckets.move(connection, movements)


def _refuse_if_swept(connection: sqlite3.Connection, request_id: str) -> None:
    row = connection.execute(_BOOKED, (request_id,)).fetchone()
    if row and _awaits_correction(connection, request_id, row[0]):
        raise StoreFault(f"the hold of request {request_id} ran out and was booked")


def _awaits_correction(connection: sqlite3.Connection, request_id: str, outcome: str) -> bool:
    return outcome == Outcome.EXPIRED and not rows.is_corrected(connection, request_id)
