"""Reading the ledger in SQLite for people: requests, usage, standings, resets and the audit of the sums."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from datetime import datetime

import msgspec

from farebox.adapters.local.sql import audit, rows
from farebox.adapters.local.sql.buckets import standing_of
from farebox.adapters.local.sql.codec import cursor_place, cursor_text, optional_microseconds
from farebox.adapters.local.sql.database import Database
from farebox.adapters.local.sql.verify import drifts
from farebox.domain.budget import Budget, Standing
from farebox.domain.errors import ConfigInvalid
from farebox.domain.record import RequestRecord
from farebox.ports import AuditEntry, BucketStanding, Page, UsageRow

METADATA_PREFIX = "metadata."

_record = msgspec.json.Decoder(RequestRecord).decode

# A request that was swept and then ended after all counts once: as its correction.
_CURRENT = """
    record IS NOT NULL AND NOT EXISTS (SELECT 1 FROM ledger AS later WHERE later.corrects = ledger.id)
"""

_REQUESTS = f"""
    SELECT at_us, sequence, record FROM ledger
    WHERE {_CURRENT} AND (?1 IS NULL OR session_id = ?1) AND (?2 IS NULL OR (at_us, sequence) < (?2, ?3))
    ORDER BY at_us DESC, sequence DESC LIMIT ?4
"""

_GROUPS = {
    "key": "workspace, key",
    "user": "NULL, user",
    "workspace": "NULL, workspace",
    "model": "NULL, model",
    "provider": "NULL, provider",
    "session": "NULL, session_id",
}
# The name of a metadata field is compared as a value: as a JSON path, a quote in it could not be written.
_METADATA_GROUP = "NULL, (SELECT value FROM json_each(metadata) WHERE json_each.key = ?3)"

_USAGE = """
    SELECT {group}, count(*), sum(is_error), sum(input_tokens), sum(cache_read_tokens),
        sum(cache_write_5m_tokens), sum(cache_write_1h_tokens), sum(output_tokens),
        ifnull(sum(cost_picodollars), 0), sum(charged_picodollars), sum(outcome = 'cached'),
        sum(saved_picodollars)
    FROM ledger WHERE {current} AND (?1 IS NULL OR at_us >= ?1) AND (?2 IS NULL OR at_us < ?2)
    GROUP BY 1, 2
"""

_BUCKETS = """
    SELECT bucket, settled, held, exhausted_limit FROM bucket
    WHERE budget = ? AND unit = ? AND window_key = ? ORDER BY bucket
"""

_CLEAR = """
    UPDATE bucket SET settled = 0, exhausted_limit = NULL
    WHERE budget = ? AND unit = ? AND bucket = ? AND window_key = ?
