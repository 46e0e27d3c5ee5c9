"""Sums over ledger rows, by whatever people ask for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TypeAlias, cast

import msgspec

from farebox.adapters.aws.dynamodb.attributes import Item
from farebox.adapters.aws.ledger.buckets.standings import number
from farebox.domain.errors import ConfigInvalid
from farebox.domain.record import Outcome
from farebox.ports import UsageRow

Group: TypeAlias = tuple[str | None, str | None]
"""Workspace, where it tells two groups of one name apart, and name."""

NONE: Group = (None, None)
"""The group of rows that lack what is grouped by."""

METADATA_PREFIX = "metadata."

_ATTRIBUTES = {
    "key": "key",
    "user": "user",
    "workspace": "workspace",
    "model": "model",
    "provider": "provider",
    "session": "session_id",
}
_SUMMED = (
    "input_tokens",
    "cache_read_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "output_tokens",
    "cost_picodollars",
    "charged_picodollars",
)
_SAVED = "saved_picodollars"
_COUNTED = ("requests", "errors", *_SUMMED, "cache_hits", _SAVED)
_metadata = msgspec.json.Decoder(dict[str, str]).decode


def grouping(by: str) -> Callable[[Item], Group]:
    """Say how rows are put into groups. Raises `ConfigInvalid` for what rows cannot be grouped by."""
    name = by.removeprefix(METADATA_PREFIX)
    if name and name != by:
        return lambda item: (None, _metadata(cast(str, item.get("metadata", "{}"))).get(name))
    if by == "key":
        return lambda item: (cast(str, item["workspace"]), cast(str, item["key"]))
    if by in _ATTRIBUTES:
        attribute = _ATTRIBUTES[by]
        return lambda item: (None, cast("str | None", item.get(attribute)))
    raise ConfigInvalid("by", f"'{by}' is none of {', '.join(_ATTRIBUTES)}, {METADATA_PREFIX}NAME")


class Sums:
    """Adds rows up, one at a time."""

    def __init__(self, group_of: Callable[[Item], Group]) -> None:
        self._group_of = group_of
        self._by_group: dict[Group, Counter[str]] = {}

    def add(self, item: Item) -> None:
        """Count one row. An unpriced one has no cost and counts its ceiling as charged."""
        sums = self._by_group.setdefault(self._group_of(item), Counter())
        sums["requests"] += 1
        sums["errors"] += bool(item["is_error"])
        sums["cache_hits"] += item["outcome"] == Outcome.CACHED.value
        for name in (*_SUMMED, _SAVED):
            sums[name] += number(item, name)

    def merge(self, item: Item, *, into: Group | None = None, sign: int = 1) -> None:
        """Add what is summed already, to its own group or to the one named."""
        sums = self._by_group.setdefault(into or self._group_of(item), Counter())
        for name in _COUNTED:
            sums[name] += sign * number(item, name)

    def rows(self) -> list[UsageRow]:
        """Name the groups and sort them. A key's name says enough unless two workspaces have one."""
        # What is summed may have been taken back again: nothing is left of a group without a request.
        by_group = {group: sums for group, sums in self._by_group.items() if sums["requests"]}
        workspaces = Counter(name for _, name in by_group)
        usage = []
        for (workspace, name), sums in by_group.items():
            group = f"{workspace}/{name}" if workspace is not None and workspaces[name] > 1 else name
            counted = (sums[each] for each in _COUNTED)
            usage.append(UsageRow(group, *counted))
        return sorted(usage, key=lambda row: (-row.cost_picodollars, row.group is None, row.group or ""))
