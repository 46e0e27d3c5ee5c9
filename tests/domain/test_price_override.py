"""How the `prices` of a provider are read."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest

from farebox.domain.errors import ConfigInvalid
from farebox.domain.price import PriceOverride, read_override
from farebox.domain.price.override import OverrideRow


def test_nothing_said_is_no_override() -> None:
    assert read_override(None, "providers[0].prices") is None


@pytest.mark.parametrize("spelling", [0.9, "0.9", "0.90", Decimal("0.9")])
def test_a_multiplier_is_read_exactly_whatever_yaml_made_of_it(spelling: object) -> None:
    assert read_override({"multiplier": spelling}, "prices") == PriceOverride(multiplier=Fraction(9, 10))


def test_rows_are_usd_per_million_tokens() -> None:
    document = {"models": {"Claude-Opus-5-5": {"input": 3.6, "output": 18, "cache_read": "0.18"}}}
    row = OverrideRow(input=3_600_000, output=18_000_000, cache_read=180_000)
    assert read_override(document, "prices") == PriceOverride(rows={"claude-opus-5-5": row})


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ([], "prices"),
        ({"factor": 2}, "prices.factor"),
        ({"multiplier": -1}, "prices.multiplier"),
        ({"multiplier": True}, "prices.multiplier"),
        ({"multiplier": "nan"}, "prices.multiplier"),
        ({"multiplier": "cheap"}, "prices.multiplier"),
        ({"multiplier": "0.1234567891"}, "prices.multiplier"),
        ({"models": ["x"]}, "prices.models"),
        ({"models": {"m": {"input": 1}}}, "prices.models.m.output"),
        ({"models": {"m": {"input": 1, "output": -2}}}, "prices.models.m.output"),
        ({"models": {"m": {"input": 1, "output": "0.0000001"}}}, "prices.models.m.output"),
        ({"models": {"m": {"input": None, "output": 1}}}, "prices.models.m.input"),
        ({"models": {"m": {"input": 1, "output": 1, "cached": 1}}}, "prices.models.m.cached"),
    ],
)
def test_a_wrong_field_is_named(document: object, path: str) -> None:
    with pytest.raises(ConfigInvalid) as refused:
        read_override(document, "prices")
    assert refused.value.path == path
