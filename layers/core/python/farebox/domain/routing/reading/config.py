"""A config as a tree of targets, or all that is wrong with it. It is a caller's to send, so it is bounded."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from math import isfinite

from msgspec import Struct

from farebox.domain.routing.finding import Finding, refusal
from farebox.domain.routing.reading.fields import Fields
from farebox.domain.routing.reading.nodes import NodeReader
from farebox.domain.routing.reading.settings import Settings
from farebox.domain.routing.tree import Node

ROOT = "config"
ENTRIES_MAX = 20_000
DEPTH_MAX = 40
FINDINGS_MAX = 50


class Reading(Struct, frozen=True):
    """What a document was read as. There is a tree when none of the findings is an error."""

    tree: Node | None
    findings: tuple[Finding, ...] = ()

    @property
    def errors(self) -> tuple[Finding, ...]:
        """What keeps the document from being a config."""
        return tuple(finding for finding in self.findings if finding.is_error)


def config_tree(document: object) -> Node:
    """Read a config. Raises `ConfigInvalid` that names each field that is wrong."""
    reading = read_config(document)
    if reading.tree is None:
        raise refusal(reading.errors)
    return reading.tree


def read_config(document: object) -> Reading:
    """Read a config and say all that is wrong with it. It never raises."""
    fault = _form_fault(document)
    if fault is not None or not isinstance(document, Mapping):
        return Reading(None, (Finding(ROOT, fault or "must be an object"),))
    reader = NodeReader()
    tree = reader.node(Fields(document, ROOT, reader.findings), Settings(), 1)
    reading = Reading(tree, tuple(reader.findings))
    errors = reading.errors
    return Reading(None, errors[:FINDINGS_MAX]) if errors or tree is None else reading


def _form_fault(document: object) -> str | None:
    """Walk the document without recursion: what comes after may take its depth and its values for granted."""
    waiting = [(document, 1)]
    entries = 0
    while waiting:
        value, depth = waiting.pop()
        entries += 1
        if entries > ENTRIES_MAX:
            return f"has more than {ENTRIES_MAX} entries"
        if depth > DEPTH_MAX:
            return f"is nested deeper than {DEPTH_MAX} levels"
        if isinstance(value, Mapping):
            if not all(isinstance(name, str) and _is_json(name) for name in value):
                return "has a field whose name is not text"
            waiting.extend((each, depth + 1) for each in value.values())
        elif isinstance(value, list):
            waiting.extend((each, depth + 1) for each in value)
        elif not _is_json(value):
            return "has a value that JSON does not have"
    return None


def _is_json(value: object) -> bool:
    """Whether a value can be written as JSON: no infinity, no half a character, no other kind."""
    if isinstance(value, str):
        return value.isascii() or not any("\ud800" <= char <= "\udfff" for char in value)
    if isinstance(value, float | Decimal):
        return isfinite(value)
    return value is None or isinstance(value, int)
