"""Reads the model rows of genai-prices: dated, tiered and banded, by provider."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from importlib.metadata import version

from genai_prices import types
from genai_prices.data_snapshot import get_snapshot

from tools.prices.columns import Columns, Entry, Row, columns

_FIELDS = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cache_read": "cache_read_mtok",
    "cache_write_5m": "cache_write_mtok",
    "cache_write_1h": "cache_write_1h_mtok",
}
_TIERS = {("processing", "batch"): "batch", ("service_tier", "flex"): "flex"}
_TIERS |= {("service_tier", "priority"): "priority", ("service_tier", "fast"): "fast"}
_EMBEDDING = re.compile(r"embed|voyage|rerank")
SOURCE = f"genai-prices {version('genai-prices')}"


def read_genai() -> Iterator[tuple[str, Row]]:
    """Give each model that can be priced by tokens alone, with the id of its provider."""
    for provider in get_snapshot().providers:
        for model in provider.models:
            row = _row(model)
            if row is not None:
                yield provider.id, row


def _row(model: types.ModelInfo) -> Row | None:
    dated = _dated(model)
    if dated is None:
        return None
    prices: list[Entry] = []
    starts = [start for start, _ in dated]
    for (start, price), end in zip(dated, [*starts[1:], None], strict=True):
        entry = _entry(price, allow_no_output=bool(_EMBEDDING.search(model.id)))
        if entry is None:
            return None
        prices.append(_span(start, end) | entry)
    tiers = _tiers(model, dated[-1][1])
    if tiers:
        prices[-1]["tiers"] = tiers
    names = {name.lower() for name in _equal_names(model.match)} - {model.id.lower()}
    return Row(model.id.lower(), SOURCE, prices, model.name, names)


def _dated(model: types.ModelInfo) -> list[tuple[date | None, types.ModelPrice]] | None:
    """Give the price history; None for prices by the hour of the day, which have no place in the table."""
    if isinstance(model.prices, types.ModelPrice):
        return [(None, model.prices)]
    dated: dict[date | None, types.ModelPrice] = {}
    for conditional in model.prices:
        if conditional.constraint is None:
            dated[None] = conditional.prices
        elif isinstance(conditional.constraint, types.StartDateConstraint):
            dated[conditional.constraint.start_date] = conditional.prices
        else:
            return None
    return sorted(dated.items(), key=lambda item: item[0] or date.min) or None


def _span(start: date | None, end: date | None) -> Entry:
    span: Entry = {}
    if start is not None:
        span["from"] = start.isoformat()
    if end is not None:
        span["until"] = end.isoformat()
    return span


def _tiers(model: types.ModelInfo, base: types.ModelPrice) -> Entry:
    """Variants name only what differs from the standard price."""
    tiers: Entry = {}
    for variant in model.price_variants or []:
        name = _TIERS.get(next(iter(variant.when.items())))
        if name is None or len(variant.when) > 1:
            continue
        entry = _entry(variant.prices, base=base)
        if entry is not None:
            tiers[name] = entry
    return tiers


def _entry(
    price: types.ModelPrice, *, base: types.ModelPrice | None = None, allow_no_output: bool = False
) -> Entry | None:
    values = {name: _value(price, base, attribute) for name, attribute in _FIELDS.items()}
    if _value(price, base, "output_reasoning_mtok") is not None:
        return None
    if values["output"] is None and allow_no_output:
        values["output"] = Decimal(0)
    plain = _at(values, None)
    if plain is None:
        return None
    starts = sorted(
        {
            tier.start
            for value in values.values()
            if isinstance(value, types.TieredPrices)
            for tier in value.tiers
        }
    )
    above = [{"tokens": start} | band for start in starts if (band := _at(values, start)) is not None]
    return {**plain, "above": above} if above else {**plain}


def _value(
    price: types.ModelPrice, base: types.ModelPrice | None, attribute: str
) -> Decimal | types.TieredPrices | None:
    value = getattr(price, attribute, None)
    if value is None and base is not None:
        value = getattr(base, attribute, None)
    return value if isinstance(value, Decimal | types.TieredPrices) else None


def _at(values: dict[str, Decimal | types.TieredPrices | None], start: int | None) -> Columns | None:
    """Give the columns of prompts longer than `start`."""
    flat: dict[str, Decimal | None] = {}
    for name, value in values.items():
        if isinstance(value, types.TieredPrices):
            tiers = [tier.price for tier in value.tiers if start is not None and tier.start <= start]
            flat[name] = tiers[-1] if tiers else value.base
        else:
            flat[name] = value
    return columns(flat)


def _equal_names(match: object) -> Iterator[str]:
    """Only whole names: a rule by prefix or part would let an unknown model borrow a price."""
    if isinstance(match, types.ClauseEquals):
        yield match.equals
    elif isinstance(match, types.ClauseOr):
        for clause in match.or_:
            yield from _equal_names(clause)
