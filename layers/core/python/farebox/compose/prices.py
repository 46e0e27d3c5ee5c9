"""Gives the price book to commands that need no gateway."""

from __future__ import annotations

from farebox.adapters.price_data import PriceData
from farebox.domain.price import PriceBook


def load_prices() -> PriceBook:
    """Read the price data that ships with farebox."""
    return PriceData().book()
