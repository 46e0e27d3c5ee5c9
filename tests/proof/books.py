"""What the ledger says after a crowd, and whether everything that clients were told was true."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from farebox.domain.money import picodollars_from_usd
from farebox.domain.record import Outcome, RequestRecord
from tests.proof.crowd import LEAST_SLICE_TOKENS, LIMIT_PICODOLLARS, PRICES, SHARED, Told

LOOK_EVERY_S = 0.002

_SPENT = re.compile(r"\$(\S+) of \$1\.00 spent")
_MAY_COST = re.compile(r"it may cost up to \$(\d+\.\d+)")

_record = msgspec.json.Decoder(RequestRecord).decode


@dataclass(frozen=True, slots=True)
class Booked:
    """The rows as they were committed, one after the other, with what was settled before each."""

    rows: tuple[RequestRecord, ...]
    settled_before: dict[str, int]

    @property
    def settled(self) -> int:
        return sum(row.charged_picodollars for row in self.rows)

    @property
    def cuts(self) -> list[RequestRecord]:
        return [row for row in self.rows if row.outcome is Outcome.BUDGET_CUT]


def booked_in_order(rows: Iterable[RequestRecord]) -> Booked:
    """Sum rows that come in the order in which they were committed."""
    found = tuple(rows)
    before: dict[str, int] = {}
    settled = 0
    for row in found:
        before[row.id] = settled
        settled += row.charged_picodollars
    return Booked(found, before)


class Ledger(Protocol):
    """Where a crowd's requests were booked."""

    def books(self) -> Booked:
        """Read everything that was booked."""

    async def highest_use(self, done: asyncio.Event) -> int:
        """Watch the shared bucket until `done`; give the most that was ever settled and held in it
        together.
        """


@dataclass(frozen=True, slots=True)
class LedgerFile:
    """A laptop's ledger, read straight from the file, so that nothing of ours decides the order of rows."""

    database: Path

    def books(self) -> Booked:
        """Read everything that was booked."""
        with self._opened() as connection:
            texts = connection.execute("SELECT record FROM ledger ORDER BY sequence").fetchall()
        return booked_in_order(_record(text) for (text,) in texts)

    async def highest_use(self, done: asyncio.Event) -> int:
        """Look every two milliseconds."""
        highest = 0
        with self._opened() as connection:
            while not done.is_set():
                query = "SELECT settled + held FROM bucket WHERE budget = ?"
                for (used,) in connection.execute(query, (SHARED,)):
                    highest = max(highest, used)
                with suppress(TimeoutError):
                    await asyncio.wait_for(done.wait(), LOOK_EVERY_S)
        return highest

    def _opened(self) -> closing[sqlite3.Connection]:
        return closing(sqlite3.connect(f"{self.database.as_uri()}?mode=ro", uri=True))


def untrue_refusals(refused: Sequence[Told], books: Booked) -> list[str]:
    """Name every 402 that the rule does not allow, or whose numbers were never those of the books.

    The rule: what is settled leaves less than the request's least hold, or a cut has closed the bucket.
    """
    sums = {*books.settled_before.values(), books.settled}
    widest_cut = max((_wanted_more(cut) for cut in books.cuts), default=0)
    untrue: list[str] = []
    for told in refused:
        settled, needed = _numbers(told)
        free = LIMIT_PICODOLLARS - settled
        if settled not in sums or settled > books.settled_before[told.request_id]:
            untrue.append(f"never so much settled: {told.message}")
        elif needed is None and not (free <= 0 or free < widest_cut):
            untrue.append(f"neither spent nor cut: {told.message}")
        elif needed is not None and (needed != told.ask.needed_picodollars or needed <= free):
            untrue.append(f"it would have fitted: {told.message}")
    return untrue


def untrue_waits(waited: Sequence[Told], books: Booked) -> list[str]:
    """Name every 429 whose request could never have fitted, so that waiting was no use."""
    return [
        told.message
        for told in waited
        if _settled(told) not in books.settled_before.values()
        or _settled(told) + told.ask.needed_picodollars > LIMIT_PICODOLLARS
    ]


def one_requests_bound(told: Sequence[Told], books: Booked) -> int:
    """Give the dearest hold that was refused: a first one, or a slice more of an answer that was cut."""
    refused = [each.ask.needed_picodollars for each in told if each.status == 402]
    return max([*refused, *(_wanted_more(cut) for cut in books.cuts)])


def _wanted_more(cut: RequestRecord) -> int:
    """Give what a cut answer wanted to hold at most: its last hold was nearly used, and a slice more."""
    input_price, output_price = PRICES[cut.model]
    held_tokens = cut.usage.output_tokens * 16 // 15 + 1
    return cut.usage.input_tokens * input_price + (held_tokens + LEAST_SLICE_TOKENS) * output_price


def _settled(told: Told) -> int:
    return _numbers(told)[0]


def _numbers(told: Told) -> tuple[int, int | None]:
    """Read what a refusal says: how much is settled, and what the request may cost (None: it is closed)."""
    spent = _SPENT.search(told.message)
    assert spent is not None, told.message
    may_cost = _MAY_COST.search(told.message)
    return (
        picodollars_from_usd(spent[1]),
        picodollars_from_usd(may_cost[1]) if may_cost else None,
    )
