"""What is told outside of a ledger row: a document of a stated version and bounded size, without secrets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from farebox.domain.record import RequestRecord
from farebox.jobs.request_log import request_line
from farebox.ports.behind import Announcement, Announcer

VERSION = 1
"""Of the documents. Fields may be added under the same number; none changes its meaning."""

FINISHED = "RequestFinished"
CORRECTED = "RequestCorrected"
RESET = "BudgetReset"
REPLAYED = "LedgerRowsReplayed"

DOCUMENT_BYTES_MAX = 64_000
"""What an event bus counts as one event is 64 KB; the rest of the envelope has room beside this."""

TEXT_MAX = 256
"""Characters of one text in a document that had to be cut; callers choose names of models and sessions."""

_KINDS = {"request": FINISHED, "correction": CORRECTED, "reset": RESET}

Entries = tuple[tuple[str, str, str, str, int], ...]
"""Budget, unit, window, bucket and amount, as ledger rows have them."""


async def relay(new: Sequence[tuple[str, Announcement]], announcer: Announcer) -> str | None:
    """Announce new rows, each with its place in the stream; give the place of the first that was not taken.

    From there on they come again, so that some may be told twice and none is left out.
    """
    missed = await announcer.announce([told for _, told in new])
    return new[min(missed)][0] if missed else None


def announcement(
    row_id: str, kind: str, at: datetime, record: RequestRecord | None, entries: Entries
) -> Announcement:
    """Tell of a new ledger row. What listens reads the row itself where it needs to be sure."""
    document: dict[str, object] = {"version": VERSION, "id": row_id}
    if record is not None:
        document["request"] = {
            name: value for name, value in request_line(record).items() if name != "event"
        } | {"exhausted_budget": record.exhausted_budget, "overrun_picodollars": record.overrun_picodollars}
    document["booked"] = [
        {"budget": budget, "unit": unit, "window": window, "bucket": bucket, "amount": str(amount)}
        for budget, unit, window, bucket, amount in entries
    ]
    return Announcement(_KINDS[kind], at, _fitting(document))


def replay_announcement(ids: list[str], at: datetime) -> Announcement:
    """Ask whoever counts and decides to look at rows again."""
    return Announcement(REPLAYED, at, {"version": VERSION, "ids": ids})


def row_ids(kind: str, document: Mapping[str, object]) -> list[str]:
    """Give the ledger rows that an announcement is about. Raises `ValueError` for one that names none."""
    if kind in (FINISHED, CORRECTED):
        found: object = [document.get("id")]
    else:
        found = document.get("ids") if kind == REPLAYED else None
    if not isinstance(found, list) or not all(isinstance(each, str) and each for each in found):
        raise ValueError(f"an event of kind {kind!r} that names no ledger rows")
    return found


def _fitting(document: dict[str, object]) -> dict[str, object]:
    """Cut what is too large: first the bookings, then long texts. The row itself has everything."""
    if _size(document) <= DOCUMENT_BYTES_MAX:
        return document
    cut = {**document, "booked": None, "is_cut": True}
    request = cut.get("request")
    if _size(cut) <= DOCUMENT_BYTES_MAX or not isinstance(request, dict):
        return cut
    return {**cut, "request": {name: _shortened(value) for name, value in request.items()}}


def _shortened(value: object) -> object:
    return value[:TEXT_MAX] if isinstance(value, str) else value


def _size(document: Mapping[str, object]) -> int:
    return len(msgspec.json.encode(document))
