"""Amounts are read exactly, or refused, and shown exactly."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.domain.money import picodollars_from_usd, usd_exact_text, usd_short_text, usd_text


@pytest.mark.parametrize(
    ("amount", "picodollars"),
    [
        ("0", 0),
        ("-0", 0),
        ("1", 10**12),
        ("0.0116", 11_600_000_000),
        ("0.000000000001", 1),
        ("-3.5", -3_500_000_000_000),
        ("1.500000000000000000000000000000", 1_500_000_000_000),
        ("4000000", 4 * 10**18),
        (12, 12 * 10**12),
        (Decimal("0.1"), 10**11),
    ],
)
def test_an_amount_is_read_exactly(amount: str | int | Decimal, picodollars: int) -> None:
    assert picodollars_from_usd(amount) == picodollars


@pytest.mark.parametrize("amount", ["", "abc", "nan", "inf", "-inf", "1,5", "$1", "1e999999", "9" * 5000])
def test_what_is_no_amount_is_refused(amount: str) -> None:
    with pytest.raises(ValueError, match="is not an amount in USD"):
        picodollars_from_usd(amount)


@pytest.mark.parametrize(
    "amount", ["0.0000000000001", "1e-13", "-1e-999999", "1.0000000000000000000000000000000000000001"]
)
def test_what_is_finer_than_a_picodollar_is_refused_and_not_rounded(amount: str) -> None:
    with pytest.raises(ValueError, match="has more than 12 decimals"):
        picodollars_from_usd(amount)


@pytest.mark.parametrize(
    ("picodollars", "text"),
    [
        (0, "0"),
        (1, "0.000000000001"),
        (11_600_000_000, "0.0116"),
        (12 * 10**12, "12"),
        (-3_500_000_000_000, "-3.5"),
        (-1, "-0.000000000001"),
    ],
)
def test_an_amount_is_shown_without_trailing_zeros(picodollars: int, text: str) -> None:
    assert usd_text(picodollars) == text


@given(st.integers(min_value=-(2**63), max_value=2**63 - 1))
def test_what_is_shown_is_read_back(picodollars: int) -> None:
    assert picodollars_from_usd(usd_text(picodollars)) == picodollars


@pytest.mark.parametrize(
    ("picodollars", "text"),
    [
        (0, "$0.00"),
        (1, "$0.000000000001"),
        (123_456, "$0.0000001235"),
        (12_345_678, "$0.00001235"),
        (9_999_999_999, "$0.01"),
        (10**10, "$0.01"),
        (1_234_567 * 10**12, "$1234567.00"),
        (-500_000_000_000, "-$0.50"),
    ],
)
def test_people_see_cents_and_of_less_four_digits(picodollars: int, text: str) -> None:
    assert usd_short_text(picodollars) == text


@pytest.mark.parametrize(
    ("picodollars", "text"),
    [(0, "$0.00"), (200_000_000_000, "$0.20"), (94_139_200_000, "$0.0941392"), (-(35 * 10**11), "-$3.50")],
)
def test_an_exact_amount_for_people_always_has_its_cents(picodollars: int, text: str) -> None:
    assert usd_exact_text(picodollars) == text
