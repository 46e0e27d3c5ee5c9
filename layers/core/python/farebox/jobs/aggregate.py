"""Adds the ledger rows that a batch of messages is about to the sums, and says which messages failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from farebox.ports.behind import LedgerRows, Rollups


class Aggregated(Struct, frozen=True):
    """How many rows were new, and the messages that should come again."""

    counted: int
    known: int
    failed: frozenset[str]


async def aggregate(
    messages: Mapping[str, Sequence[str]], ledger_rows: LedgerRows, rollups: Rollups
) -> Aggregated:
    """Count the rows of messages, which are ids of rows by the message's own.

    The rows are read again, so that a message can make no sums up. Raises `StoreFault` where they cannot be.
    """
    rows = await ledger_rows.rows([row_id for ids in messages.values() for row_id in ids])
    counted = await rollups.count(rows)
    failed = {message for message, ids in messages.items() if not counted.failed.isdisjoint(ids)}
    known = len(rows) - len(counted.new) - len(counted.failed)
    return Aggregated(len(counted.new), known, frozenset(failed))
