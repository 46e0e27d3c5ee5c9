"""What processes know of circuit breakers together: each version follows the one before, nothing is lost."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from msgspec.structs import replace

from farebox.domain.routing.breaker import FORGOTTEN_AFTER, Breaker, BreakerKey
from tests.support.builders import NOON
from tests.support.wings import Wing

FIRST = Breaker(
    BreakerKey("first", "claude-opus-5-5", "us-east-1"),
    version=1,
    counted_from=NOON,
    requests=7,
    failures=3,
    opened_at=NOON,
    open_until=NOON + timedelta(seconds=30),
    probed_until=NOON + timedelta(seconds=60),
)
SECOND = Breaker(BreakerKey("second", "claude|odd"), version=1)


async def test_what_was_put_is_found_whole(wing: Wing) -> None:
    assert await wing.breakers.breakers(NOON) == []
    for breaker in (SECOND, FIRST):
        assert await wing.breakers.put(breaker, NOON)
    assert await wing.breakers.breakers(NOON) == [FIRST, SECOND]
    assert await wing.breakers.breaker(FIRST.key, NOON) == FIRST
    assert await wing.breakers.breaker(BreakerKey("third", "m"), NOON) is None


async def test_only_the_next_version_takes_the_place_of_one(wing: Wing) -> None:
    assert not await wing.breakers.put(replace(FIRST, version=2), NOON)
    assert await wing.breakers.put(FIRST, NOON)
    for version, is_next in ((1, False), (3, False), (2, True), (2, False)):
        changed = replace(FIRST, version=version, failures=10 + version)
        assert await wing.breakers.put(changed, NOON) is is_next
    found = await wing.breakers.breaker(FIRST.key, NOON)
    assert found is not None
    assert (found.version, found.failures) == (2, 12)


async def test_of_many_at_once_one_is_first(wing: Wing) -> None:
    tries = [replace(FIRST, failures=number) for number in range(8)]
    put = await asyncio.gather(*(wing.breakers.put(each, NOON) for each in tries))
    assert sum(put) == 1
    assert await wing.breakers.breaker(FIRST.key, NOON) == tries[put.index(True)]


async def test_it_is_forgotten_a_while_after_its_last_change(wing: Wing) -> None:
    await wing.breakers.put(FIRST, NOON)
    before, after = NOON + FORGOTTEN_AFTER - timedelta(seconds=1), NOON + FORGOTTEN_AFTER
    assert await wing.breakers.breakers(before) == [FIRST]
    assert await wing.breakers.breakers(after) == []
    assert await wing.breakers.breaker(FIRST.key, after) is None
    again = replace(FIRST, failures=1)
    assert await wing.breakers.put(again, after)
    assert await wing.breakers.breakers(after) == [again]
