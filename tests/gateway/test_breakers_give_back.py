"""Who has the probe of a half-open breaker and does not send it gives it to the next request."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path

from farebox.gateway.settle import CLIENT_GONE
from tests.gateway.peers import answer_of
from tests.gateway.stage import Stage, a_file, a_provider, a_stage, asking
from tests.gateway.test_breakers import COOLDOWN, KEY, RULE, CountingBreakers, asked, guarded, hosts, over
from tests.gateway.test_fallback import GOOD, by_host
from tests.gateway.test_retries import no
from tests.support.builders import FixedClock
from tests.support.upstream import sse_reply


def a_policy(**more: object) -> dict[str, object]:
    keys = [{"name": name, "workspace": "default"} for name in ("alice", "bob")]
    return a_file(providers=[a_provider("first"), a_provider("second")], keys=keys, **more)


async def half_open(stage: Stage) -> None:
    """Open the breaker of the first target, wait for its cool-down, and let the targets be well."""
    await asked(stage, guarded(), no(500), count=2)
    stage.clock.advance(COOLDOWN)
    stage.upstream.script = by_host(first=lambda: GOOD, second=lambda: GOOD)
    hosts(stage)


async def test_a_request_that_a_rate_limit_refuses_gives_its_probe_back(tmp_path: Path) -> None:
    limit = {"name": "rpm", "scope": {"key": "bob"}, "requests": 1, "per": "day"}
    async with a_stage(tmp_path, a_policy(rate_limits=[limit])) as stage:
        config = json.dumps(guarded())
        await stage.ask(asking(stream=True), key="bob", x_farebox_config=config)
        await half_open(stage)
        refused = await stage.ask(asking(stream=True), key="bob", x_farebox_config=config)
        assert (refused.status, hosts(stage)) == (429, [])
        await stage.ask(asking(stream=True), key="alice", x_farebox_config=config)
        assert hosts(stage) == ["first"]


async def test_a_request_that_the_cache_answers_gives_its_probe_back(tmp_path: Path) -> None:
    async with a_stage(tmp_path, a_policy()) as stage:
        config = json.dumps({**guarded(), "cache": {"mode": "simple"}})
        stage.upstream.script = by_host(first=lambda: GOOD, second=lambda: GOOD)
        await stage.ask(asking(stream=True), x_farebox_config=config)
        await stage.gateway.cache.drain()
        await half_open(stage)
        hit = await stage.ask(asking(stream=True), x_farebox_config=config)
        assert (hit.header("x-farebox-cache-status"), hosts(stage)) == ("HIT", [])
        await stage.ask(asking("Something else.", stream=True), x_farebox_config=config)
        assert hosts(stage) == ["first"]


async def test_a_request_whose_client_leaves_before_an_answer_gives_its_probe_back(tmp_path: Path) -> None:
    async with a_stage(tmp_path, a_policy()) as stage:
        config = json.dumps(guarded())
        await half_open(stage)
        slow = answer_of(sse_reply([]))
        slow.pieces.append(None)
        stage.upstream.script = by_host(first=lambda: slow, second=lambda: GOOD)
        left = asyncio.ensure_future(stage.begin(asking(stream=True), x_farebox_config=config))
        while not stage.upstream.sent:
            await asyncio.sleep(0)
        left.cancel(CLIENT_GONE)
        await asyncio.wait([left])
        hosts(stage)
        await asked(stage, guarded(), lambda: GOOD)
        assert hosts(stage) == ["first"]


async def test_an_answer_that_tells_nothing_of_the_target_gives_the_probe_back(tmp_path: Path) -> None:
    """A 404 is neither a failure nor an answer by the default rule."""
    async with a_stage(tmp_path, a_policy()) as stage:
        await half_open(stage)
        await asked(stage, guarded(), no(404))
        assert "first" in hosts(stage)
        await asked(stage, guarded(), lambda: GOOD)
        assert hosts(stage) == ["first"]


async def test_a_probe_that_is_another_ones_by_now_is_not_given_back() -> None:
    store, clock = CountingBreakers(), FixedClock()
    one, other = over(store, clock), over(store, clock)
    for _ in range(2):
        await one.failed(KEY, RULE)
    clock.advance(COOLDOWN)
    await other.refresh()
    first = await one.may_try(KEY)
    clock.advance(timedelta(seconds=31))
    second = await other.may_try(KEY)
    assert first
    assert second
    await one.give_back(first)
    assert not await one.may_try(KEY)
    await other.give_back(second)
    # `one` knows what it has read, for seconds.
    clock.advance(timedelta(seconds=2))
    await one.refresh()
    assert await one.may_try(KEY)
