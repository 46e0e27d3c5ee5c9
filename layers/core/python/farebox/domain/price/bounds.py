"""Prices for what is not decided yet: which of several models answers, and by which name a model goes."""

from __future__ import annotations

from collections.abc import Sequence

from farebox.domain.price.book import Rates
from farebox.domain.price.model_id import normalise


def dearest(rates: Sequence[Rates]) -> Rates:
    """Give, for each class, the highest of several unit prices. `rates` has at least one."""
    return Rates(
        input=max(rate.input for rate in rates),
        cache_read=max(rate.cache_read for rate in rates),
        cache_write_5m=max(rate.cache_write_5m for rate in rates),
        cache_write_1h=max(rate.cache_write_1h for rate in rates),
        output=max(rate.output for rate in rates),
        web_search=max(rate.web_search for rate in rates),
        is_known=all(rate.is_known for rate in rates),
    )


def normalised_model(model: str) -> str:
    """Give a model's plain id: no region, no date, no suffix, in lower case."""
    return normalise(model).id
