"""Whether a query holds for a request.

Portkey's documented meaning, where its open-source gateway differs: a value that is not there is unequal to
nothing (`$ne` and `$nin` fail), and all that stands side by side must hold (docs/configs.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from farebox.domain.routing.query.terms import All, Any, Not, Path, PatternTest, Query, Test

INTEGER_MAX = 10**40


class _Missing:
    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()
"""What stands for a value that a request does not have; JSON's null is a value."""


class Facts(Struct, frozen=True):
    """What a query may ask of a request. Names of `headers` are in lower case; `params` is the body."""

    metadata: Mapping[str, str]
    params: Mapping[str, object]
    pathname: str
    headers: Mapping[str, str]

    def value(self, path: Path) -> object:
        """Give the value at a path, `MISSING` where there is none."""
        areas: Mapping[str, Mapping[str, object]] = {
            "metadata": self.metadata,
            "params": self.params,
            "url": {"pathname": self.pathname},
            "headers": self.headers,
        }
        value: object = areas[path.area]
        for step in path.steps:
            if isinstance(step, int):
                value = value[step] if isinstance(value, list) and step < len(value) else MISSING
            else:
                value = value.get(step, MISSING) if isinstance(value, Mapping) else MISSING
        return value

    def text(self, path: Path) -> str | None:
        """Give the value at a path as text: what a pattern is looked for in. None where it is none."""
        return _text(self.value(path))


def matches(query: Query, facts: Facts) -> bool:
    """Say whether a query holds."""
    match query:
        case All(parts):
            return all(matches(part, facts) for part in parts)
        case Any(parts):
            return any(matches(part, facts) for part in parts)
        case Not(part):
            return not matches(part, facts)
        case PatternTest(path, pattern):
            text = facts.text(path)
            return text is not None and pattern.is_in(text)
        case Test(path, operator, operand):
            return _holds(operator, facts.value(path), operand)


def _holds(operator: str, value: object, operand: object) -> bool:
    if operator == "$exists":
        return (value is not MISSING) == (operand is True)
    if value is MISSING:
        return False
    match operator:
        case "$eq":
            return _same(value, operand)
        case "$ne":
            return not _same(value, operand)
        case "$in" | "$nin":
            is_one = isinstance(operand, tuple) and any(_same(value, each) for each in operand)
            return is_one == (operator == "$in")
    left, right = _number(value), _number(operand)
    if left is None or right is None:
        return False
    match operator:
        case "$gt":
            return left > right
        case "$gte":
            return left >= right
        case "$lt":
            return left < right
        case _:
            return left <= right


def _same(left: object, right: object) -> bool:
    """Whether two JSON scalars are equal and of one kind: true is not 1, and '1' is not 1."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    return left == right


def _number(value: object) -> float | None:
    """Read a number, or a text that is one; metadata has only texts."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if number == number else None


def _text(value: object) -> str | None:
    """Give the text that a pattern is looked for in; a number's is as JSON writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, int):
        return str(value) if abs(value) < INTEGER_MAX else None
    return value if isinstance(value, str) else None
