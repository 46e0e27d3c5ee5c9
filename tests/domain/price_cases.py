"""Builders for price tests: the shipped book, one served attempt, and readable unit prices."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal

from farebox.adapters.price_data import PriceData
from farebox.domain.price import PriceBook
from farebox.domain.usage import Served, Usage

BOOK: PriceBook = PriceData().book()
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def day(text: str) -> datetime:
    """Give the start of a day, UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def served(
    usage: Usage | None = None,
    *,
    provider: str = "anthropic",
    model: str = "claude-opus-5-5",
    at: datetime = NOW,
    region: str | None = None,
    response_model: str | None = None,
    profile_model: str | None = None,
    batch: bool = False,
) -> Served:
    """Give an ordinary attempt at Opus 5.5 on the Claude API, with what the test is about changed."""
    return Served(
        provider=provider,
        model=model,
        at=at,
        usage=Usage() if usage is None else usage,
        region=region,
        response_model=response_model,
        profile_model=profile_model,
        batch=batch,
    )


def usd_per_mtok(rates: Mapping[str, str]) -> dict[str, Decimal]:
    """Give a cost's unit prices, without the web search, in USD per million tokens."""
    return {name: Decimal(price) / 10**6 for name, price in rates.items() if name != "web_search"}
