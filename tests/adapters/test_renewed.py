"""What expires: fetched once for all who wait, early, through faults, freezes and clocks that jump."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest

from farebox.adapters.renewed import REST_MS, Renewed
from farebox.domain.errors import StoreFault
from tests.support.builders import FixedClock


@dataclass(frozen=True)
class Thing:
    number: int
    expires_at: datetime | None


class Source:
    """Gives things that are good for `lives`; waits for `opened` before each, and fails while `is_away`."""

    def __init__(self, clock: FixedClock, lives: timedelta | None = timedelta(hours=1)) -> None:
        self.clock, self.lives = clock, lives
        self.asked = 0
        self.is_away = False
        self.opened = asyncio.Event()
        self.opened.set()

    async def __call__(self) -> Thing:
        self.asked += 1
        number = self.asked
        await self.opened.wait()
        if self.is_away:
            raise StoreFault(f"away {number}")
        return Thing(number, None if self.lives is None else self.clock.now() + self.lives)


class Scene:
    def __init__(self, lives: timedelta | None = timedelta(hours=1)) -> None:
        self.clock = FixedClock()
        self.source = Source(self.clock, lives)
        self.renewed: Renewed[Thing] = Renewed(self.source, self.clock)

    async def number(self) -> int:
        return (await self.renewed.current()).number


async def turns(count: int = 20) -> None:
    """Let every task run as far as it gets."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_many_who_ask_at_once_wait_for_one_fetch() -> None:
    scene = Scene()
    scene.source.opened.clear()
    asking = [asyncio.create_task(scene.number()) for _ in range(50)]
    await turns()
    scene.source.opened.set()
    assert await asyncio.gather(*asking) == [1] * 50
    assert scene.source.asked == 1


async def test_a_fetch_that_fails_fails_for_all_who_waited_and_for_nobody_later() -> None:
    scene = Scene()
    scene.source.opened.clear()
    scene.source.is_away = True
    asking = [asyncio.create_task(scene.number()) for _ in range(50)]
    await turns()
    scene.source.opened.set()
    failed = await asyncio.gather(*asking, return_exceptions=True)
    assert [str(each) for each in failed] == [str(StoreFault("away 1"))] * 50
    assert scene.source.asked == 1
    scene.source.is_away = False
    assert await scene.number() == 2


async def test_who_gives_up_waiting_leaves_the_fetch_to_the_next() -> None:
    scene = Scene()
    scene.source.opened.clear()
    first, second = asyncio.create_task(scene.number()), asyncio.create_task(scene.number())
    await turns()
    first.cancel()
    await turns()
    scene.source.opened.set()
    assert await second == 2
    assert first.cancelled()


async def test_what_is_nearly_over_serves_others_while_one_renews_it() -> None:
    scene = Scene()
    await scene.number()
    scene.clock.advance(timedelta(minutes=56))
    scene.source.opened.clear()
    renewing = asyncio.create_task(scene.number())
    await turns()
    assert await scene.number() == 1
    scene.source.opened.set()
    assert (await renewing, await scene.number()) == (2, 2)


async def test_a_source_that_fails_is_left_alone_while_there_is_something_good() -> None:
    scene = Scene()
    await scene.number()
    scene.source.is_away = True
    scene.clock.advance(timedelta(minutes=56))
    assert [await scene.number() for _ in range(5)] == [1] * 5
    assert scene.source.asked == 2
    scene.clock.advance(timedelta(milliseconds=REST_MS))
    scene.source.is_away = False
    assert await scene.number() == 3


async def test_the_last_of_it_is_no_reason_to_rest() -> None:
    scene = Scene()
    await scene.number()
    scene.source.is_away = True
    scene.clock.advance(timedelta(minutes=59, seconds=58))
    assert await scene.number() == 1
    scene.clock.advance(timedelta(seconds=2))
    with pytest.raises(StoreFault, match="away 3"):
        await scene.number()


async def test_a_process_that_was_frozen_asks_anew_before_it_sends_anything() -> None:
    scene = Scene()
    await scene.number()
    scene.clock.advance(timedelta(hours=9))
    assert await scene.number() == 2


async def test_a_clock_that_was_set_back_keeps_it_until_it_is_refused() -> None:
    scene = Scene()
    kept = await scene.renewed.current()
    scene.clock.advance(timedelta(days=-1))
    assert await scene.number() == 1
    scene.renewed.distrust(kept)
    assert await scene.number() == 2


async def test_what_lives_for_minutes_is_kept_for_half_of_them() -> None:
    scene = Scene(timedelta(minutes=4))
    await scene.number()
    scene.clock.advance(timedelta(minutes=1, seconds=59))
    assert await scene.number() == 1
    scene.clock.advance(timedelta(seconds=1))
    assert await scene.number() == 2


async def test_what_never_expires_is_fetched_once() -> None:
    scene = Scene(None)
    await scene.number()
    scene.clock.advance(timedelta(days=400))
    assert await scene.number() == 1


async def test_distrust_of_what_was_replaced_long_ago_changes_nothing() -> None:
    scene = Scene()
    old = await scene.renewed.current()
    scene.clock.advance(timedelta(hours=2))
    await scene.number()
    scene.renewed.distrust(old)
    assert await scene.number() == 2
