"""What a number in a usage object has to look like to be counted, and what happens when it does not."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from farebox.domain.usage import Usage

# What a 64-bit counter can hold; no request has ever used a millionth of it.
_MAX_COUNT = 2**63 - 1


def read_count(value: object) -> int | None:
    """Take a whole number from 0 to 2**63 - 1; anything else (bool, float, text, negative) is no count."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MAX_COUNT:
        return value
    return None


class Counted:
    """Collects, while one usage object is read, what could not be counted and what has no price.

    A field that is no count is read as 0 and makes the cost an estimate; tokens of an unknown kind make it
    unpriced.
    """

    def __init__(self, unread: tuple[str, ...] = ()) -> None:
        self._unread = list(unread)
        self._unmetered: dict[str, int] = {}

    def count(self, fields: Mapping[str, object], name: str) -> int:
        """Read one counter; missing and null are 0."""
        value = fields.get(name)
        count = read_count(value)
        if count is None and value is not None:
            self._unread.append(name)
        return count or 0

    def add_unmetered(self, name: str, value: object) -> None:
        """Note a counter of an unknown kind; zero needs no note."""
        count = read_count(value)
        if count:
            self._unmetered[name] = count
        elif count is None and value is not None:
            self._unread.append(name)

    def marked(self, usage: Usage) -> Usage:
        """Give the usage with what was collected."""
        return replace(
            usage,
            unmetered=tuple(sorted(self._unmetered)),
            unmetered_tokens=sum(self._unmetered.values()),
            unread=tuple(sorted(set(self._unread))),
        )
