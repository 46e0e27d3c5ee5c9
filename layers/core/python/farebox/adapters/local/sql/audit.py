"""The audit log: who changed what, written in the same transaction as the change."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from datetime import datetime

import msgspec

from farebox.adapters.audit_page import PAGE_BYTES_MAX
from farebox.adapters.local.sql.codec import cursor_place, cursor_text, json_text, microseconds, moment_at
from farebox.ports import AuditEntry, Page

Document = Mapping[str, object]


def note(connection: sqlite3.Connection, entry: AuditEntry) -> None:
    """Write one entry; `connection` is inside the transaction of the change."""
    connection.execute(
        "INSERT INTO audit (at_us, actor, action, kind, name, before, after) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            microseconds(entry.at),
            entry.actor,
            entry.action,
            entry.kind,
            entry.name,
            None if entry.before is None else json_text(entry.before),
            None if entry.after is None else json_text(entry.after),
        ),
    )


def note_change(
    connection: sqlite3.Connection,
    *,
    at: datetime,
    actor: str,
    kind: str,
    name: str,
    before: str | None,
    after: str | None,
    action: str | None = None,
) -> None:
    """Write the entry for a stored document, given as JSON text; unless told, the two say what was done."""
    if action is None:
        action = "create" if before is None else "delete" if after is None else "update"
    note(connection, AuditEntry(at, actor, action, kind, name, _document(before), _document(after)))


def entries(connection: sqlite3.Connection, *, limit: int, cursor: str | None) -> Page[AuditEntry]:
    """List entries, newest first. Large ones end the page before its limit."""
    before = cursor_place(cursor, int) if cursor else None
    rows = connection.execute(
        "SELECT sequence, at_us, actor, action, kind, name, before, after FROM audit"
        " WHERE ?1 IS NULL OR sequence < ?1 ORDER BY sequence DESC LIMIT ?2",
        (before, limit + 1),
    )
    found: list[AuditEntry] = []
    size = last = 0
    for sequence, at_us, actor, action, kind, name, old, new in rows:
        size += sum(len(text.encode()) for text in (old, new) if text is not None)
        if len(found) == limit or (found and size > PAGE_BYTES_MAX):
            return Page(found, cursor_text(last))
        found.append(AuditEntry(moment_at(at_us), actor, action, kind, name, _document(old), _document(new)))
        last = sequence
    return Page(found)


def _document(text: str | None) -> Document | None:
    if text is None:
        return None
    document: Document = msgspec.json.decode(text, type=dict[str, object])
    return document
