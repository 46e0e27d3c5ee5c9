"""Every worked example costs what the price pages say, to the picodollar."""

from __future__ import annotations

import pytest

from farebox.cli.cost_record import price_record
from tests.cli.cost_examples import PRICE_EXAMPLES, Example
from tests.cli.cost_examples_billing import BILLING_EXAMPLES
from tests.domain.price_cases import BOOK

EXAMPLES = [*PRICE_EXAMPLES, *BILLING_EXAMPLES]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_a_worked_example_costs_what_the_price_pages_say(example: Example) -> None:
    priced = price_record(example.record, BOOK)
    assert (priced.status.value, priced.picodollars) == (example.status, example.picodollars())


def test_there_are_at_least_sixty_examples() -> None:
    assert len({example.name for example in EXAMPLES}) >= 60
