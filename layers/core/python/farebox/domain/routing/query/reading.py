"""Reads a query from its JSON: every operator and every path known, every pattern compiled."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal

from msgspec import Struct, field

from farebox.domain.routing.query.pattern import PatternInvalid, compile_pattern
from farebox.domain.routing.query.terms import (
    AREAS,
    COMPARISONS,
    All,
    Any,
    Not,
    Path,
    PatternTest,
    Query,
    Test,
)

DEPTH_MAX = 10
TERMS_MAX = 1_000
TEXT_LENGTH_MAX = 1_024
PATTERN_STEPS_MAX = 512
SECRET_HEADERS = frozenset(
    (
        *("authorization", "cookie", "proxy-authorization", "x-api-key", "api-key", "x-goog-api-key"),
        *("x-farebox-key", "x-portkey-api-key"),
    )
)

_STEP = re.compile(r"([^.\[\]]+)((?:\[[0-9]{1,4}\])*)")
_NUMERIC = ("$gt", "$gte", "$lt", "$lte")


class QueryInvalid(ValueError):
    """`path` is where inside of the query, `detail` what is wrong there."""

    def __init__(self, path: str, detail: str) -> None:
        super().__init__(detail)
        self.path, self.detail = path, detail


class Allowance(Struct):
    """How much the queries of one config may ask in all, so that deciding takes a bounded time."""

    terms: int = TERMS_MAX
    pattern_steps: int = PATTERN_STEPS_MAX

    def take(self, path: str, *, terms: int = 0, pattern_steps: int = 0) -> None:
        """Use some of it. Raises `QueryInvalid` when it is gone."""
        self.terms -= terms
        self.pattern_steps -= pattern_steps
        if self.terms < 0:
            raise QueryInvalid(path, f"the conditions of this config have more than {TERMS_MAX} comparisons")
        if self.pattern_steps < 0:
            raise QueryInvalid(path, "the patterns of this config are too long taken together")


def read_query(value: object, allowance: Allowance | None = None) -> Query:
    """Read a query. Raises `QueryInvalid`."""
    return _Reader(allowance or Allowance()).query(value, "", DEPTH_MAX)


def read_path(name: object, place: str = "") -> Path:
    """Read where a value is found, such as 'params.tools[0].name'. Raises `QueryInvalid`."""
    area, dot, rest = str(name).partition(".")
    if area.startswith("$"):
        raise QueryInvalid(place, "is no operator here; there are $and, $or and $not")
    if area not in AREAS or not dot:
        raise QueryInvalid(place, "must be metadata.NAME, params.NAME, headers.NAME or url.pathname")
    if area == "url" and rest != "pathname":
        raise QueryInvalid(place, "of url there is url.pathname only")
    if area == "headers":
        if rest.lower() in SECRET_HEADERS:
            raise QueryInvalid(place, "a config does not look at secrets")
        return Path(area, (rest.lower(),))
    if area == "metadata":
        return Path(area, (rest,))
    return Path(area, tuple(_steps(rest, place)))


class _Reader(Struct):
    allowance: Allowance = field(default_factory=Allowance)

    def query(self, value: object, place: str, depth: int) -> Query:
        if not isinstance(value, Mapping):
            raise QueryInvalid(place, 'must be an object such as {"metadata.plan": {"$eq": "paid"}}')
        if depth == 0:
            raise QueryInvalid(place, f"is nested deeper than {DEPTH_MAX} levels")
        return _all(list(self._parts(value, place, depth)))

    def _parts(self, value: Mapping[object, object], place: str, depth: int) -> Iterator[Query]:
        for name, inner in value.items():
            here = _join(place, str(name))
            if name in ("$and", "$or"):
                if not isinstance(inner, list) or not inner:
                    raise QueryInvalid(here, "must be a list of queries")
                parts = [self.query(each, f"{here}[{at}]", depth - 1) for at, each in enumerate(inner)]
                yield _all(parts) if name == "$and" else Any(tuple(parts))
            elif name == "$not":
                yield Not(self.query(inner, here, depth - 1))
            else:
                yield self._value(read_path(name, here), inner, here)

    def _value(self, path: Path, value: object, place: str) -> Query:
        if not isinstance(value, Mapping):
            return self._test(path, "$eq", value, place)
        if not value:
            raise QueryInvalid(place, f"compares with nothing; use one of {', '.join(COMPARISONS)}, $regex")
        return _all(list(self._tests(path, value, place)))

    def _tests(self, path: Path, value: Mapping[object, object], place: str) -> Iterator[Query]:
        for operator, operand in value.items():
            here = _join(place, str(operator))
            if operator == "$regex":
                yield self._pattern(path, operand, value.get("$options", ""), here)
            elif operator == "$options":
                if "$regex" not in value:
                    raise QueryInvalid(here, "goes with $regex")
            elif operator == "$not":
                yield Not(self._value(path, operand, here))
            else:
                yield self._test(path, operator, operand, here)

    def _test(self, path: Path, operator: object, operand: object, place: str) -> Query:
        self.allowance.take(place, terms=1)
        if not isinstance(operator, str) or operator not in COMPARISONS:
            known = ", ".join((*COMPARISONS, "$regex", "$not"))
            raise QueryInvalid(place, f"is no operator; there are {known}")
        if operator in ("$in", "$nin"):
            if not isinstance(operand, list):
                raise QueryInvalid(place, "must be a list of values")
            self.allowance.take(place, terms=len(operand))
            values = tuple(_scalar(each, f"{place}[{at}]") for at, each in enumerate(operand))
            return Test(path, operator, values)
        value = _scalar(operand, place)
        if operator in _NUMERIC and not _is_number(value):
            raise QueryInvalid(place, "must be a number, or a text that is one")
        if operator == "$exists" and not isinstance(value, bool):
            raise QueryInvalid(place, "must be true or false")
        return Test(path, operator, value)

    def _pattern(self, path: Path, source: object, options: object, place: str) -> Query:
        if not isinstance(source, str):
            raise QueryInvalid(place, "must be a regular expression as text")
        if options not in ("", "i"):
            raise QueryInvalid(place.removesuffix("$regex") + "$options", "must be 'i', which ignores case")
        try:
            pattern = compile_pattern(source, ignores_case=options == "i")
        except PatternInvalid as error:
            raise QueryInvalid(place, str(error)) from None
        self.allowance.take(place, terms=1, pattern_steps=pattern.steps)
        return PatternTest(path, pattern)


def _all(parts: list[Query]) -> Query:
    return parts[0] if len(parts) == 1 else All(tuple(parts))


def _steps(text: str, place: str) -> Iterator[str | int]:
    for part in text.split("."):
        found = _STEP.fullmatch(part)
        if found is None:
            raise QueryInvalid(place, "must be names with dots between them, such as params.tools[0].name")
        yield found[1]
        yield from (int(index) for index in re.findall("[0-9]+", found[2]))


def _scalar(value: object, place: str) -> object:
    if isinstance(value, Decimal):
        value = float(value)
    if value is not None and not isinstance(value, str | bool | int | float):
        raise QueryInvalid(place, "must be a text, a number, true, false or null")
    if isinstance(value, str) and len(value) > TEXT_LENGTH_MAX:
        raise QueryInvalid(place, f"is longer than {TEXT_LENGTH_MAX} characters")
    return value


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return False
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return False
    return number == number


def _join(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name
