"""How a catalogue's prices become columns: USD per million tokens, rounded up to picodollars a token."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, Context, Decimal

Columns = dict[str, str]
Entry = dict[str, object]

# Catalogues that keep floats carry noise in the 16th digit, which rounding up would turn into a picodollar.
_DENOISED = Context(prec=12)
_WHOLE_PICODOLLARS = Decimal("0.000001")


@dataclass
class Row:
    """One model as one source lists it: dated prices, oldest first, each columns with bands and tiers."""

    name: str
    source: str
    prices: list[Entry]
    display_name: str | None = None
    aliases: set[str] = field(default_factory=set)

    def entry(self) -> Entry:
        """Give the row as it is written to the data file."""
        entry: Entry = {"source": self.source, "prices": self.prices}
        if self.display_name and self.display_name != self.name:
            entry["name"] = self.display_name
        if self.aliases:
            entry["aliases"] = sorted(self.aliases)
        return entry


def usd_per_mtok(value: Decimal) -> str:
    """Write a price, rounded up to a whole number of picodollars a token."""
    rounded = _DENOISED.plus(value).quantize(_WHOLE_PICODOLLARS, rounding=ROUND_CEILING)
    text = f"{rounded:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def columns(prices: Mapping[str, Decimal | None]) -> Columns | None:
    """Write one set of prices; None when it could make a request free or has no output price."""
    plain, output = prices.get("input"), prices.get("output")
    if plain is None or output is None or plain <= 0 or output < 0:
        return None
    return {name: usd_per_mtok(value) for name, value in prices.items() if value is not None and value >= 0}
