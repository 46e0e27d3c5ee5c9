"""Price rows as values, and how the data documents are read. Unit prices are whole picodollars per token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from fractions import Fraction

from msgspec import Struct, field

from farebox.domain.money import picodollars_from_usd

Document = Mapping[str, object]
Factor = int | Fraction
"""Multiplies a price exactly; whole ones are ints, since arithmetic on fractions is slow."""

TOKEN_CLASSES = ("input", "output", "cache_read", "cache_write_5m", "cache_write_1h")


class UnitPrices(Struct, frozen=True):
    """Picodollars per token, by class."""

    input: int
    output: int
    cache_read: int
    cache_write_5m: int
    cache_write_1h: int


class Band(Struct, frozen=True):
    """Unit prices for prompts of strictly more than `above_tokens`, for every token of the request."""

    above_tokens: int
    unit: UnitPrices


Bands = tuple[Band, ...]
"""In rising order; the first is for every prompt (`above_tokens` -1)."""


class PriceRow(Struct, frozen=True):
    """What a model costs from `start` (inclusive) to `end` (exclusive), on the standard and other tiers."""

    bands: Bands
    source: str
    checked: str
    start: datetime | None = None
    end: datetime | None = None
    tiers: Mapping[str, Bands] = field(default_factory=dict)

    def holds(self, at: datetime) -> bool:
        """Say whether the row is in force at `at`."""
        return (self.start is None or self.start <= at) and (self.end is None or at < self.end)


class FastPrice(Struct, frozen=True):
    """Fast mode of a model on one provider: a factor on every token class, until it is withdrawn."""

    provider: str
    factor: Factor
    end: datetime | None = None


class PricedModel(Struct, frozen=True):
    """One model and its dated rows. `factors` names the rules that multiply it: `residency`, `endpoint`."""

    id: str
    rows: tuple[PriceRow, ...]
    display_name: str = ""
    created_at: str = "1970-01-01T00:00:00Z"
    is_deprecated: bool = False
    providers: tuple[str, ...] = ()
    factors: frozenset[str] = frozenset()
    fast: tuple[FastPrice, ...] = ()

    def row(self, at: datetime) -> PriceRow | None:
        """Give the row in force at `at`."""
        for row in self.rows:
            if row.holds(at):
                return row
        return None

    def fast_factor(self, provider: str, at: datetime) -> Factor:
        """Give the factor for a request that was served fast; 1 where no fast price exists."""
        for fast in self.fast:
            if fast.provider == provider and (fast.end is None or at < fast.end):
                return fast.factor
        return 1


class RefusalRule(Struct, frozen=True):
    """Which refusals before any output are billed, on which providers (none means all), in which period."""

    billed_categories: frozenset[str]
    providers: tuple[str, ...] = ()
    start: datetime | None = None
    end: datetime | None = None

    def holds(self, provider: str, at: datetime) -> bool:
        """Say whether the rule is in force for a provider at `at`."""
        in_period = (self.start is None or self.start <= at) and (self.end is None or at < self.end)
        return in_period and (not self.providers or provider in self.providers)


class ClaudeTable(Struct, frozen=True):
    """The hand-owned document: Claude's rows and the rules that multiply them."""

    as_of: str
    models: Mapping[str, PricedModel]
    providers: tuple[str, ...]
    batch_factor: Factor
    residency_factors: Mapping[str, Factor]
    residency_providers: tuple[str, ...]
    endpoint_factors: Mapping[str, Mapping[str, Factor]]
    web_search_picodollars: int
    refusals: tuple[RefusalRule, ...]
    ceiling: UnitPrices


def per_token(usd_per_mtok: object) -> int:
    """Read USD per million tokens as picodollars per token; raises `ValueError` when that is not whole."""
    picodollars, rest = divmod(picodollars_from_usd(str(usd_per_mtok)), 10**6)
    if rest or picodollars < 0:
        raise ValueError(
            f"{usd_per_mtok!r} USD per million tokens is not a whole number of picodollars per token"
        )
    return picodollars


