"""A query as it is asked: what must hold together, and what of one value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from farebox.domain.routing.query.pattern import Pattern

COMPARISONS = ("$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$exists")
AREAS = ("metadata", "params", "url", "headers")


@dataclass(frozen=True, slots=True)
class Path:
    """Where a value is found: an area of the request, and the names and places on the way."""

    area: str
    steps: tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Test:
    """One comparison of the value at a path with what the query says."""

    path: Path
    operator: str
    operand: object


@dataclass(frozen=True, slots=True)
class PatternTest:
    """Whether the text at a path has a pattern in it."""

    path: Path
    pattern: Pattern


@dataclass(frozen=True, slots=True)
class All:
    """Every one of these holds; of none, too."""

    parts: tuple[Query, ...]


@dataclass(frozen=True, slots=True)
class Any:
    """At least one of these holds."""

    parts: tuple[Query, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """This does not hold."""

    part: Query


Query: TypeAlias = Test | PatternTest | All | Any | Not
