"""What AWS charges, as dated rows with their sources."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import yaml

FILE = Path(__file__).with_name("prices.yaml")


@dataclass(frozen=True, slots=True)
class Price:
    """USD for `per` of a unit."""

    usd: Decimal
    per: int
    unit: str
    source: str
    seen: str

    def of(self, quantity: Decimal) -> Decimal:
        """Give what a quantity costs, in USD."""
        return quantity * self.usd / self.per


@dataclass(frozen=True, slots=True)
class PriceTable:
    """Prices by name, of one region at one time."""

    region: str
    as_of: str
    prices: dict[str, Price]


def read_prices(file: Path = FILE) -> PriceTable:
    """Read the table; amounts are texts in it, so that none is rounded."""
    table = yaml.safe_load(file.read_text())
    prices = {name: Price(**{**row, "usd": Decimal(row["usd"])}) for name, row in table["prices"].items()}
    return PriceTable(table["region"], str(table["as_of"]), prices)
