"""Sends ledger rows of a time to what sums and alerts again: for events that were lost on their way."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from farebox.domain.errors import StoreFault
from farebox.jobs.relay import replay_announcement
from farebox.ports import Clock
from farebox.ports.behind import Announcer, LedgerRows

IDS_TOGETHER = 100
"""Of one event, which is one message to each listener."""

PAGE = 2_000
"""Rows that one call sends, so that it ends long before whoever asked gives up."""


class Replayed(Struct, frozen=True):
    """How many rows were sent again, and where to go on."""

    rows: int
    next: str | None


class Replayer(Struct, frozen=True):
    """Sends again whatever there is; those that count know what they have."""

    ledger_rows: LedgerRows
    announcer: Announcer
    clock: Clock

    async def replay(self, since: datetime, until: datetime, cursor: str | None = None) -> Replayed:
        """Send the next page of rows. Raises `StoreFault` where not all of them were taken."""
        page = await self.ledger_rows.ids(since, until, limit=PAGE, cursor=cursor)
        ids = list(page.rows)
        now = self.clock.now()
        together = [
            replay_announcement(ids[start : start + IDS_TOGETHER], now)
            for start in range(0, len(ids), IDS_TOGETHER)
        ]
        if missed := await self.announcer.announce(together):
            raise StoreFault(f"{len(missed)} of {len(together)} events were not taken by the event bus")
        return Replayed(len(ids), page.next)
