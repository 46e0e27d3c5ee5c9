"""The tables of docs/cost.md, made from quantities and prices."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

from tools.costs.lines import Line, idle_lines, metric_lines, request_lines
from tools.costs.prices import PriceTable
from tools.costs.quantities import Assumed, Counted

PAGE = Path(__file__).parents[2] / "docs" / "cost.md"
DEVELOPERS = 100
MILLION = 1_000_000


def usd(amount: Decimal) -> str:
    """Write an amount with cents, or with more digits where there would be none."""
    places = Decimal("0.01") if amount >= Decimal("0.01") else Decimal("0.0001")
    return f"{amount.quantize(places, ROUND_HALF_UP):,}"


def total(lines: Iterable[Line], table: PriceTable) -> Decimal:
    """Add up what lines cost, in USD."""
    return sum((table.prices[line.price].of(line.quantity) for line in lines), Decimal())


def bill(lines: Iterable[Line], table: PriceTable, what: str) -> str:
    """Write lines as a table, the dearest first, with their sum."""
    priced = [(table.prices[line.price].of(line.quantity), line) for line in lines]
    rows = ["| what | quantity | of | USD |", "| --- | ---: | --- | ---: |"]
    for amount, line in sorted(priced, key=lambda each: -each[0]):
        unit = table.prices[line.price].unit
        rows.append(f"| {line.what} | {_number(line.quantity)} | {unit} | {usd(amount)} |")
    rows.append(f"| **{what}** | | | **{usd(sum((amount for amount, _ in priced), Decimal()))}** |")
    return "\n".join(rows)


def prices(table: PriceTable) -> str:
    """Write the prices with their sources."""
    rows = ["| USD | for | source | seen |", "| ---: | --- | --- | --- |"]
    for price in table.prices.values():
        per = "1" if price.per == 1 else f"{price.per:,}"
        rows.append(f"| {price.usd} | {per} {price.unit} | {price.source} | {price.seen} |")
    return "\n".join(rows)


def sections(table: PriceTable, counted: Counted, assumed: Assumed) -> dict[str, str]:
    """Give each generated part of the page by its name."""
    requests = DEVELOPERS * assumed.requests_a_developer
    metrics = list(metric_lines(counted, assumed))
    hundred = [*idle_lines(counted), *metrics, *request_lines(counted, assumed, requests)]
    return {
        "idle": bill(idle_lines(counted), table, "idle, a month"),
        "million": bill(request_lines(counted, assumed, MILLION), table, "a million requests"),
        "metrics": bill(metrics, table, "metrics, a month in use"),
        "developers": _summary(table, counted, assumed, hundred, requests),
        "prices": prices(table),
    }


def _summary(
    table: PriceTable, counted: Counted, assumed: Assumed, everything: list[Line], requests: int
) -> str:
    parts = {
        "idle": total(idle_lines(counted), table),
        "metrics": total(metric_lines(counted, assumed), table),
        f"{requests:,} requests": total(request_lines(counted, assumed, requests), table),
    }
    whole = total(everything, table)
    rows = ["| part | USD |", "| --- | ---: |"]
    rows += [f"| {part} | {usd(amount)} |" for part, amount in parts.items()]
    rows.append(f"| **{DEVELOPERS} developers, a month** | **{usd(whole)}** |")
    rows.append(f"| for each of them | {usd(whole / DEVELOPERS)} |")
    return "\n".join(rows)


def filled(page: str, made: dict[str, str]) -> str:
    """Put each part between its marks. Raises `ValueError` for a part without a place."""
    for name, text in made.items():
        begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        before, found, rest = page.partition(begin)
        _, closed, after = rest.partition(end)
        if not found or not closed:
            raise ValueError(f"the page has no place for {name}")
        page = f"{before}{begin}\n\n{text}\n\n{end}{after}"
    return page


def _number(quantity: Decimal) -> str:
    return f"{quantity:,.0f}" if quantity >= 100 else f"{quantity.normalize():f}"