"""


class LocalReports:
    """Fills `ports.Reports`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def requests(
        self, *, limit: int = 50, session: str | None = None, cursor: str | None = None
    ) -> Page[RequestRecord]:
        """List ledger rows, newest first."""
        at_us, sequence = cursor_place(cursor, tuple[int, int]) if cursor else (None, None)

        def step(connection: sqlite3.Connection) -> Page[RequestRecord]:
            found = connection.execute(_REQUESTS, (session, at_us, sequence, limit + 1)).fetchall()
            page = found[:limit]
            records = [_record(record) for _, _, record in page]
            return Page(records, cursor_text(page[-1][:2]) if len(found) > limit else None)

        return await self._database.read(step)

    async def usage(
        self, *, by: str, since: datetime | None, until: datetime | None = None
    ) -> Sequence[UsageRow]:
        """Sum rows from `since` up to, not including, `until`; dearest first."""
        arguments: tuple[object, ...] = (optional_microseconds(since), optional_microseconds(until))
        name = by.removeprefix(METADATA_PREFIX)
        if name and name != by:
            query, arguments = _usage_query(_METADATA_GROUP), (*arguments, name)
        elif by in _GROUPS:
            query = _usage_query(_GROUPS[by])
        else:
            raise ConfigInvalid("by", f"'{by}' is none of {', '.join(_GROUPS)}, {METADATA_PREFIX}NAME")

        def step(connection: sqlite3.Connection) -> list[UsageRow]:
            return _usage_rows(connection.execute(query, arguments).fetchall())

        return await self._database.read(step)

    async def standings(self, budgets: Sequence[Budget], now: datetime) -> Sequence[BucketStanding]:
        """Give the current window of every bucket; one that is the only one of its budget is always there."""

        def step(connection: sqlite3.Connection) -> list[BucketStanding]:
            return [standing for budget in budgets for standing in _standings(connection, budget, now)]

        return await self._database.read(step)

    async def reset(self, budget: Budget, bucket: str | None, now: datetime, actor: str) -> int:
        """Start the current window of a bucket (or of all) anew by a correcting entry; count the reset ones.

        Buckets with nothing settled and not exhausted stay as they are. What open requests hold stays held.
        """

        def step(connection: sqlite3.Connection) -> int:
            found = [
                standing
                for standing in _standings(connection, budget, now)
                if bucket in (None, standing.bucket) and (standing.standing.settled or standing.is_exhausted)
            ]
            for standing in found:
                _reset(connection, standing, now, actor)
            return len(found)

        return await self._database.write(step)

    async def note(self, entry: AuditEntry) -> None:
        """Write an entry of the audit log for what changes no document."""
        await self._database.write(lambda connection: audit.note(connection, entry))

    async def audit(self, *, limit: int = 50, cursor: str | None = None) -> Page[AuditEntry]:
        """List what administrators changed, newest first."""
        return await self._database.read(
            lambda connection: audit.entries(connection, limit=limit, cursor=cursor)
        )

    async def verify(self) -> Sequence[str]:
        """Recompute every bucket from ledger rows and open holds; give one line for each drift."""
        return await self._database.read(drifts)


def _usage_query(group: str) -> str:
    return _USAGE.format(group=group, current=_CURRENT)


def _usage_rows(found: Sequence[tuple[str | None, str | None, *tuple[int, ...]]]) -> list[UsageRow]:
    """Name the groups and sort them. A key's name says enough unless two workspaces have one."""
    workspaces = Counter(name for _, name, *_ in found)
    usage = []
    for workspace, name, *sums in found:
        group = f"{workspace}/{name}" if workspace is not None and workspaces[name] > 1 else name
        usage.append(UsageRow(group, *sums))
    return sorted(usage, key=lambda row: (-row.cost_picodollars, row.group is None, row.group or ""))


def _standings(connection: sqlite3.Connection, budget: Budget, now: datetime) -> list[BucketStanding]:
    window = budget.window_at(now)
    found = connection.execute(_BUCKETS, (budget.name, budget.unit.value, window.key)).fetchall()
    # Buckets left from an earlier scope of the same budget belong to no request any more.
    standings = [
        BucketStanding(budget, bucket, window.key, standing, standing.is_marked)
        for bucket, *row in found
        if budget.scope.has_one_bucket == (bucket == "")
        for standing in (standing_of(budget, *row),)
    ]
    if budget.scope.has_one_bucket and not standings:
        return [BucketStanding(budget, "", window.key, Standing())]
    return standings


def _reset(connection: sqlite3.Connection, standing: BucketStanding, now: datetime, actor: str) -> None:
    budget, settled = standing.budget, standing.standing.settled
    key = (budget.name, budget.unit.value, standing.bucket, standing.window_key)
    if settled:
        rows.append_reset(connection, key, settled, now)
    connection.execute(_CLEAR, key)
    before: dict[str, object] = {
        "bucket": standing.bucket,
        "window": standing.window_key,
        "unit": budget.unit.value,
        "settled": settled,
        "is_exhausted": standing.is_exhausted,
    }
    after = {**before, "settled": 0, "is_exhausted": False}
    audit.note(connection, AuditEntry(now, actor, "reset", "bucket", budget.name, before, after))
