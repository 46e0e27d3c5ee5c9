"""Negotiated prices of one provider: a multiplier on the list, or rows that take its place."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from fractions import Fraction

from msgspec import Struct

from farebox.domain.errors import ConfigInvalid
from farebox.domain.price.table import TOKEN_CLASSES, UnitPrices, per_token


class OverrideRow(Struct, frozen=True):
    """Picodollars per token where negotiated; None keeps the list price, or else the input price."""

    input: int
    output: int
    cache_read: int | None = None
    cache_write_5m: int | None = None
    cache_write_1h: int | None = None

    def over(self, listed: UnitPrices | None) -> UnitPrices:
        """Give full unit prices with the gaps filled from the list."""
        plain = (
            UnitPrices(self.input, self.output, self.input, self.input, self.input)
            if listed is None
            else listed
        )
        return UnitPrices(
            input=self.input,
            output=self.output,
            cache_read=plain.cache_read if self.cache_read is None else self.cache_read,
            cache_write_5m=plain.cache_write_5m if self.cache_write_5m is None else self.cache_write_5m,
            cache_write_1h=plain.cache_write_1h if self.cache_write_1h is None else self.cache_write_1h,
        )


@dataclass(frozen=True, slots=True)
class PriceOverride:
    """What a provider's `prices` say. The multiplier is for models without a row, and for web searches too.

    Batch, fast, residency and endpoint factors apply on top of both. `version` tells one from another.
    """

    multiplier: Fraction | None = None
    rows: Mapping[str, OverrideRow] = field(default_factory=dict)
    version: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "version", hashlib.sha256(repr(self).encode()).hexdigest()[:8])

    def row(self, *names: str) -> OverrideRow | None:
        """Give the row of the first name that has one; names are compared in lower case."""
        return next((self.rows[name.lower()] for name in names if name.lower() in self.rows), None)


def read_override(document: object, path: str) -> PriceOverride | None:
    """Read `{multiplier: 0.9}` or `{models: {ID: {input, output, ...}}}`, USD per million tokens.

    Raises `ConfigInvalid` naming the field under `path`.
    """
    if document is None:
        return None
    fields = _fields(document, path, ("multiplier", "models"))
    rows = {
        str(name).strip().lower(): _read_row(row, f"{path}.models.{name}")
        for name, row in _fields(fields.get("models") or {}, f"{path}.models", None).items()
    }
    multiplier = fields.get("multiplier")
    return PriceOverride(
        None if multiplier is None else _read_multiplier(multiplier, f"{path}.multiplier"), rows
    )


def _read_row(document: object, path: str) -> OverrideRow:
    fields = _fields(document, path, TOKEN_CLASSES)
    for name in ("input", "output"):
        if name not in fields:
            raise ConfigInvalid(
                f"{path}.{name}", "is missing; a price row needs input and output in USD per MTok"
            )
    prices = {name: _read_price(value, f"{path}.{name}") for name, value in fields.items()}
    return OverrideRow(**prices)


def _read_price(value: object, path: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise ConfigInvalid(path, "is not a price in USD per million tokens")
    try:
        return per_token(value)
    except ValueError as error:
        raise ConfigInvalid(path, str(error)) from None


def _read_multiplier(value: object, path: str) -> Fraction:
    """A YAML float is read by its shortest spelling, so 0.9 is nine tenths."""
    try:
        number = Decimal("nan") if isinstance(value, bool) else Decimal(str(value))
    except InvalidOperation:
        number = Decimal("nan")
    if not number.is_finite() or not 0 <= number <= 100 or number != round(number, 9):
        raise ConfigInvalid(path, "is not a number from 0 to 100 with at most 9 decimals")
    return Fraction(number)


def _fields(value: object, path: str, known: tuple[str, ...] | None) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise ConfigInvalid(path, "is not a mapping")
    for name in value:
        if known is not None and name not in known:
            raise ConfigInvalid(f"{path}.{name}", f"is not known here; known are {', '.join(known)}")
    return value
