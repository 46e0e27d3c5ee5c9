"""The audit log: who changed what, written in the same transaction as the change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import msgspec

from farebox.adapters.audit_page import PAGE_BYTES_MAX
from farebox.adapters.aws.codec import cursor_place, cursor_text, json_text, microseconds, moment_at
from farebox.adapters.aws.dynamodb.actions import Action, put
from farebox.adapters.aws.dynamodb.items import Items
from farebox.adapters.aws.stamps import Stamps
from farebox.ports import AuditEntry, Page

PARTITION = "audit"

ITEM_BYTES_MAX = 300_000
"""Of entries in one item, which takes 400 KB."""

_TOGETHER = 50
_Row = tuple[int, str, str, str, str, str | None, str | None]

_entries = msgspec.json.Decoder(list[_Row]).decode


def note(table: str, place: str, entry: AuditEntry) -> Action:
    """Write one entry."""
    return _note(table, place, [_text(entry)])


def notes(table: str, stamps: Stamps, entries: Sequence[AuditEntry]) -> list[Action]:
    """Write the entries of one change, many to an item, so that a large one still is one transaction."""
    return [_note(table, stamps.next_place(), pack) for pack in _packs([_text(entry) for entry in entries])]


def _note(table: str, place: str, texts: Sequence[str]) -> Action:
    item = {"pk": PARTITION, "sk": place, "entries": f"[{','.join(texts)}]"}
    return put(table, item, "attribute_not_exists(#pk)")


def _packs(texts: Sequence[str]) -> Iterator[list[str]]:
    pack: list[str] = []
    size = 0
    for text in texts:
        more = len(text.encode())
        if pack and (len(pack) == _TOGETHER or size + more > ITEM_BYTES_MAX):
            yield pack
            pack, size = [], 0
        pack.append(text)
        size += more
    if pack:
        yield pack


def action_of(before: object | None, after: object | None) -> str:
    """Say what was done from what was there and what is."""
    return "create" if before is None else "delete" if after is None else "update"


async def entries(items: Items, table: str, *, limit: int, cursor: str | None) -> Page[AuditEntry]:
    """List entries, newest first. Large ones end the page before its limit."""
    # A place is the item, and how many of its entries, from the last, were given already.
    sort_key, given = cursor_place(cursor, tuple[str, int]) if cursor else ("~", 0)
    found: list[AuditEntry] = []
    size = 0
    walk = items.query(table, "#pk = :pk AND #sk <= :sk", descending=True, pk=PARTITION, sk=sort_key)
    async for item in walk:
        skipped = given if item["sk"] == sort_key else 0
        text = cast(str, item["entries"])
        size += len(text.encode())
        if found and size > PAGE_BYTES_MAX:
            return Page(found, cursor_text((item["sk"], skipped)))
        for number, entry in enumerate(reversed(read_entries(text))):
            if number < skipped:
                continue
            if len(found) == limit:
                return Page(found, cursor_text((item["sk"], number)))
            found.append(entry)
    return Page(found)


def _text(entry: AuditEntry) -> str:
    """Write an entry; a document that no item takes, by its size."""
    documents = [None if each is None else json_text(each) for each in (entry.before, entry.after)]
    text = json_text(_row(entry, documents))
    for _ in documents:
        if len(text.encode()) <= ITEM_BYTES_MAX:
            break
        sizes = [len((document or "").encode()) for document in documents]
        largest = sizes.index(max(sizes))
        documents[largest] = json_text({"left_out_bytes": sizes[largest]})
        text = json_text(_row(entry, documents))
    return text


def _row(entry: AuditEntry, documents: Sequence[str | None]) -> _Row:
    before, after = documents
    return (microseconds(entry.at), entry.actor, entry.action, entry.kind, entry.name, before, after)


def read_entries(text: str) -> list[AuditEntry]:
    """Read what one item holds."""
    return [
        AuditEntry(moment_at(at_us), actor, action, kind, name, _document(before), _document(after))
        for at_us, actor, action, kind, name, before, after in _entries(text)
    ]


def _document(text: str | None) -> Mapping[str, object] | None:
    if text is None:
        return None
    document: Mapping[str, object] = msgspec.json.decode(text, type=dict[str, object])
    return document
