"""What buckets have drawn lately, summed over the entries of ledger rows for reports."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from datetime import datetime

from farebox.adapters.local.sql.codec import microseconds, moment_at
from farebox.adapters.local.sql.database import Database
from farebox.domain.budget.forecast import Spending

EVER_US = 0

_RECENT = """
    SELECT json_extract(entry.value, '$[0]'), json_extract(entry.value, '$[1]'),
        json_extract(entry.value, '$[2]'), sum(json_extract(entry.value, '$[4]')), min(at_us)
    FROM ledger, json_each(ledger.entries) AS entry
    WHERE at_us >= ? AND kind <> 'reset' AND json_extract(entry.value, '$[4]') <> 0
    GROUP BY 1, 2, 3
"""

# A swept row has no overrun of its own, and its correction's record has the request's.
_OVERRUNS = """
    SELECT json_extract(entry.value, '$[0]'), json_extract(entry.value, '$[1]'),
        json_extract(entry.value, '$[2]'), json_extract(entry.value, '$[3]'),
        sum(json_extract(ledger.record, '$.overrun_picodollars'))
    FROM ledger, json_each(ledger.entries) AS entry
    WHERE at_us >= ? AND json_extract(ledger.record, '$.overrun_picodollars') > 0
    GROUP BY 1, 2, 3, 4
"""


class LocalSpendingHistory:
    """Fills `ports.SpendingHistory`, reading in a worker thread."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def recent(self, since: datetime) -> Mapping[tuple[str, str, str], Spending]:
        """Sum what was booked since a moment by budget, unit and bucket; resets are not spending."""

        def step(connection: sqlite3.Connection) -> dict[tuple[str, str, str], Spending]:
            found = connection.execute(_RECENT, (microseconds(since),))
            return {
                (budget, unit, bucket): Spending(amount, moment_at(first_at_us))
                for budget, unit, bucket, amount, first_at_us in found
            }

        return await self._database.read(step)

    async def overruns(self, since: datetime | None) -> Mapping[tuple[str, str, str, str], int]:
        """Sum overruns since a moment by budget, unit, bucket and window."""

        def step(connection: sqlite3.Connection) -> dict[tuple[str, str, str, str], int]:
            found = connection.execute(_OVERRUNS, (EVER_US if since is None else microseconds(since),))
            return {(budget, unit, bucket, window): amount for budget, unit, bucket, window, amount in found}

        return await self._database.read(step)
