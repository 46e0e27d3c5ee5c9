"""Which thresholds a bucket has reached, and the sentence that is told."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.domain.budget import Budget, OnExhausted
from farebox.domain.budget.alert import Crossing, crossings
from tests.support.builders import NOON, a_budget, a_scope

RESET = "It resets at 2026-11-24T00:00:00Z."
LIMIT = a_budget(tokens=10, alerts=(80, 50, 100, 50))


def reached(budget: Budget, settled: int, *, bucket: str = "", is_exhausted: bool = False) -> list[Crossing]:
    window = budget.window_at(NOON)
    return list(crossings(budget, bucket, window, settled, NOON, is_exhausted=is_exhausted))


@pytest.mark.parametrize(
    ("settled", "shares"),
    [(0, []), (4, []), (5, [50]), (7, [50]), (8, [50, 80]), (10, [50, 80, 100]), (11, [50, 80, 100])],
)
def test_each_threshold_is_reached_at_its_share_and_told_once(settled: int, shares: list[int]) -> None:
    assert [crossing.threshold for crossing in reached(LIMIT, settled)] == shares


def test_a_crossing_says_everything_that_it_was_decided_by() -> None:
    budget = a_budget(name="key-day", tokens=10, alerts=(50,), scope=a_scope(key="*"))
    assert reached(budget, 6, bucket="platform/alice") == [
        Crossing(
            budget="key-day",
            unit=budget.unit,
            bucket="platform/alice",
            window=budget.window_at(NOON),
            limit=10,
            threshold=50,
            settled=6,
            at=NOON,
            label="alice",
        )
    ]


def test_its_identity_is_budget_bucket_window_limit_and_threshold() -> None:
    (crossing,) = reached(a_budget(tokens=10, alerts=(50,)), 6)
    assert crossing.identity == ("everyone-day", "tokens", "", "2026-11-23T00:00:00Z", 10, 50)


def test_a_refusal_is_the_end_whatever_is_left() -> None:
    assert [each.threshold for each in reached(LIMIT, 6, is_exhausted=True)] == [50, 100]
    assert reached(a_budget(tokens=10, alerts=(50,)), 0, is_exhausted=True) == []


def test_a_budget_of_nothing_reaches_nothing_until_something_is_booked_or_refused() -> None:
    budget = a_budget(tokens=0, alerts=(50, 100))
    assert reached(budget, 0) == []
    assert [each.threshold for each in reached(budget, 0, is_exhausted=True)] == [100]
    assert [each.threshold for each in reached(budget, 1)] == [50, 100]


@given(st.integers(0, 10**20), st.integers(1, 10**20), st.lists(st.integers(1, 1000)))
def test_what_is_reached_only_grows_with_what_is_settled(limit: int, settled: int, alerts: list[int]) -> None:
    budget = a_budget(tokens=limit, alerts=tuple(alerts))
    shares = [each.threshold for each in reached(budget, settled)]
    spent = Fraction(settled, limit) if limit else Fraction(10**9)
    assert shares == sorted({share for share in alerts if spent >= Fraction(share, 100)})
    assert set(shares) <= {each.threshold for each in reached(budget, settled + 1)}


@pytest.mark.parametrize(
    ("budget", "settled", "told"),
    [
        (
            a_budget(usd=10, alerts=(50,)),
            5_500_000_000_000,
            f"Budget 'everyone-day' has reached 50 %: $5.50 of $10.00 spent. {RESET}",
        ),
        (
            a_budget(usd=10, alerts=(100,)),
            10 * 10**12,
            "Budget 'everyone-day' is exhausted: $10.00 of $10.00 spent. Requests that do not fit are "
            f"refused. {RESET}",
        ),
        (
            a_budget(tokens=10, alerts=(100,), period="total", on_exhausted=OnExhausted.ALERT),
            12,
            "Budget 'everyone-day' has reached 100 %: 12 tokens of 10 tokens spent. "
            "It does not reset by itself.",
        ),
    ],
)
def test_a_crossing_is_told_in_words(budget: Budget, settled: int, told: str) -> None:
    assert [each.text for each in reached(budget, settled)] == [told]


def test_the_bucket_is_named_as_people_know_it() -> None:
    (crossing,) = reached(
        a_budget(tokens=10, alerts=(50,), scope=a_scope(key="*")), 5, bucket="platform/alice"
    )
    assert crossing.text.startswith("Budget 'everyone-day' (alice) has reached 50 %")
