"""The audit log: who changed what, written in the same transaction as the change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import msgspec

from farebox.adapters.aws.codec import cursor_place, cursor_text, json_text, microseconds, moment_at
from farebox.adapters.aws.dynamodb.actions import Action, put
from farebox.adapters.aws.dynamodb.attributes import Item
from farebox.adapters.aws.dynamodb.items import Items
from farebox.adapters.aws.stamps import Stamps
from farebox.ports import AuditEntry, Page

PARTITION = "audit"

_TOGETHER = 50

_entries = msgspec.json.Decoder(list[tuple[int, str, str, str, str, str | None, str | None]]).decode


def note(table: str, place: str, *entries: AuditEntry) -> Action:
    """Write entries that are one change: together, so that a large one is no larger a transaction."""
    item = {"pk": PARTITION, "sk": place, "entries": json_text([_row(entry) for entry in entries])}
    return put(table, item, "attribute_not_exists(#pk)")


def notes(table: str, stamps: Stamps, entries: Sequence[AuditEntry]) -> list[Action]:
    """Write the entries of one change, many to an item, so that a large one still is one transaction."""
    return [
        note(table, stamps.next_place(), *entries[start : start + _TOGETHER])
        for start in range(0, len(entries), _TOGETHER)
    ]


def action_of(before: object | None, after: object | None) -> str:
    """Say what was done from what was there and what is."""
    return "create" if before is None else "delete" if after is None else "update"


async def entries(items: Items, table: str, *, limit: int, cursor: str | None) -> Page[AuditEntry]:
    """List entries, newest first."""
    # A place is the item, and how many of its entries, from the last, were given already.
    sort_key, given = cursor_place(cursor, tuple[str, int]) if cursor else ("~", 0)
    found: list[AuditEntry] = []
    walk = items.query(table, "#pk = :pk AND #sk <= :sk", descending=True, pk=PARTITION, sk=sort_key)
    async for item in walk:
        skipped = given if item["sk"] == sort_key else 0
        for number, entry in enumerate(reversed(_read(item))):
            if number < skipped:
                continue
            if len(found) == limit:
                return Page(found, cursor_text((item["sk"], number)))
            found.append(entry)
    return Page(found)


def _row(entry: AuditEntry) -> tuple[int, str, str, str, str, str | None, str | None]:
    return (
        microseconds(entry.at),
        entry.actor,
        entry.action,
        entry.kind,
        entry.name,
        None if entry.before is None else json_text(entry.before),
        None if entry.after is None else json_text(entry.after),
    )


def _read(item: Item) -> list[AuditEntry]:
    return [
        AuditEntry(moment_at(at_us), actor, action, kind, name, _document(before), _document(after))
        for at_us, actor, action, kind, name, before, after in _entries(cast(str, item["entries"]))
    ]


def _document(text: str | None) -> Mapping[str, object] | None:
    if text is None:
        return None
    document: Mapping[str, object] = msgspec.json.decode(text, type=dict[str, object])
    return document
