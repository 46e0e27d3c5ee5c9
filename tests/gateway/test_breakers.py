"""A target that fails too often is passed over for a while, by every process, and comes back by one probe."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from farebox.adapters.local.event_bus import LocalEventBus
from farebox.domain.errors import StoreFault
from farebox.domain.event import BreakerMoved, Event
from farebox.domain.routing.breaker import Breaker, BreakerKey, BreakerState
from farebox.domain.routing.tree import BreakerRule
from farebox.gateway.routing.trying.breakers import BREAKERS_MAX, CircuitBreakers
from tests.gateway.peers import answer_of
from tests.gateway.stage import Stage, Told, a_file, a_provider, a_stage, asking, read_out
from tests.gateway.test_fallback import GOOD, Answering, by_host
from tests.gateway.test_retries import no
from tests.support.builders import FixedClock
from tests.support.upstream import sse_reply

COOLDOWN = timedelta(seconds=30)


def guarded(**rule: object) -> dict[str, object]:
    rules = {"failure_threshold": 2, "cooldown_interval": 30_000, **rule}
    return {
        "strategy": {"mode": "fallback"},
        "targets": [{"provider": "@first", "cb_config": rules}, {"provider": "@second"}],
    }


def a_policy() -> dict[str, object]:
    return a_file(providers=[a_provider("first"), a_provider("second")])


async def asked(stage: Stage, config: dict[str, object], first: Answering, *, count: int = 1) -> Told:
    stage.upstream.script = by_host(first=first, second=lambda: GOOD)
    for _ in range(count):
        told = await stage.ask(asking(stream=True), x_farebox_config=json.dumps(config))
    return told


def hosts(stage: Stage) -> list[str]:
    """Give who was asked since the last time."""
    names = [request.origin.host.partition(".")[0] for request in stage.upstream.sent]
    stage.upstream.sent.clear()
    return names


async def test_no_tenant_opens_a_breaker_for_another_one(tmp_path: Path) -> None:
    """What counts as a failure is in the caller's own config, so it is counted for the caller's workspace."""
    policy = a_file(
        providers=[a_provider("first"), a_provider("second")],
        workspaces=[{"slug": "mine"}, {"slug": "theirs"}],
        keys=[{"name": "eve", "workspace": "mine"}, {"name": "bob", "workspace": "theirs"}],
    )
    async with a_stage(tmp_path, policy) as stage:
        eager = guarded(failure_threshold=1, failure_status_codes=[400])
        stage.upstream.script = by_host(first=no(400), second=lambda: GOOD)
        for _ in range(2):
            await stage.ask(asking(stream=True), key="eve", x_farebox_config=json.dumps(eager))
        assert hosts(stage) == ["first", "second", "second"]
        stage.upstream.script = by_host(first=lambda: GOOD, second=lambda: GOOD)
        told = await stage.ask(asking(stream=True), key="bob", x_farebox_config=json.dumps(guarded()))
        assert (told.status, hosts(stage)) == (200, ["first"])


async def test_an_open_breaker_passes_its_target_over_until_one_probe_answers(tmp_path: Path) -> None:
    events: list[Event] = []
    async with a_stage(tmp_path, a_policy(), listeners=[events.append]) as stage:
        await asked(stage, guarded(), no(529), count=2)
        assert hosts(stage) == ["first", "second", "first", "second"]
        told = await asked(stage, guarded(), no(529), count=3)
        assert hosts(stage) == ["second"] * 3
        assert (told.status, told.header("x-farebox-last-used-option-index")) == (200, "config.targets[1]")
        stage.clock.advance(COOLDOWN)
        await asked(stage, guarded(), no(529), count=2)
        assert hosts(stage) == ["first", "second", "second"]
        stage.clock.advance(COOLDOWN)
        await asked(stage, guarded(), lambda: GOOD, count=2)
        assert hosts(stage) == ["first", "first"]
        await stage.events.drain()
        (breaker,) = await stage.store.breakers.breakers(stage.clock.now())
    assert breaker == Breaker(breaker.key, breaker.version)
    moves = [event for event in events if isinstance(event, BreakerMoved)]
    assert [move.state for move in moves] == [BreakerState.OPEN, BreakerState.OPEN, BreakerState.CLOSED]
    assert {(move.key.provider, move.key.model) for move in moves} == {("first", "claude-opus-5-5")}


@pytest.mark.parametrize(
    ("first", "is_counted"),
    [
        (no(500), True),
        (no(429), False),
        (no(404), False),
        (lambda: sse_reply([]), True),
        (lambda: sse_reply([b'event: error\ndata: {"error":{"type":"overloaded_error"}}\n\n']), True),
    ],
    ids=["500", "429", "404", "empty", "error event"],
)
async def test_what_counts_is_what_the_attempt_counted_as(
    first: Answering, is_counted: bool, tmp_path: Path
) -> None:
    async with a_stage(tmp_path, a_policy()) as stage:
        await asked(stage, guarded(), first, count=3)
        assert hosts(stage).count("first") == (2 if is_counted else 3)


async def test_a_rule_may_name_its_own_statuses(tmp_path: Path) -> None:
    async with a_stage(tmp_path, a_policy()) as stage:
        config = guarded(failure_status_codes=[429])
        await asked(stage, config, no(500), count=3)
        assert hosts(stage).count("first") == 3
        await asked(stage, config, no(429), count=3)
        assert hosts(stage).count("first") == 2


async def test_it_is_per_provider_and_model(tmp_path: Path) -> None:
    async with a_stage(tmp_path, a_policy()) as stage:
        await asked(stage, guarded(), no(500), count=2)
        hosts(stage)
        body = asking(stream=True, model="claude-haiku-5-5")
        await stage.ask(body, x_farebox_config=json.dumps(guarded()))
        assert hosts(stage) == ["first", "second"]


async def test_a_breaker_stops_the_retries_of_the_request_that_opens_it(tmp_path: Path) -> None:
    async with a_stage(tmp_path, a_policy()) as stage:
        config = guarded()
        config["retry"] = {"attempts": 5}
        told = await asked(stage, config, no(503))
        assert hosts(stage) == ["first", "first", "second"]
    assert told.status == 200


async def test_where_every_target_is_left_out_they_are_tried_all_the_same(tmp_path: Path) -> None:
    rule = {"failure_threshold": 1, "cooldown_interval": 30_000}
    config: dict[str, object] = {
        "strategy": {"mode": "fallback"},
        "targets": [{"provider": f"@{slug}", "cb_config": rule} for slug in ("first", "second")],
    }
    async with a_stage(tmp_path, a_policy()) as stage:
        stage.upstream.script = by_host(first=no(500), second=no(500))
        for _ in range(2):
            await stage.ask(asking(stream=True), x_farebox_config=json.dumps(config))
            assert hosts(stage) == ["first", "second"]
        told = await asked(stage, config, lambda: GOOD)
        assert (told.status, hosts(stage)) == (200, ["first"])
        # That it answered has closed its breaker.
        await asked(stage, config, lambda: GOOD)
        assert hosts(stage) == ["first"]


async def test_a_single_target_is_never_left_out(tmp_path: Path) -> None:
    config: dict[str, object] = {
        "provider": "@first",
        "cb_config": {"failure_threshold": 1, "cooldown_interval": 30_000},
    }
    async with a_stage(tmp_path, a_policy()) as stage:
        for _ in range(3):
            assert (await asked(stage, config, no(500))).status == 500
        stage.clock.advance(COOLDOWN)
        assert (await asked(stage, config, lambda: GOOD)).status == 200


async def test_of_many_at_once_one_probes(tmp_path: Path) -> None:
    async with a_stage(tmp_path, a_policy()) as stage:
        await asked(stage, guarded(), no(500), count=2)
        stage.clock.advance(COOLDOWN)
        hosts(stage)
        slow = answer_of(sse_reply([]))
        slow.pieces.append(None)
        stage.upstream.script = by_host(first=lambda: slow, second=lambda: GOOD)
        config = json.dumps(guarded())
        asking_it = [
            asyncio.ensure_future(stage.begin(asking(stream=True), x_farebox_config=config)) for _ in range(5)
        ]
        done, pending = await asyncio.wait(asking_it, return_when=asyncio.FIRST_COMPLETED)
        while len(done) < 4:
            more, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            done |= more
        assert sorted(hosts(stage)) == ["first", *["second"] * 4]
        slow.pieces = [piece for piece in GOOD.pieces if isinstance(piece, bytes)]
        slow.more.set()
        for each in asking_it:
            assert await read_out(await each) == GOOD.body
        await asked(stage, guarded(), lambda: GOOD)
        assert hosts(stage) == ["first"]


async def test_a_load_balance_leaves_an_open_target_out(tmp_path: Path) -> None:
    rule = {"failure_threshold": 1, "cooldown_interval": 30_000}
    config: dict[str, object] = {
        "strategy": {"mode": "loadbalance"},
        "targets": [{"provider": f"@{slug}", "cb_config": rule} for slug in ("first", "second")],
    }
    async with a_stage(tmp_path, a_policy()) as stage:
        while "first" not in hosts(stage):
            await asked(stage, config, no(500))
        await asked(stage, config, no(500), count=10)
        assert hosts(stage) == ["second"] * 10


async def test_processes_over_one_store_share_what_they_know(tmp_path: Path) -> None:
    clock = FixedClock()
    async with (
        a_stage(tmp_path, a_policy(), clock=clock) as one,
        a_stage(tmp_path, a_policy(), clock=clock) as other,
    ):
        other.keys.update(one.keys)
        await asked(other, guarded(), lambda: GOOD)
        await asked(one, guarded(), no(500), count=2)
        hosts(other)
        clock.advance(timedelta(seconds=2))
        await asked(other, guarded(), no(500))
        assert hosts(other) == ["second"]


class CountingBreakers:
    """A store in memory that counts what it is asked, and can be away."""

    def __init__(self) -> None:
        self.kept: dict[BreakerKey, Breaker] = {}
        self.calls: list[str] = []
        self.is_away = False

    async def breakers(self, now: datetime) -> Sequence[Breaker]:
        self._called("breakers")
        return list(self.kept.values())

    async def breaker(self, key: BreakerKey, now: datetime) -> Breaker | None:
        self._called("breaker")
        return self.kept.get(key)

    async def put(self, breaker: Breaker, now: datetime) -> bool:
        self._called("put")
        before = self.kept.get(breaker.key)
        if (before.version if before else 0) != breaker.version - 1:
            return False
        self.kept[breaker.key] = breaker
        return True

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if self.is_away:
            raise StoreFault("away")


KEY = BreakerKey("first", "m")
RULE = BreakerRule(failure_threshold=2, failure_threshold_percent=50, minimum_requests=5)


def over(store: CountingBreakers, clock: FixedClock) -> CircuitBreakers:
    return CircuitBreakers(store, LocalEventBus([]), clock)


async def test_while_all_is_well_nothing_is_written_and_reads_are_seconds_apart() -> None:
    store, clock = CountingBreakers(), FixedClock()
    breakers = over(store, clock)
    for _ in range(2):
        for _ in range(50):
            await breakers.refresh()
            assert not breakers.leaves_out(KEY)
            assert await breakers.may_try(KEY)
            await breakers.succeeded(KEY, RULE, clock.now())
        clock.advance(timedelta(seconds=2))
    assert store.calls == ["breakers"] * 2


async def test_no_tenant_fills_the_store_with_breakers_that_all_must_read() -> None:
    """Models are callers' to name, and what counts as a failure is in their config."""
    store, clock = CountingBreakers(), FixedClock()
    breakers = over(store, clock)
    for number in range(BREAKERS_MAX + 50):
        await breakers.failed(BreakerKey("first", f"model-{number}", workspace="theirs"), RULE)
    assert len(store.kept) == BREAKERS_MAX
    await breakers.failed(BreakerKey("first", "model-1", workspace="theirs"), RULE)
    assert breakers.leaves_out(BreakerKey("first", "model-1", workspace="theirs"))
    mine = BreakerKey("first", "model-1", workspace="mine")
    for _ in range(2):
        await breakers.failed(mine, RULE)
    assert breakers.leaves_out(mine)


