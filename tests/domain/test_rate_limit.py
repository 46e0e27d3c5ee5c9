"""How draws are counted: never more than the limit in any window, and free again a slot late at most."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from farebox.domain.budget.rate_limit import (
    PERIODS,
    SLOTS,
    Draw,
    Level,
    LimitUnit,
    RateLimit,
    SlidingCount,
    draws,
    leaves_at,
    member_level,
    shortest,
    slot_at,
    tightest,
)
from tests.support.builders import NOON, a_scope

MICROSECOND = timedelta(microseconds=1)
ODD = NOON + timedelta(seconds=7, microseconds=123_457)


def a_limit(limit: int = 5, per: str = "minute", unit: LimitUnit = LimitUnit.REQUESTS) -> RateLimit:
    return RateLimit("l", a_scope(), unit, limit, per)


class Counter:
    """One bucket over time."""

    def __init__(self, limit: RateLimit) -> None:
        self.limit, self.count = limit, SlidingCount()
        self.admitted: list[tuple[datetime, int]] = []

    def ask(self, moment: datetime, amount: int = 1) -> Level:
        self.count = self.count.at(self.limit, moment)
        level = self.count.level(Draw(self.limit, "", amount), moment)
        if not level.is_short:
            self.count = self.count.added(slot_at(self.limit, moment), amount)
            self.admitted.append((moment, amount))
        return level

    def most_in_a_window(self) -> int:
        """Look at every window that ends with an admitted draw, which is where the most can be."""
        length = PERIODS[self.limit.per]
        return max(
            (sum(n for at, n in self.admitted if end - length < at <= end) for end, _ in self.admitted),
            default=0,
        )


arrivals = st.lists(st.tuples(st.floats(0, 0.4), st.integers(1, 3)), max_size=60)


@given(st.sampled_from(sorted(PERIODS)), st.integers(0, 8), st.timedeltas(), arrivals)
def test_no_window_of_the_length_ever_has_more_than_the_limit(
    per: str, limit: int, start: timedelta, steps: list[tuple[float, int]]
) -> None:
    counter = Counter(a_limit(limit, per))
    moment = NOON + start % timedelta(days=3_650)
    for share, amount in steps:
        moment += share * PERIODS[per]
        counter.ask(moment, amount)
    assert counter.most_in_a_window() <= limit


def test_what_a_clock_ahead_of_ours_wrote_counts() -> None:
    counter = Counter(a_limit(2))
    assert not counter.ask(NOON + timedelta(seconds=5)).is_short
    assert [counter.ask(NOON).is_short for _ in range(2)] == [False, True]


@given(st.sampled_from(sorted(PERIODS)), st.integers(1, 6), arrivals)
def test_nothing_is_refused_that_a_window_one_slot_longer_would_let_through(
    per: str, limit: int, steps: list[tuple[float, int]]
) -> None:
    counter = Counter(a_limit(limit, per))
    longer = counter.limit.slot_us * (SLOTS + 1) * MICROSECOND
    moment = ODD
    for share, amount in steps:
        moment += share * PERIODS[per]
        drawn = sum(n for at, n in counter.admitted if moment - longer < at)
        assert counter.ask(moment, amount).is_short is False or drawn + amount > limit


@given(st.sampled_from(sorted(PERIODS)), st.integers(1, 6), arrivals)
def test_a_refused_draw_fits_exactly_when_it_was_told(
    per: str, limit: int, steps: list[tuple[float, int]]
) -> None:
    counter = Counter(a_limit(limit, per))
    moment = ODD
    for share, amount in steps:
        moment += share * PERIODS[per]
        level = counter.ask(moment, amount)
        if level.is_short and level.fits_at is not None:
            draw = level.draw
            before, then = level.fits_at - MICROSECOND, level.fits_at
            assert counter.count.at(counter.limit, before).level(draw, before).is_short
            assert not counter.count.at(counter.limit, then).level(draw, then).is_short
        assert level.is_hopeless is (amount > limit)
        assert not level.is_hopeless or level.fits_at is None


@given(st.lists(st.floats(0, 0.1), max_size=400))
def test_a_count_is_bounded_however_many_draws_there_were(shares: list[float]) -> None:
    counter = Counter(a_limit(10**6))
    moment = ODD
    for share in shares:
        moment += share * PERIODS["minute"]
        counter.ask(moment)
        assert len(counter.count.slots) <= SLOTS + 1


def test_a_burst_at_the_edge_of_a_minute_is_not_let_through_twice() -> None:
    counter = Counter(a_limit(3))
    before, after = NOON - timedelta(seconds=1), NOON
    assert [counter.ask(at).is_short for at in (before,) * 4 + (after,) * 4] == [False] * 3 + [True] * 5


def test_a_level_says_what_is_left_and_until_when_anything_counts() -> None:
    counter = Counter(a_limit(3))
    counter.ask(NOON)
    level = counter.ask(NOON + timedelta(seconds=10, microseconds=1))
    assert level == Level(
        Draw(counter.limit, ""), 2, False, None, NOON + timedelta(seconds=11) + timedelta(minutes=1)
    )
    assert level.remaining == 1


def test_a_draw_larger_than_the_limit_never_fits() -> None:
    level = Counter(a_limit(100, unit=LimitUnit.TOKENS)).ask(NOON, 101)
    assert (level.is_short, level.is_hopeless, level.fits_at, level.used, level.empty_at) == (
        True,
        True,
        None,
        0,
        NOON,
    )


def test_a_correction_moves_what_was_drawn_and_leaves_no_empty_slot() -> None:
    count = SlidingCount().added(7, 100).added(8, 50)
    assert count.added(7, -40).slots == ((7, 60), (8, 50))
    assert count.added(7, -100).slots == ((8, 50),)
    assert count.added(8, 25).used == 175


@pytest.mark.parametrize("per", sorted(PERIODS))
def test_sixty_slots_cover_a_window(per: str) -> None:
    limit = a_limit(per=per)
    assert SLOTS * limit.slot_us * MICROSECOND >= PERIODS[per]
    assert leaves_at(limit, slot_at(limit, ODD)) - ODD > PERIODS[per]


def test_members_are_let_in_up_to_the_limit() -> None:
    limit = RateLimit("c", a_scope(), LimitUnit.CONCURRENT, 2)
    draw = Draw(limit, "", member="r3")
    assert member_level(draw, 1, NOON) == Level(draw, 2, False, None, NOON)
    assert member_level(draw, 2, NOON) == Level(draw, 2, True, None, NOON)


def test_the_key_of_a_counter_outlives_a_change_of_the_number_alone() -> None:
    limit = a_limit()
    assert limit.key == replace(limit, limit=9).key == "requests/minute/l"
    assert len({limit.key, a_limit(per="hour").key, a_limit(unit=LimitUnit.TOKENS).key}) == 3


def test_a_request_draws_where_the_scope_covers_it() -> None:
    per_user = RateLimit("u", a_scope(user="*"), LimitUnit.REQUESTS, 5, "minute")
    places = RateLimit("c", a_scope(), LimitUnit.CONCURRENT, 5)
    agents = RateLimit("a", a_scope(session="*", agent="?*"), LimitUnit.AGENTS, 5)
    other = RateLimit("o", a_scope(user="bob"), LimitUnit.REQUESTS, 5, "minute")
    subject = {"user": "alice", "session": "s", "agent": "a-1"}
    assert draws([per_user, places, agents, other], subject, "req_1") == (
        Draw(per_user, "alice"),
        Draw(places, "", member="req_1"),
        Draw(agents, "s", member="a-1"),
    )
    assert draws([agents], {"session": "s"}, "req_1") == ()


def test_the_tightest_and_the_longest_wait_are_chosen() -> None:
    small, large = a_limit(5), a_limit(50)
    later = NOON + timedelta(seconds=9)
    levels = [
        Level(Draw(large, ""), 45, False, None, NOON),
        Level(Draw(small, ""), 0, False, None, NOON),
        Level(Draw(small, "b"), 5, True, NOON, NOON),
        Level(Draw(small, "c"), 5, True, later, later),
    ]
    assert tightest(levels[:2], LimitUnit.REQUESTS) is levels[1]
    assert tightest(levels, LimitUnit.TOKENS) is None
    assert shortest(levels) is levels[3]
    assert shortest(levels[:2]) is None
    hopeless = Level(Draw(small, "d", 6), 0, True, None, NOON)
    assert shortest([*levels, hopeless]) is hopeless


@pytest.mark.parametrize(
    ("limit", "text"),
    [
        (a_limit(120), "120 requests a minute"),
        (a_limit(5, "hour", LimitUnit.TOKENS), "5 tokens an hour"),
        (a_limit(1), "1 request a minute"),
        (RateLimit("c", a_scope(), LimitUnit.CONCURRENT, 10), "10 requests at once"),
        (RateLimit("c", a_scope(), LimitUnit.CONCURRENT, 1), "1 request at once"),
        (RateLimit("a", a_scope(), LimitUnit.AGENTS, 25), "25 agents in a session"),
    ],
)
def test_what_is_allowed_is_said_in_words(limit: RateLimit, text: str) -> None:
    assert limit.allowance_text() == text
