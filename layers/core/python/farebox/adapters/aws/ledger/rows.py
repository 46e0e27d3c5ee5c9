"""Ledger rows: one a request, written once and never again. Corrections and resets are rows too."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable
from datetime import datetime
from typing import TypeAlias, cast

import msgspec

from farebox.adapters.aws.codec import json_text, microseconds, moment_at
from farebox.adapters.aws.dynamodb.actions import Action, Key, check, put
from farebox.adapters.aws.dynamodb.attributes import Item, Value
from farebox.adapters.aws.ledger.buckets.keys import BucketKey
from farebox.domain.record import Outcome, RequestRecord

Entries: TypeAlias = Iterable[tuple[BucketKey, int]]
"""What a row books: amounts by bucket."""

TIME_SHARDS = ("0", "1", "2", "3")
"""Partitions of the index by time. New rows all come at its end, so these bound the rows a second."""

OVERRUN = "-"
"""The partition of the index by overrun: rows in it are rare, so one is enough."""


class _Entry(msgspec.Struct, frozen=True, array_like=True):
    """What a row books on one item, as stored; only a shard of a wide bucket writes the last place."""

    budget: str
    unit: str
    window: str
    bucket: str
    amount: int
    shard: int | None = None


_PLACE = re.compile(r"\d{17}#\d{17}#.+", re.DOTALL).fullmatch
_NOT_THERE = "attribute_not_exists(#id)"
_entries = msgspec.json.Decoder(list[_Entry]).decode
_record = msgspec.json.Decoder(RequestRecord).decode


def row_key(request_id: str) -> Key:
    """Say where the row of a request is."""
    return {"id": request_id}


def correction_key(request_id: str) -> Key:
    """Say where the true record of a swept request is, once it has come."""
    return row_key(correction_id(request_id))


def correction_id(request_id: str) -> str:
    """Name the row that corrects another."""
    return f"{request_id}#correction"


def no_row(table: str, request_id: str) -> Action:
    """Make sure that a request is not settled."""
    return check(table, row_key(request_id), _NOT_THERE)


def append_request(
    table: str, request_id: str, record: RequestRecord, entries: Entries, stamp: int
) -> Action:
    """Write the row of a request that ended."""
    return put(table, _item(request_id, "request", record, entries, stamp), _NOT_THERE)


def append_correction(
    table: str,
    request_id: str,
    record: RequestRecord,
    difference: Entries,
    stamp: int,
) -> Action:
    """Write the row that replaces an expired one; its entries are what it books on top, either sign."""
    item = _item(correction_id(request_id), "correction", record, difference, stamp)
    return put(table, {**item, "corrects": request_id}, _NOT_THERE)


def append_reset(table: str, settled: Entries, at: datetime, token: str) -> Action:
    """Write the correcting entry that brings a bucket back to nothing settled."""
    item: dict[str, Value] = {
        "id": f"reset#{token}",
        "kind": "reset",
        "at_us": microseconds(at),
        "entries": _entries_text((key, -amount) for key, amount in settled),
    }
    return put(table, item, _NOT_THERE)


def entries_of_row(item: Item) -> list[tuple[BucketKey, int]]:
    """Read what a row booked."""
    return [
        (BucketKey(entry.budget, entry.unit, entry.window, entry.bucket, entry.shard), entry.amount)
        for entry in _entries(cast(str, item["entries"]))
    ]


def record_of_row(item: Item) -> RequestRecord:
    """Read the whole record back."""
    return _record(cast(str, item["record"]))


def is_expired(item: Item) -> bool:
    """Say whether the sweeper wrote this row, so that a true one may follow."""
    return item["outcome"] == Outcome.EXPIRED.value


def is_place(text: str) -> bool:
    """Say whether a text can be the place of a row."""
    return _PLACE(text) is not None


def row_at(place: str) -> str:
    """Give the id of the row at a place."""
    return place.split("#", 2)[2]


def moment_of(place: str) -> datetime:
    """Give the moment of the row at a place."""
    return moment_at(int(place.split("#", 1)[0]))


def place_at(moment: datetime) -> str:
    """Give the first place in the order of rows that `moment` can have."""
    return f"{microseconds(moment):017d}"


def _item(row_id: str, kind: str, record: RequestRecord, entries: Entries, stamp: int) -> dict[str, Value]:
    usage = record.usage
    columns: dict[str, Value] = {
        "id": row_id,
        "kind": kind,
        "time_shard": TIME_SHARDS[zlib.crc32(row_id.encode()) % len(TIME_SHARDS)],
        "place": f"{place_at(record.at)}#{stamp:017d}#{row_id}",
        "at_us": microseconds(record.at),
        "workspace": record.workspace,
        "key": record.key,
        "user": record.user,
        "model": record.model,
        "provider": record.provider,
        "session_id": record.session_id,
        "metadata": json_text(record.metadata) if record.metadata else None,
        "outcome": record.outcome.value,
        "is_error": record.is_error,
        "input_tokens": usage.input_tokens,
        "cache_read_tokens": usage.cache_read_tokens,
        "cache_write_5m_tokens": usage.cache_write_5m_tokens,
        "cache_write_1h_tokens": usage.cache_write_1h_tokens,
        "output_tokens": usage.output_tokens,
        "cost_picodollars": record.cost_picodollars,
        "charged_picodollars": record.charged_picodollars,
        "saved_picodollars": record.saved_picodollars or None,
        "overrun": OVERRUN if record.overrun_picodollars > 0 else None,
        "overrun_picodollars": record.overrun_picodollars or None,
        "entries": _entries_text(entries),
        "record": json_text(record),
    }
    # An attribute without a value would cost bytes, and an index does not take one as a key.
    return {name: value for name, value in columns.items() if value is not None}


def _entries_text(entries: Entries) -> str:
    return json_text(
        [
            (*key[:4], amount) if key.shard is None else (*key[:4], amount, key.shard)
            for key, amount in entries
        ]
    )
