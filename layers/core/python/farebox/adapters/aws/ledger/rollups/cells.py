"""What one ledger row adds to which sums.

A cell is a span and one value in each dimension that all rows have; metadata and sessions, whose values
callers choose, have cells of their own, so that whatever they send, the others stay few.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from msgspec import Struct

from farebox.adapters.aws.codec import json_text
from farebox.adapters.aws.dynamodb.actions import Action, Key, put, update
from farebox.adapters.aws.dynamodb.attributes import Value
from farebox.adapters.aws.ledger.rollups.spans import Span, SpanKind, span_at
from farebox.adapters.aws.tables import EXPIRES_AT
from farebox.domain.record import Outcome, RequestRecord
from farebox.ports.behind import LedgerRow

ALL_ROWS = "cell#"
SESSION = "session#"
MARK = "counted#"

LABELS = ("workspace", "key", "user", "model", "provider")
METADATA_NAME_MAX = 64
"""Characters; usage is not grouped by longer names."""

KEPT: Mapping[SpanKind, timedelta | None] = {
    SpanKind.HOUR: timedelta(days=40),
    SpanKind.DAY: None,
    SpanKind.MONTH: None,
}
"""How long sums are kept: hours are only wanted at the edges of what is asked for."""

SESSIONS_KEPT: Mapping[SpanKind, timedelta | None] = {
    SpanKind.HOUR: timedelta(days=40),
    SpanKind.DAY: timedelta(days=100),
}
"""Sessions are many and soon forgotten; what is asked for beyond is summed from the rows."""

CELLS_AT_ONCE = 60
"""A row with more metadata than fits is counted in several steps, each with a mark of its own."""

_MAX_SORT_KEY_BYTES = 1_000


class Cell(Struct, frozen=True):
    """One item of sums: where it is, and what it says of itself."""

    span: Span
    sort: str
    labels: tuple[tuple[str, str], ...]
    kept: timedelta | None


class Tally(Struct, frozen=True):
    """What a row, or a part of it, adds. It is counted when its mark is written, which happens once."""

    row_id: str
    mark: str
    sums: Mapping[Cell, Counter[str]]


def tallies(row: LedgerRow) -> list[Tally]:
    """Give what a row adds; a correction takes away what the row that it replaces has added."""
    sums: dict[Cell, Counter[str]] = {}
    for record, sign in ((row.record, 1), (row.replaces, -1)):
        if record is not None:
            for cell in _cells(record):
                sums.setdefault(cell, Counter()).update(_amounts(record, sign))
    # The same row gives the same cells in the same order whenever it comes.
    cells = sorted(sums, key=lambda cell: (cell.sort.startswith("metadata#"), cell.sort, cell.span.name))
    return [
        Tally(
            row.id,
            f"{MARK}{row.id}" + (f"#{start}" if start else ""),
            {cell: sums[cell] for cell in cells[start : start + CELLS_AT_ONCE]},
        )
        for start in range(0, len(cells), CELLS_AT_ONCE)
    ]


def metadata_prefix(name: str) -> str:
    """Give what the sort keys of one metadata name begin with; as JSON it cannot run into its value."""
    return f"metadata#{json_text(name)}#"


def mark_key(mark: str) -> Key:
    """Say where the mark of what was counted is."""
    return {"pk": mark, "sk": "-"}


def mark_action(table: str, tally: Tally) -> Action:
    """Write the mark, which fails where it stands already."""
    return put(table, mark_key(tally.mark), "attribute_not_exists(#pk)")


def add_actions(table: str, counted: Sequence[Tally]) -> list[Action]:
    """Add up what tallies add, one write for each cell."""
    total: dict[Cell, Counter[str]] = {}
    for tally in counted:
        for cell, sums in tally.sums.items():
            total.setdefault(cell, Counter()).update(sums)
    return [_add(table, cell, sums) for cell, sums in total.items() if any(sums.values())]


def _cells(record: RequestRecord) -> Iterator[Cell]:
    at = record.at.astimezone(UTC)
    values = [getattr(record, label) for label in LABELS]
    labels = tuple((label, value) for label, value in zip(LABELS, values, strict=True) if value is not None)
    yield from _each(at, KEPT, _sort_key(ALL_ROWS, json_text(values)), labels)
    if record.session_id is not None:
        session = (("session_id", record.session_id),)
        yield from _each(at, SESSIONS_KEPT, _sort_key(SESSION, record.session_id), session)
    for name, value in record.metadata.items():
        if 0 < len(name) <= METADATA_NAME_MAX:
            sort = _sort_key(metadata_prefix(name), value)
            yield from _each(at, KEPT, sort, (("metadata", json_text({name: value})),))


def _each(
    at: datetime, kept: Mapping[SpanKind, timedelta | None], sort: str, labels: tuple[tuple[str, str], ...]
) -> Iterator[Cell]:
    for kind, how_long in kept.items():
        yield Cell(span_at(kind, at), sort, labels, how_long)


def _amounts(record: RequestRecord, sign: int) -> Counter[str]:
    usage = record.usage
    amounts = {
        "requests": 1,
        "errors": int(record.is_error),
        "input_tokens": usage.input_tokens,
        "cache_read_tokens": usage.cache_read_tokens,
        "cache_write_5m_tokens": usage.cache_write_5m_tokens,
        "cache_write_1h_tokens": usage.cache_write_1h_tokens,
        "output_tokens": usage.output_tokens,
        "cost_picodollars": record.cost_picodollars or 0,
        "charged_picodollars": record.charged_picodollars,
        "cache_hits": int(record.outcome is Outcome.CACHED),
        "saved_picodollars": record.saved_picodollars,
    }
    return Counter({name: sign * amount for name, amount in amounts.items()})


def _add(table: str, cell: Cell, sums: Counter[str]) -> Action:
    # `requests` always, so that the item is whole in whatever order its rows come.
    added = {name: amount for name, amount in sums.items() if amount or name == "requests"}
    said: dict[str, Value] = dict(cell.labels)
    if cell.kept is not None:
        said[EXPIRES_AT] = int((cell.span.end + cell.kept).timestamp())
    change = "ADD " + ", ".join(f"#{name} :{name}" for name in added)
    if said:
        change += " SET " + ", ".join(f"#{name} = :{name}" for name in said)
    return update(table, {"pk": cell.span.name, "sk": cell.sort}, change, "", {**added, **said})


def _sort_key(prefix: str, text: str) -> str:
    # Callers choose names of models, sessions and metadata; a key of the table has to be shorter than some.
    if len(prefix.encode()) + len(text.encode()) < _MAX_SORT_KEY_BYTES:
        return f"{prefix}={text}"
    return f"{prefix}~{hashlib.sha256(text.encode()).hexdigest()}"
