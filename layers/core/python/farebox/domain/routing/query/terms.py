"""A query as it is asked: what must hold together, and what of one value."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from farebox.domain.routing.query.pattern import Pattern

COMPARISONS = ("$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$exists")
AREAS = ("metadata", "params", "url", "headers")


class Path(Struct, frozen=True):
    """Where a value is found: an area of the request, and the names and places on the way."""

    area: str
    steps: tuple[str | int, ...]


class Test(Struct, frozen=True):
    """One comparison of the value at a path with what the query says."""

    path: Path
    operator: str
    operand: object


class PatternTest(Struct, frozen=True):
    """Whether the text at a path has a pattern in it."""

    path: Path
    pattern: Pattern


class All(Struct, frozen=True):
    """Every one of these holds; of none, too."""

    parts: tuple[Query, ...]


class Any(Struct, frozen=True):
    """At least one of these holds."""

    parts: tuple[Query, ...]


class Not(Struct, frozen=True):
    """This does not hold."""

    part: Query


Query: TypeAlias = Test | PatternTest | All | Any | Not
