"""Ledger rows: what of a record becomes a column, and how bookings are written beside it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from datetime import datetime

import msgspec

from farebox.adapters.local.sql.buckets import BucketKey, Movement, key_of
from farebox.adapters.local.sql.codec import json_text, microseconds
from farebox.domain.budget import Touch
from farebox.domain.record import RequestRecord

_entries = msgspec.json.Decoder(list[tuple[str, str, str, str, int]]).decode

_COLUMNS = (
    "id, kind, corrects, at_us, workspace, key, user, model, provider, session_id, metadata, outcome,"
    " is_error, input_tokens, cache_read_tokens, cache_write_5m_tokens, cache_write_1h_tokens, output_tokens,"
    " cost_picodollars, charged_picodollars, saved_picodollars, entries, record"
)
_APPEND = f"INSERT INTO ledger ({_COLUMNS}) VALUES ({', '.join('?' * 23)})"
_APPEND_ONCE = f"{_APPEND} ON CONFLICT (id) DO NOTHING"
_APPEND_RESET = "INSERT INTO ledger (id, kind, at_us, entries) VALUES (?, 'reset', ?, ?)"


def append_request(
    connection: sqlite3.Connection, request_id: str, record: RequestRecord, booked: Iterable[Touch]
) -> bool:
    """Write the row of a request that ended; say whether there was none yet."""
    entries = [(*key_of(touch), touch.amount) for touch in booked]
    columns = (request_id, "request", None, *_record_columns(record, entries))
    return connection.execute(_APPEND_ONCE, columns).rowcount == 1


def append_correction(
    connection: sqlite3.Connection,
    request_id: str,
    record: RequestRecord,
    difference: Mapping[BucketKey, Movement],
) -> None:
    """Write the row that replaces an expired one; its entries are what it books on top, either sign."""
    entries = [(*key, movement.settled) for key, movement in difference.items() if movement.settled]
    columns = _record_columns(record, entries)
    connection.execute(_APPEND, (f"{request_id}#correction", "correction", request_id, *columns))


def is_corrected(connection: sqlite3.Connection, request_id: str) -> bool:
    """Say whether the true record of a swept request has come already."""
    found = connection.execute("SELECT 1 FROM ledger WHERE corrects = ?", (request_id,))
    return found.fetchone() is not None


def append_reset(connection: sqlite3.Connection, key: BucketKey, settled: int, at: datetime) -> None:
    """Write the correcting entry that brings a bucket back to nothing settled."""
    (number,) = connection.execute("SELECT ifnull(max(sequence), 0) + 1 FROM ledger").fetchone()
    connection.execute(_APPEND_RESET, (f"reset#{number}", microseconds(at), json_text([(*key, -settled)])))


def decoded_entries(entries: str) -> dict[BucketKey, int]:
    """Give what a row booked, by bucket."""
    amounts: dict[BucketKey, int] = {}
    for *key, amount in _entries(entries):
        budget, unit, bucket, window = key
        amounts[budget, unit, bucket, window] = amounts.get((budget, unit, bucket, window), 0) + amount
    return amounts


def _record_columns(
    record: RequestRecord, entries: list[tuple[str, str, str, str, int]]
) -> tuple[str | int | None, ...]:
    usage = record.usage
    return (
        microseconds(record.at),
        record.workspace,
        record.key,
        record.user,
        record.model,
        record.provider,
        record.session_id,
        json_text(record.metadata),
        record.outcome.value,
        record.is_error,
        usage.input_tokens,
        usage.cache_read_tokens,
        usage.cache_write_5m_tokens,
        usage.cache_write_1h_tokens,
        usage.output_tokens,
        record.cost_picodollars,
        record.charged_picodollars,
        record.saved_picodollars,
        json_text(entries),
        json_text(record),
    )