def read_claude(document: Document) -> ClaudeTable:
    """Read the Claude document. Raises `ValueError` or `KeyError` on anything that is not as documented."""
    rules = _mapping(document["rules"])
    models = [_read_model(_mapping(entry)) for entry in _sequence(document["models"])]
    residency = _mapping(rules["residency"])
    endpoints = _mapping(rules["endpoints"])
    return ClaudeTable(
        as_of=str(document["as_of"]),
        models={model.id: model for model in models},
        providers=_texts(rules["providers"]),
        batch_factor=_factor(rules["batch"]),
        residency_factors=_factors(residency["factors"]),
        residency_providers=_texts(residency["providers"]),
        endpoint_factors={provider: _factors(factors) for provider, factors in endpoints.items()},
        web_search_picodollars=picodollars_from_usd(str(rules["web_search_usd"])),
        refusals=tuple(_read_refusal(_mapping(rule)) for rule in _sequence(rules["refusals"])),
        ceiling=_unit(_mapping(rules["ceiling"])),
    )


def read_imported(document: Document) -> dict[str, PricedModel]:
    """Read one provider's generated document; aliases become entries of their own that share the model."""
    as_of = str(document["as_of"])
    models: dict[str, PricedModel] = {}
    for name, entry in _mapping(document["models"]).items():
        row = _mapping(entry)
        source = str(row["source"])
        rows = tuple(_read_row(_mapping(price), source, as_of) for price in _sequence(row["prices"]))
        model = PricedModel(id=name, rows=rows, display_name=str(row.get("name", name)))
        models[name] = model
        for alias in _sequence(row.get("aliases", ())):
            models.setdefault(str(alias), model)
    return models


def _read_model(entry: Document) -> PricedModel:
    rows = tuple(
        _read_row(_mapping(price), str(_mapping(price)["source"]), str(_mapping(price)["checked"]))
        for price in _sequence(entry["prices"])
    )
    return PricedModel(
        id=str(entry["id"]),
        rows=rows,
        display_name=str(entry["name"]),
        created_at=f"{entry['created']}T00:00:00Z",
        is_deprecated=bool(entry.get("deprecated", False)),
        providers=_texts(entry.get("providers", ())),
        factors=frozenset(_texts(entry.get("factors", ()))),
        fast=tuple(_read_fast(_mapping(fast)) for fast in _sequence(entry.get("fast", ()))),
    )


def _read_row(price: Document, source: str, checked: str) -> PriceRow:
    tiers = {tier: _read_bands(_mapping(prices)) for tier, prices in _mapping(price.get("tiers", {})).items()}
    return PriceRow(
        bands=_read_bands(price),
        source=source,
        checked=checked,
        start=_midnight(price.get("from")),
        end=_midnight(price.get("until")),
        tiers=tiers,
    )


def _read_bands(price: Document) -> Bands:
    bands = [Band(-1, _unit(price))]
    for entry in _sequence(price.get("above", ())):
        above = _mapping(entry)
        bands.append(Band(int(str(above["tokens"])), _unit(above)))
    return tuple(sorted(bands, key=lambda band: band.above_tokens))


def _read_fast(entry: Document) -> FastPrice:
    return FastPrice(str(entry["provider"]), _factor(entry["factor"]), _midnight(entry.get("until")))


def _read_refusal(entry: Document) -> RefusalRule:
    return RefusalRule(
        billed_categories=frozenset(_texts(entry["billed_categories"])),
        providers=_texts(entry.get("providers", ())),
        start=_midnight(entry.get("from")),
        end=_midnight(entry.get("until")),
    )


def _unit(prices: Document) -> UnitPrices:
    """Read a row's columns; a cache column that a generated row leaves out costs what the input costs."""
    plain = per_token(prices["input"])
    write_5m = per_token(prices["cache_write_5m"]) if "cache_write_5m" in prices else plain
    return UnitPrices(
        input=plain,
        output=per_token(prices["output"]),
        cache_read=per_token(prices["cache_read"]) if "cache_read" in prices else plain,
        cache_write_5m=write_5m,
        cache_write_1h=per_token(prices["cache_write_1h"]) if "cache_write_1h" in prices else write_5m,
    )


def _midnight(date: object) -> datetime | None:
    return None if date is None else datetime.fromisoformat(str(date)).replace(tzinfo=UTC)


def _factors(value: object) -> dict[str, Factor]:
    return {name: _factor(factor) for name, factor in _mapping(value).items()}


def _factor(value: object) -> Factor:
    factor = Fraction(str(value))
    return factor.numerator if factor.denominator == 1 else factor


def _texts(value: object) -> tuple[str, ...]:
    return tuple(str(item) for item in _sequence(value))


def _mapping(value: object) -> Document:
    if not isinstance(value, Mapping):
        raise ValueError(f"{value!r} is not a mapping")
    return value


def _sequence(value: object) -> Sequence[object]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ValueError(f"{value!r} is not a list")
    return value
