"""The sockets of what runs behind the requests of a deployment: rows, sums, announcements, alerts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from msgspec import Struct

from farebox.domain.record import RequestRecord
from farebox.ports import Page


class LedgerRow(Struct, frozen=True):
    """A row of one request as it stands in the ledger. `replaces` is the record of the swept row that a
    correction takes the place of.
    """

    id: str
    record: RequestRecord
    replaces: RequestRecord | None = None


class LedgerRows(Protocol):
    """Reading single ledger rows, for what is told of them behind the request."""

    async def rows(self, ids: Sequence[str]) -> Sequence[LedgerRow]:
        """Read those of the rows that are there. Raises `StoreFault`."""

    async def ids(
        self, since: datetime, until: datetime, *, limit: int = 1_000, cursor: str | None = None
    ) -> Page[str]:
        """Give the ids of the rows from `since` up to, not including, `until`, oldest first."""


class Counted(Struct, frozen=True):
    """The ids of rows that were added now, and of those that could not be. The others were added before."""

    new: frozenset[str] = frozenset()
    failed: frozenset[str] = frozenset()


class Rollups(Protocol):
    """Usage summed ahead of time, so that reports need not read every row."""

    async def count(self, rows: Sequence[LedgerRow]) -> Counted:
        """Add each row to its sums once, whoever brings it, in whatever order and however often."""


class Announcement(Struct, frozen=True):
    """A fact for whoever listens outside the process: its kind, and a document without secrets or prompts."""

    kind: str
    at: datetime
    document: Mapping[str, object]


class Announcer(Protocol):
    """Carries facts out of the process, at least once."""

    async def announce(self, announcements: Sequence[Announcement]) -> Sequence[int]:
        """Hand them on in order; give the places of those that were not taken."""


class Alert(Struct, frozen=True):
    """Words for people. `kind` is budget_threshold, budget_exhausted, runaway, unpriced or dead_letters."""

    kind: str
    subject: str
    text: str
    document: Mapping[str, object]


class AlertTopic(Protocol):
    """Where people subscribe to alerts."""

    async def publish(self, alert: Alert) -> None:
        """Hand an alert on. Raises `StoreFault` where it was not taken."""


class Notices(Protocol):
    """Which alerts were told lately, so that the same thing is not told again and again.

    What grows is told again when its `level` is above the one that was told.
    """

    async def claim(self, name: str, now: datetime, *, level: int = 0) -> bool:
        """Say whether the caller is the one to tell. Where it does not call `told` within a minute, the next
        one is. Raises `StoreFault`.
        """

    async def told(self, name: str, until: datetime, *, level: int = 0) -> None:
        """Let nobody tell this level, or a lower one, again before a moment."""

    async def recede(self, name: str, level: int) -> None:
        """Note that a level is no longer above this one: from here on growth is news again."""


class DeadLetters(Protocol):
    """The messages that nobody could process."""

    async def waiting(self) -> Mapping[str, int]:
        """Count them by the name of their queue. Raises `StoreFault`."""
