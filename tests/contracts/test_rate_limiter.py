"""What every rate limiter does: all draws or none, never past a limit, members for as long as they stay."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest
from msgspec.structs import replace

from farebox.domain.budget.rate_limit import Draw, Level, LimitUnit, RateLimit
from farebox.ports import RateLimiter
from tests.support.builders import NOON, a_scope
from tests.support.wings import Wing

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
LEASE = MINUTE

REQUESTS = RateLimit("rpm", a_scope(), LimitUnit.REQUESTS, 3, "minute")
TOKENS = RateLimit("tpm", a_scope(key="*"), LimitUnit.TOKENS, 100, "minute")
PLACES = RateLimit("at-once", a_scope(), LimitUnit.CONCURRENT, 2)
AGENTS = RateLimit("agents", a_scope(session="*", agent="?*"), LimitUnit.AGENTS, 2)


@pytest.fixture
def limiter(wing: Wing) -> RateLimiter:
    return wing.rate_limits


def requests(bucket: str = "", amount: int = 1) -> Draw:
    return Draw(REQUESTS, bucket, amount)


def tokens(amount: int, bucket: str = "a") -> Draw:
    return Draw(TOKENS, bucket, amount)


def place(request_id: str) -> Draw:
    return Draw(PLACES, "", member=request_id)


def agent(name: str, session: str = "s") -> Draw:
    return Draw(AGENTS, session, member=name)


async def admit(limiter: RateLimiter, *draws: Draw, at: datetime = NOON) -> Sequence[Level]:
    leases = {LimitUnit.CONCURRENT: at + LEASE, LimitUnit.AGENTS: at + 7 * 24 * 60 * MINUTE}
    return await limiter.admit(draws, at, leases)


async def is_admitted(limiter: RateLimiter, *draws: Draw, at: datetime = NOON) -> bool:
    return not any(level.is_short for level in await admit(limiter, *draws, at=at))


async def used(limiter: RateLimiter, draw: Draw, at: datetime = NOON) -> int:
    """Look without drawing: what is far too much is refused."""
    return (await admit(limiter, replace(draw, amount=10**9), at=at))[0].used


async def test_a_window_is_used_up_exactly_and_frees_what_leaves_it(limiter: RateLimiter) -> None:
    assert [await is_admitted(limiter, requests()) for _ in range(4)] == [True, True, True, False]
    (level,) = await admit(limiter, requests())
    assert level == Level(requests(), 3, True, NOON + MINUTE + SECOND, NOON + MINUTE + SECOND)
    assert not await is_admitted(limiter, requests(), at=NOON + MINUTE)
    assert await is_admitted(limiter, requests(), at=NOON + MINUTE + SECOND)


async def test_all_is_drawn_or_nothing(limiter: RateLimiter) -> None:
    assert await is_admitted(limiter, tokens(90))
    refused = await admit(limiter, requests(), tokens(20), place("r1"), agent("a-1"))
    assert [level.is_short for level in refused] == [False, True, False, False]
    assert await used(limiter, requests()) == 0
    assert await used(limiter, tokens(1)) == 90
    assert await is_admitted(limiter, place("r2"), place("r3"))
    assert await is_admitted(limiter, agent("a-2"), at=NOON)
    assert await is_admitted(limiter, agent("a-3"), at=NOON)


async def test_levels_come_in_the_order_of_the_draws(limiter: RateLimiter) -> None:
    drawn = (place("r1"), requests(), tokens(40))
    assert [(level.draw, level.used, level.remaining) for level in await admit(limiter, *drawn)] == [
        (drawn[0], 1, 1),
        (drawn[1], 1, 2),
        (drawn[2], 40, 60),
    ]


async def test_buckets_do_not_know_each_other(limiter: RateLimiter) -> None:
    assert await is_admitted(limiter, tokens(100, "a"))
    assert await is_admitted(limiter, tokens(100, "b"))
    assert not await is_admitted(limiter, tokens(1, "a"))


async def test_a_correction_down_gives_back_and_one_up_takes_more(limiter: RateLimiter) -> None:
    assert await is_admitted(limiter, tokens(80))
    await limiter.correct([tokens(-50)], NOON)
    assert await used(limiter, tokens(1)) == 30
    await limiter.correct([tokens(90)], NOON)
    assert await used(limiter, tokens(1)) == 120
    assert not await is_admitted(limiter, tokens(1))
    assert await used(limiter, tokens(1), at=NOON + MINUTE + SECOND) == 0


async def test_a_correction_counts_when_the_draw_did_not_when_it_was_known(limiter: RateLimiter) -> None:
    later = NOON + 30 * SECOND
    assert await is_admitted(limiter, tokens(50))
    assert await is_admitted(limiter, tokens(20), at=later)
    await limiter.correct([tokens(10)], NOON)
    (level,) = await admit(limiter, tokens(60), at=later)
    assert (level.used, level.fits_at) == (80, NOON + MINUTE + SECOND)


async def test_a_correction_of_what_no_window_touches_any_more_brings_nothing_back(
    limiter: RateLimiter,
) -> None:
    assert await is_admitted(limiter, tokens(50))
    later = NOON + 2 * MINUTE
    assert await is_admitted(limiter, tokens(10), at=later)
    await limiter.correct([tokens(40)], NOON)
    assert await used(limiter, tokens(1), at=later) == 10
    await limiter.correct([tokens(40, "never")], NOON)
    assert await used(limiter, tokens(1, "never")) == 0


async def test_a_place_is_held_until_it_is_given_back(limiter: RateLimiter) -> None:
    assert await is_admitted(limiter, place("r1"))
    assert await is_admitted(limiter, place("r2"))
    assert not await is_admitted(limiter, place("r3"))
    await limiter.correct([place("r1")], NOON)
    await limiter.correct([place("r1")], NOON)
    assert await is_admitted(limiter, place("r3"))
    assert not await is_admitted(limiter, place("r4"))


async def test_a_place_runs_out_unless_it_is_renewed(limiter: RateLimiter) -> None:
    assert await is_admitted(limiter, place("r1"), place("r2"))
    await limiter.renew([place("r2"), place("gone")], NOON + 2 * LEASE)
    await limiter.renew([place("r2")], NOON + LEASE)
    assert not await is_admitted(limiter, place("r3"), at=NOON + LEASE - SECOND)
    levels = await admit(limiter, place("r3"), at=NOON + LEASE)
    assert [(level.used, level.is_short) for level in levels] == [(2, False)]
    assert not await is_admitted(limiter, place("r4"), at=NOON + LEASE)


async def test_an_agent_counts_once_however_often_it_asks(limiter: RateLimiter) -> None:
    for name in ("a-1", "a-2", "a-1", "a-2"):
        assert await is_admitted(limiter, agent(name))
    assert not await is_admitted(limiter, agent("a-3"))
    assert await is_admitted(limiter, agent("a-3", "other session"))
    assert await is_admitted(limiter, agent("a-2"))


async def test_a_changed_number_keeps_what_was_counted(limiter: RateLimiter) -> None:
    for _ in range(3):
        assert await is_admitted(limiter, requests())
    assert await is_admitted(limiter, Draw(replace(REQUESTS, limit=4), ""))
    assert not await is_admitted(limiter, Draw(replace(REQUESTS, limit=2), ""))
    assert await is_admitted(limiter, Draw(replace(REQUESTS, per="hour"), ""))


async def test_a_limit_of_nothing_lets_nothing_through(limiter: RateLimiter) -> None:
    for limit in (REQUESTS, TOKENS, PLACES, AGENTS):
        assert not await is_admitted(limiter, Draw(replace(limit, limit=0), "b", member="m"))