async def test_a_failure_is_one_write_and_a_conflict_one_more_read() -> None:
    store, clock = CountingBreakers(), FixedClock()
    one, other = over(store, clock), over(store, clock)
    await one.failed(KEY, RULE)
    await other.failed(KEY, RULE)
    assert store.calls == ["put", "put", "breaker", "put"]
    assert (store.kept[KEY].failures, other.leaves_out(KEY), one.leaves_out(KEY)) == (2, True, False)
    clock.advance(timedelta(seconds=2))
    await one.refresh()
    assert one.leaves_out(KEY)


async def test_answers_tell_against_failures_once_there_are_some() -> None:
    store, clock = CountingBreakers(), FixedClock()
    breakers, rule = over(store, clock), BreakerRule(failure_threshold_percent=50, minimum_requests=5)
    await breakers.failed(KEY, rule)
    for _ in range(20):
        await breakers.succeeded(KEY, rule, clock.now())
    assert store.calls == ["put"] * 5
    assert (store.kept[KEY].requests, store.kept[KEY].failures) == (21, 1)


async def test_a_store_that_is_away_leaves_every_target_in() -> None:
    store, clock = CountingBreakers(), FixedClock()
    breakers = over(store, clock)
    for _ in range(2):
        await breakers.failed(KEY, RULE)
    clock.advance(COOLDOWN)
    store.is_away = True
    await breakers.refresh()
    assert await breakers.may_try(KEY)
    await breakers.failed(KEY, RULE)
    await breakers.succeeded(KEY, RULE, clock.now())
    assert not breakers.leaves_out(KEY)


async def test_a_breaker_that_others_have_closed_lets_everybody_through() -> None:
    store, clock = CountingBreakers(), FixedClock()
    one, other = over(store, clock), over(store, clock)
    for _ in range(2):
        await one.failed(KEY, RULE)
    await other.refresh()
    clock.advance(COOLDOWN)
    assert await one.may_try(KEY)
    await one.succeeded(KEY, RULE, clock.now())
    assert await other.may_try(KEY)
    assert not other.leaves_out(KEY)


async def test_one_that_changes_too_often_is_not_waited_for() -> None:
    class Busy(CountingBreakers):
        async def put(self, breaker: Breaker, now: datetime) -> bool:
            self.calls.append("put")
            return False

    store, clock = Busy(), FixedClock()
    await over(store, clock).failed(KEY, RULE)
    assert store.calls == ["put", "breaker"] * 4
