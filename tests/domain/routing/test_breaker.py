"""A breaker opens by its rule, lets one probe through when it has cooled down, and closes if that answers."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.domain.routing.breaker import Breaker, BreakerKey, BreakerState, counts_as_failure
from farebox.domain.routing.tree import BreakerRule
from tests.support.builders import NOON

KEY = BreakerKey("first", "claude-opus-5-5")
RULE = BreakerRule(failure_threshold=3, cooldown_ms=30_000)
SHARE = BreakerRule(failure_threshold_percent=50, minimum_requests=10)


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def failed(count: int, rule: BreakerRule = RULE, *, answered: int = 0) -> Breaker:
    breaker = Breaker(KEY)
    for number in range(count):
        breaker = breaker.with_failure(rule, NOON, answered if number == 0 else 0)
    return breaker


def test_it_opens_at_so_many_failures() -> None:
    assert [failed(count).state(NOON).value for count in (0, 2, 3)] == ["closed", "closed", "open"]
    assert [failed(count).leaves_out(NOON) for count in (2, 3)] == [False, True]


def test_failures_are_counted_for_the_length_of_a_cool_down() -> None:
    assert failed(2).with_failure(RULE, after(29.9)).state(after(29.9)) is BreakerState.OPEN
    late = failed(2).with_failure(RULE, after(30))
    assert (late.state(after(30)), late.failures, late.counted_from) == (BreakerState.CLOSED, 1, after(30))


@pytest.mark.parametrize(
    ("failures", "answered", "is_open"),
    [(9, 0, False), (10, 0, True), (5, 5, True), (5, 6, False), (4, 6, False), (6, 6, True)],
)
def test_it_opens_at_a_share_of_enough_requests(failures: int, answered: int, is_open: bool) -> None:
    assert failed(failures, SHARE, answered=answered).leaves_out(NOON) is is_open


def test_answers_count_only_beside_failures() -> None:
    breaker = failed(5, SHARE).with_answers(SHARE, NOON, 100)
    assert (breaker.requests, breaker.with_failure(SHARE, NOON).leaves_out(NOON)) == (105, False)
    assert Breaker(KEY).with_answers(SHARE, NOON, 100) == Breaker(KEY)
    assert breaker.with_answers(SHARE, after(30), 1) == breaker


def test_what_was_under_way_when_it_opened_changes_nothing() -> None:
    opened = failed(3)
    assert opened.with_failure(RULE, after(20)) == opened
    assert opened.with_success(after(-1)) == opened


def test_after_its_cool_down_it_is_half_open_for_one_probe() -> None:
    opened = failed(3)
    assert opened.state(after(29.9)) is BreakerState.OPEN
    assert (opened.state(after(30)), opened.leaves_out(after(30))) == (BreakerState.HALF_OPEN, False)
    probed = opened.with_probe(after(60))
    assert [probed.leaves_out(after(seconds)) for seconds in (30, 59.9, 60)] == [True, True, False]


def test_a_probe_that_answers_closes_it_and_one_that_fails_opens_it_again() -> None:
    probed = failed(3).with_probe(after(60))
    assert probed.with_success(after(30)) == Breaker(KEY)
    again = probed.with_failure(RULE, after(31))
    assert (again.open_until, again.probed_until, again.leaves_out(after(60.9))) == (after(61), None, True)


def test_a_failure_is_what_the_rule_names() -> None:
    assert [counts_as_failure(RULE, status) for status in (429, 499, 500, 529)] == [False, False, True, True]
    named = BreakerRule(failure_threshold=1, failure_statuses=frozenset((429,)))
    assert [counts_as_failure(named, status) for status in (429, 500)] == [True, False]


def test_a_key_is_written_and_read_back() -> None:
    for key in (KEY, BreakerKey("p", "m|n", "us-east-1")):
        assert BreakerKey.of_text(key.text()) == key


@given(st.lists(st.tuples(st.sampled_from("fsp"), st.integers(0, 40)), max_size=30), st.integers(1, 4))
def test_it_is_never_open_for_longer_than_its_cool_down_without_a_new_failure(
    steps: list[tuple[str, int]], threshold: int
) -> None:
    rule, breaker, now, last_failure = BreakerRule(failure_threshold=threshold), Breaker(KEY), NOON, NOON
    for kind, seconds in steps:
        now += timedelta(seconds=seconds)
        if kind == "f":
            breaker, last_failure = breaker.with_failure(rule, now), now
        elif kind == "s":
            breaker = breaker.with_success(now)
            assert breaker.state(now) is BreakerState.CLOSED
        elif breaker.state(now) is BreakerState.HALF_OPEN and not breaker.leaves_out(now):
            breaker = breaker.with_probe(now + timedelta(seconds=30))
        if breaker.open_until is not None:
            assert breaker.open_until <= last_failure + timedelta(seconds=30)
            assert breaker.failures >= threshold
