"""The fields of one object of a config: taken one by one, and what nobody took is unknown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from difflib import get_close_matches
from itertools import islice

from farebox.domain.routing.finding import Finding

STATUSES_MAX = 100
TEXT_LENGTH_MAX = 256
LIST_LENGTH_MAX = 100
NAME_LENGTH_MAX = 100
WHOLE_MAX = 10**18
HINTS_MAX = 10
"""To find out what was meant takes time, and a config may be a caller's: the first errors are told, and by so
many names.
"""
NAMES_COMPARED_MAX = 50


class Fields:
    """One object. A reader gives None for what is not there (null too), and notes what is wrong."""

    def __init__(self, value: Mapping[str, object], path: str, findings: list[Finding]) -> None:
        self.path = path
        self.findings = findings
        self._value = value
        self._known: set[str] = set()

    def has(self, name: str) -> bool:
        """Whether a field is there, without taking it."""
        return self._value.get(name) is not None

    def take(self, name: str) -> object:
        """Give a field of any kind."""
        self._known.add(name)
        return self._value.get(name)

    def place(self, name: str) -> str:
        """Give the path of a field."""
        return f"{self.path}.{name}" if name else self.path

    def error(self, name: str, detail: str) -> None:
        """Note that a field cannot be taken; the empty name is the object itself."""
        self.findings.append(Finding(self.place(name), detail))

    def warn(self, name: str, detail: str) -> None:
        """Note what is worth knowing of a field."""
        self.findings.append(Finding(self.place(name), detail, is_error=False))

    def text(self, name: str, length_max: int = TEXT_LENGTH_MAX) -> str | None:
        """Give a text that is not empty and can be shown."""
        value = self.take(name)
        if value is None:
            return None
        if not isinstance(value, str) or not 0 < len(value) <= length_max or not value.isprintable():
            self.error(name, f"must be 1 to {length_max} printable characters")
            return None
        return value

    def whole(self, name: str, low: int, high: int) -> int | None:
        """Give a whole number within bounds."""
        value = self.take(name)
        if value is None:
            return None
        number = whole_number(value)
        if number is None or not low <= number <= high:
            self.error(name, f"must be a whole number from {low} to {high}")
            return None
        return number

    def flag(self, name: str) -> bool | None:
        """Give true or false."""
        value = self.take(name)
        if isinstance(value, bool):
            return value
        if value is not None:
            self.error(name, "must be true or false")
        return None

    def inner(self, name: str) -> Fields | None:
        """Give the fields of an object."""
        value = self.take(name)
        if value is None:
            return None
        if not isinstance(value, Mapping):
            self.error(name, "must be an object")
            return None
        return Fields(value, self.place(name), self.findings)

    def items(self, name: str, length_max: int = LIST_LENGTH_MAX) -> list[object] | None:
        """Give a list."""
        value = self.take(name)
        if value is None:
            return None
        if not isinstance(value, list) or len(value) > length_max:
            self.error(name, f"must be a list of at most {length_max} entries")
            return None
        return value

    def texts(self, name: str) -> tuple[str, ...] | None:
        """Give a list of texts."""
        values = self.items(name)
        if values is None:
            return None
        texts = [value for value in values if isinstance(value, str) and 0 < len(value) <= TEXT_LENGTH_MAX]
        if len(texts) != len(values):
            self.error(name, f"must be a list of texts of 1 to {TEXT_LENGTH_MAX} characters")
            return None
        return tuple(texts)

    def statuses(self, name: str) -> frozenset[int] | None:
        """Give a list of HTTP statuses."""
        values = self.items(name, STATUSES_MAX)
        if values is None:
            return None
        numbers = [number for value in values if (number := whole_number(value)) and 100 <= number <= 599]
        if len(numbers) != len(values):
            self.error(name, "must be a list of HTTP statuses, such as [429, 529]")
            return None
        return frozenset(numbers)

    def left(self) -> list[str]:
        """Give the names that nobody took yet."""
        return [name for name in self._value if name not in self._known]

    def close(self) -> None:
        """Note every field that nobody took."""
        for name in self.left():
            shown = name if name.isprintable() else repr(name)
            meant = self.meant(name, self._known)
            hint = f"; did you mean '{meant}'?" if meant else ""
            self.error(shown[:NAME_LENGTH_MAX], f"unknown field{hint}")

    def meant(self, name: str, known: Iterable[str]) -> str | None:
        """Give the known name that was probably meant, while few things are wrong."""
        if len(self.findings) >= HINTS_MAX:
            return None
        names = list(islice(known, NAMES_COMPARED_MAX))
        found = get_close_matches(name[:TEXT_LENGTH_MAX], names, n=1, cutoff=0.7)
        return found[0] if found else None


def whole_number(value: object) -> int | None:
    """Give a number that has no fraction, however it is written; true is none."""
    if isinstance(value, float | Decimal):
        number = float(value)
        return int(number) if abs(number) < WHOLE_MAX and number.is_integer() else None
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if abs(value) < WHOLE_MAX else None
