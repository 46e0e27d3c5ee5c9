"""Negotiated prices so far from the list that they are hardly meant, such as those of one token."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from fractions import Fraction

from farebox.domain.money import PICODOLLARS_PER_USD
from farebox.domain.price.book import PriceBook
from farebox.domain.price.override import PriceOverride
from farebox.domain.price.table import TOKEN_CLASSES

FAR = 1_000
"""How many times the list, or which part of it, is told. Nothing at all is meant by whoever writes it."""

_TOKENS = 1_000_000


def doubtful_prices(
    override: PriceOverride, provider: str, region: str | None, prices: PriceBook, at: datetime
) -> Iterator[tuple[str, str]]:
    """Find prices that are a thousand times those of the list, or a thousandth: path and words."""
    for model, row in override.rows.items():
        listed = prices.rates(provider=provider, model=model, region=region, at=at)
        for name in TOKEN_CLASSES if listed.is_known else ():
            price, list_price = getattr(row, name), getattr(listed, name)
            if price and list_price and not Fraction(1, FAR) < Fraction(price, list_price) < FAR:
                yield (
                    f"models.{model}.{name}",
                    f"is {_per_million(price)} where the list has {_per_million(list_price)} USD;"
                    " prices are for a million tokens",
                )
    if override.multiplier and override.multiplier * FAR < 1:
        share = f"{float(override.multiplier):g}"
        yield "multiplier", f"is {share}, so that a dollar of the list counts as ${share}"


def _per_million(picodollars: int) -> str:
    return f"{Decimal(picodollars * _TOKENS) / PICODOLLARS_PER_USD:f}"
