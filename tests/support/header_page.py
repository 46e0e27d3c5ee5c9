"""`docs/headers.md` as data: what the page promises about headers, for the tests that hold farebox to it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs/headers.md"

Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class HeaderTable:
    """One direction. Names in lower case; the ones in `prefixes` end where the page has an asterisk."""

    dropped: frozenset[bytes]
    prefixes: frozenset[bytes]
    replaced: frozenset[bytes]
    added: frozenset[bytes]

    def travelling(self, headers: Iterable[tuple[bytes, bytes]]) -> Headers:
        """Give the headers that the page lets travel on, names in lower case, in their order."""
        lowered = [(name.lower(), value) for name, value in headers]
        named = b",".join(value for name, value in lowered if name == b"connection")
        stopped = {token.strip().lower() for token in named.split(b",")} | self.dropped | self.replaced
        return [
            (name, value)
            for name, value in lowered
            if name not in stopped and not name.startswith(tuple(self.prefixes))
        ]

    def ours(self, headers: Iterable[tuple[bytes, bytes]]) -> Headers:
        """Give the headers that farebox puts there, in the order of the alphabet."""
        return sorted(pair for pair in headers if pair[0].lower() in self.replaced | self.added)


def to_the_provider() -> HeaderTable:
    return _table("## From the client to the provider")


def to_the_client() -> HeaderTable:
    return _table("## From the provider to the client")


def _table(title: str) -> HeaderTable:
    section = PAGE.read_text(encoding="utf-8").partition(title)[2].partition("\n## ")[0]
    changes: dict[str, list[bytes]] = {"dropped": [], "replaced": [], "added": []}
    for cells in re.findall(r"^\| (`.+`) \| (\w+) \|", section, re.MULTILINE):
        changes[cells[1]] += [name.encode() for name in re.findall(r"`([^`]+)`", cells[0])]
    dropped = changes["dropped"]
    return HeaderTable(
        dropped=frozenset(name for name in dropped if not name.endswith(b"*")),
        prefixes=frozenset(name[:-1] for name in dropped if name.endswith(b"*")),
        replaced=frozenset(changes["replaced"]),
        added=frozenset(changes["added"]),
    )
