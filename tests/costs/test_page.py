"""docs/cost.md says what quantities and prices give, and idle is below three dollars."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tools.costs.lines import Line, idle_lines, metric_lines, request_lines
from tools.costs.page import PAGE, bill, filled, sections, total, usd
from tools.costs.prices import read_prices
from tools.costs.quantities import Assumed, Counted

IDLE_MAX_USD = 3
TABLE = read_prices()


def test_the_page_has_the_tables_that_the_tool_makes() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert filled(page, sections(TABLE, Counted(), Assumed())) == page, "run `make costs ARGS=--write`"


def test_the_page_states_what_is_assumed() -> None:
    page, assumed = PAGE.read_text(encoding="utf-8"), Assumed()
    for said in (
        f"streams for {assumed.stream_s} s",
        f"environment of {assumed.proxy_memory_mb} MB",
        f"carries {assumed.prompt_kb} KB",
        f"{assumed.answer_kb} KB come back",
        f"{assumed.models} models, {assumed.outcomes} outcomes of each and {assumed.workspaces} workspaces",
        f"{assumed.requests_a_developer:,} requests each",
        f"as of {TABLE.as_of}",
    ):
        assert said in page


def test_an_idle_deployment_costs_less_than_three_dollars_a_month() -> None:
    assert 0 < total(idle_lines(Counted()), TABLE) < IDLE_MAX_USD


def test_every_price_is_used_or_named_and_has_a_source() -> None:
    used = {
        line.price
        for lines in (
            idle_lines(Counted()),
            request_lines(Counted(), Assumed(), 1),
            metric_lines(Counted(), Assumed()),
        )
        for line in lines
    }
    assert set(TABLE.prices) - used == {"dashboard"}
    for price in TABLE.prices.values():
        assert price.usd > 0
        assert price.source.startswith("aws.amazon.com/")
        assert price.seen.split()[0] in {"quoted", "known"}


def test_twice_as_many_requests_cost_twice_as_much() -> None:
    once, twice = (total(request_lines(Counted(), Assumed(), n), TABLE) for n in (1_000, 2_000))
    assert twice == 2 * once


def test_lines_add_up_to_their_sum() -> None:
    lines = [Line("a", Decimal(1), "secret"), Line("b", Decimal(10**6), "sqs_request")]
    made = bill(lines, TABLE, "both")
    assert made.splitlines()[2:] == [
        "| a | 1 | secret-months | 0.40 |",
        "| b | 1,000,000 | requests | 0.40 |",
        "| **both** | | | **0.80** |",
    ]


def test_small_amounts_are_not_rounded_to_nothing() -> None:
    assert [usd(Decimal(text)) for text in ("0.005", "0.01", "1234.565")] == ["0.0050", "0.01", "1,234.57"]


def test_a_part_without_a_place_on_the_page_is_refused() -> None:
    with pytest.raises(ValueError, match="no place for idle"):
        filled("<!-- idle -->", {"idle": ""})
