"""Burn rates and forecasts, in whole numbers."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.domain.budget import Budget, Raise
from farebox.domain.budget.forecast import Spending, burn_rate, exhausted_at
from tests.support.builders import NOON, a_budget

HOUR = timedelta(hours=1)
MIDNIGHT = NOON - 12 * HOUR
DAY = a_budget(tokens=100).window_at(NOON)
TOTAL = a_budget(tokens=100, period="total").window_at(NOON)


def test_a_rate_is_over_the_window_so_far() -> None:
    assert burn_rate(DAY, 120, Spending(999, MIDNIGHT), NOON) == 10
    assert burn_rate(DAY, 0, Spending(999, MIDNIGHT), NOON) == 0


def test_in_the_first_hour_of_a_window_it_is_over_the_last_day() -> None:
    now = MIDNIGHT + timedelta(minutes=59)
    assert burn_rate(DAY, 50, Spending(240, now - 24 * HOUR), now) == 10
    assert burn_rate(DAY, 50, Spending(), now) == 0


@pytest.mark.parametrize(("hours_ago", "rate"), [(24, 10), (12, 20), (1, 240), (0, 240)])
def test_a_total_has_no_beginning_so_the_last_day_counts_from_its_first_request(
    hours_ago: int, rate: int
) -> None:
    assert burn_rate(TOTAL, 5_000, Spending(240, NOON - hours_ago * HOUR), NOON) == rate


def test_what_was_cut_is_over_the_time_that_was_looked_at() -> None:
    minute = timedelta(minutes=1)
    assert burn_rate(TOTAL, 5_000, Spending(240, NOON - 6 * minute, is_cut=True), NOON) == 2_400
    assert burn_rate(TOTAL, 5_000, Spending(2, NOON, is_cut=True), NOON) == 7_200


def at(settled: int, rate: int, *, period: str = "total", raises: tuple[Raise, ...] = ()) -> datetime | None:
    return exhausted_at(a_budget(tokens=100, period=period, raises=raises), "", settled, rate, NOON)


def test_a_forecast_is_when_the_rest_is_spent() -> None:
    assert at(40, 20) == NOON + 3 * HOUR
    assert at(99, 3) == NOON + timedelta(minutes=20)


def test_there_is_no_forecast_without_spending_or_once_nothing_is_left() -> None:
    assert (at(40, 0), at(100, 20), at(120, 20)) == (None, None, None)


def test_a_window_that_ends_before_is_not_exhausted_in_it() -> None:
    assert at(40, 5, period="day") is None  # 12 h to go, 12 h left in the day
    assert at(40, 6, period="day") == NOON + 10 * HOUR


def test_a_forecast_beyond_the_calendar_is_none() -> None:
    assert (
        at(0, 1, period="total", raises=(Raise(10**18, datetime.max.replace(tzinfo=NOON.tzinfo), "x"),))
        is None
    )


def test_a_raise_puts_it_off_and_its_end_brings_it_back() -> None:
    def raised(hours: int) -> tuple[Raise, ...]:
        return (Raise(200, NOON + hours * HOUR, "x"),)

    assert at(40, 20, raises=raised(9)) == NOON + 8 * HOUR  # under the raised limit
    assert at(40, 20, raises=raised(5)) == NOON + 5 * HOUR  # spent more than 100 when it ends
    assert at(40, 20, raises=raised(2)) == NOON + 3 * HOUR  # it ends before it matters
    assert at(120, 20, raises=raised(2)) == NOON + 2 * HOUR


HOURS = st.integers(1, 20)


@given(
    settled=st.integers(0, 300),
    rate=st.integers(1, 40),
    raises=st.lists(st.tuples(st.integers(1, 300), HOURS), max_size=4),
)
def test_a_forecast_is_the_first_minute_in_which_the_limit_is_reached(
    settled: int, rate: int, raises: list[tuple[int, int]]
) -> None:
    budget: Budget = a_budget(
        tokens=100,
        period="total",
        raises=tuple(Raise(limit, NOON + hours * HOUR, "x") for limit, hours in raises),
    )
    found = exhausted_at(budget, "", settled, rate, NOON)

    def is_reached(moment: datetime) -> bool:
        spent = settled * 3600 + rate * int((moment - NOON).total_seconds())
        return spent >= budget.in_force("", moment).limit * 3600

    if found is None:
        assert settled >= budget.in_force("", NOON).limit
        return
    assert is_reached(found + timedelta(seconds=1))
    before = [NOON + timedelta(minutes=10 * step) for step in range(6 * 400)]
    assert not any(is_reached(moment) for moment in before if moment < found - timedelta(seconds=1))
