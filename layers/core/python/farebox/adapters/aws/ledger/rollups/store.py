"""The sums in DynamoDB: each ledger row added exactly once, and read back by whatever people ask for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime, timedelta

from farebox.adapters.aws.dynamodb.attributes import Item
from farebox.adapters.aws.dynamodb.errors import Unmet
from farebox.adapters.aws.dynamodb.items import MAX_ACTIONS, Items
from farebox.adapters.aws.ledger.rollups.cells import (
    ALL_ROWS,
    KEPT,
    METADATA_NAME_MAX,
    SESSION,
    SESSIONS_KEPT,
    Cell,
    Tally,
    add_actions,
    mark_action,
    metadata_prefix,
    tallies,
)
from farebox.adapters.aws.ledger.rollups.spans import HOUR, Gap, Span, SpanKind, cover, span_at
from farebox.adapters.aws.ledger.usage import METADATA_PREFIX, NONE, Sums
from farebox.adapters.aws.tables import TableNames
from farebox.domain.errors import StoreFault
from farebox.ports import Clock
from farebox.ports.behind import Counted, LedgerRow

CLOSED_AFTER = 2 * HOUR
"""How long after an hour its sums are believed: by then its requests have ended and were counted."""

EXPIRY_MARGIN = timedelta(days=5)
"""Sums are not asked for in their last days: DynamoDB drops them at a time of its own."""

_QUERIES_AT_ONCE = 8
_EVER = datetime.min.replace(tzinfo=UTC)

_log = logging.getLogger("farebox.rollups")


class DynamoRollups:
    """Fills `ports.Rollups`, and gives reports what it has summed."""

    def __init__(self, items: Items, tables: TableNames, clock: Clock) -> None:
        self._items, self._table = items, tables.rollups
        self._clock = clock

    async def count(self, rows: Sequence[LedgerRow]) -> Counted:
        """Add each row to its sums, those that were added before not again.

        Rows are put together into transactions, each with the marks of its rows: a transaction happens whole
        or not at all, and what comes again finds the marks.
        """
        wanted = {tally.mark: tally for row in rows for tally in tallies(row)}
        new: set[str] = set()
        failed: set[str] = set()
        for pack in _packs(list(wanted.values())):
            try:
                new |= await self._count(pack)
            except StoreFault as fault:
                _log.warning("not counted, to be tried again: %s", fault)
                failed |= {tally.row_id for tally in pack}
        return Counted(frozenset(new - failed), frozenset(failed))

    async def add_to(self, sums: Sums, *, by: str, since: datetime, until: datetime | None) -> Sequence[Gap]:
        """Add what is summed within a time; give the gaps that are left to be summed from the rows."""
        prefix, now = _prefix_of(by), self._clock.now().astimezone(UTC)
        if prefix is None:
            return [(since, until)]
        closed_until = span_at(SpanKind.HOUR, now - CLOSED_AFTER).start
        found = cover(since, until, closed_until=closed_until, kept_since=_kept_since(by, now))
        if prefix == ALL_ROWS:
            async for item in self._cells(found.spans, ALL_ROWS):
                sums.merge(item)
            return found.gaps
        # Rows that lack a session, or this name, have no cell there: they are all rows less those that do.
        async for item in self._cells(found.spans, ALL_ROWS):
            sums.merge(item, into=NONE)
        async for item in self._cells(found.spans, prefix):
            sums.merge(item)
            sums.merge(item, into=NONE, sign=-1)
        return found.gaps

    async def _count(self, pack: Sequence[Tally]) -> set[str]:
        """Count tallies in one transaction, those that are counted already left out; give whose were new."""
        left = list(pack)
        while left:
            actions = [mark_action(self._table, tally) for tally in left] + add_actions(self._table, left)
            try:
                await self._items.transact(actions)
            except Unmet as unmet:
                fresh = [tally for number, tally in enumerate(left) if not unmet.failed(number)]
                if len(fresh) == len(left):
                    raise StoreFault(f"rows were refused for no reason of ours: {unmet}") from unmet
                left = fresh
            else:
                return {tally.row_id for tally in left}
        return set()

    async def _cells(self, spans: Sequence[Span], prefix: str) -> AsyncIterator[Item]:
        for start in range(0, len(spans), _QUERIES_AT_ONCE):
            batch = spans[start : start + _QUERIES_AT_ONCE]
            for items in await asyncio.gather(*(self._cells_of(span, prefix) for span in batch)):
                for item in items:
                    yield item

    async def _cells_of(self, span: Span, prefix: str) -> list[Item]:
        condition = "#pk = :pk AND begins_with(#sk, :prefix)"
        found = self._items.query(self._table, condition, pk=span.name, prefix=prefix)
        return [item async for item in found]


def _packs(wanted: list[Tally]) -> Iterator[list[Tally]]:
    """Put tallies together, as many as fit into a transaction; neighbours share cells."""
    pack: list[Tally] = []
    cells: set[Cell] = set()
    for tally in sorted(wanted, key=lambda each: [cell.sort for cell in each.sums]):
        together = cells | tally.sums.keys()
        if pack and len(pack) + 1 + len(together) > MAX_ACTIONS:
            yield pack
            pack, together = [], set(tally.sums)
        pack.append(tally)
        cells = together
    if pack:
        yield pack


def _prefix_of(by: str) -> str | None:
    """Give what the sort keys of the cells begin with that have a grouping; None where no cell has it."""
    if by == "session":
        return SESSION
    name = by.removeprefix(METADATA_PREFIX)
    if name == by:
        return ALL_ROWS
    return metadata_prefix(name) if len(name) <= METADATA_NAME_MAX else None


def _kept_since(by: str, now: datetime) -> dict[SpanKind, datetime]:
    kept = SESSIONS_KEPT if by == "session" else KEPT
    return {
        kind: _EVER if how_long is None else now - how_long + EXPIRY_MARGIN for kind, how_long in kept.items()
    }
