"""What every cache of answers does: gives back what it was given, for as long as it may, or nothing."""

import asyncio
import os
from datetime import datetime, timedelta

import pytest
from msgspec.structs import replace

from farebox.domain.routing.caching import CacheEntry
from farebox.domain.usage import Iteration, Usage
from tests.support.builders import NOON, a_cache_entry
from tests.support.wings import Wing

KEY, OTHER = b"\1" * 32, b"\2" * 32
SECOND = timedelta(seconds=1)
LARGE = os.urandom(500_000)
"""Random bytes do not grow smaller, so this is too large for a row of either store."""


async def look(wing: Wing, key: bytes = KEY, at: datetime = NOON) -> CacheEntry | None:
    return await wing.cache.get(key, at)


async def test_nothing_is_found_before_it_was_kept(wing: Wing) -> None:
    assert await look(wing) is None


@pytest.mark.parametrize("size", [0, 1, 1_000, 100_000])
async def test_an_entry_comes_back_as_it_was(wing: Wing, size: int) -> None:
    entry = a_cache_entry(
        b"event: ping\n\n" * size,
        headers=((b"content-type", b"text/event-stream; charset=utf-8"), (b"x", b"\xff\0")),
        usage=Usage(input_tokens=2**40, speed="fast", iterations=(Iteration("message", "m", 1),)),
        cost_picodollars=None,
    )
    assert await wing.cache.put(KEY, entry)
    assert await look(wing) == entry
    assert await look(wing, OTHER) is None


async def test_a_large_entry_comes_back_as_it_was(wing: Wing) -> None:
    entry = a_cache_entry(LARGE)
    assert await wing.cache.put(KEY, entry)
    assert await look(wing) == entry
    assert await wing.cache.put(KEY, replace(entry, body=LARGE[::-1]))
    found = await look(wing)
    assert found is not None
    assert found.body == LARGE[::-1]


async def test_an_entry_is_found_until_its_time_and_not_longer(wing: Wing) -> None:
    await wing.cache.put(KEY, a_cache_entry(expires_at=NOON + 60 * SECOND))
    assert await look(wing, at=NOON + 59 * SECOND) is not None
    assert await look(wing, at=NOON + 60 * SECOND) is None


async def test_a_newer_entry_takes_the_place_of_an_older_one(wing: Wing) -> None:
    await wing.cache.put(KEY, a_cache_entry(b"old", expires_at=NOON + SECOND))
    newer = a_cache_entry(b"new", stored_at=NOON + SECOND)
    await wing.cache.put(KEY, newer)
    assert await look(wing, at=NOON + 2 * SECOND) == newer


async def test_many_that_store_the_same_at_once_leave_one_whole_entry(wing: Wing) -> None:
    entries = [a_cache_entry(bytes([number]) + LARGE) for number in range(6)]
    stored = await asyncio.gather(*(wing.cache.put(KEY, entry) for entry in entries for _ in range(2)))
    assert all(stored)
    found = await look(wing)
    assert found in entries
