"""Rate limits in SQLite: several processes on one file, and rows that go away by themselves."""

import asyncio
from contextlib import ExitStack, closing
from pathlib import Path

from msgspec.structs import replace

from farebox.adapters.local.rate_limits import LocalRateLimits
from farebox.domain.budget.rate_limit import Draw
from tests.contracts.test_rate_limiter import (
    MINUTE,
    PLACES,
    REQUESTS,
    SECOND,
    is_admitted,
    place,
    requests,
    tokens,
    used,
)
from tests.support.builders import NOON
from tests.support.wings import open_store


async def test_parallel_requests_over_several_connections_take_exactly_the_limit(tmp_path: Path) -> None:
    limits = (replace(REQUESTS, limit=50), replace(PLACES, limit=40))
    with ExitStack() as stores:
        limiters = [
            LocalRateLimits(stores.enter_context(closing(open_store(tmp_path))).database) for _ in range(4)
        ]
        answers = await asyncio.gather(
            *(
                is_admitted(limiters[n % 4], *(Draw(limit, "", member=f"r{n}") for limit in limits))
                for n in range(120)
            )
        )
        assert answers.count(True) == 40
        assert await used(limiters[0], Draw(limits[0], "")) == 40


async def test_rows_that_count_for_nothing_are_cleared_away(tmp_path: Path) -> None:
    with closing(open_store(tmp_path)) as store:
        limiter = LocalRateLimits(store.database)
        for number in range(30):
            at = NOON + number * SECOND
            assert await is_admitted(limiter, tokens(1, f"b{number}"), place(f"r{number}"), at=at) is (
                number < 2
            )
        for number in range(30):
            at = NOON + number * SECOND
            assert await is_admitted(limiter, tokens(1, f"b{number}"), at=at)
        later = NOON + 10 * MINUTE
        assert await is_admitted(limiter, requests(), at=later)
        assert await is_admitted(limiter, requests(), at=later)
        left = await store.database.look(
            lambda connection: [
                connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
                for table in ("rate_count", "rate_member")
            ]
        )
        assert left == [1, 0]
