"""Each threshold is decided once, whatever repeats, races or fails, and a raise arms it again."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farebox.adapters.local.store import LocalStore
from farebox.adapters.local.thresholds import LocalThresholds
from farebox.domain.budget import OnExhausted, Touch, touches
from farebox.domain.budget.alert import Crossing
from farebox.domain.errors import StoreFault
from farebox.domain.event import BudgetThresholdCrossed, Event, RequestFinished
from farebox.domain.record import record_subject
from farebox.jobs.thresholds import BATCH, REMEMBERED_MAX, ThresholdWatch
from farebox.ports import Drawn, Resource, Thresholds
from tests.support.builders import NOON, FixedClock, a_record, a_resource
from tests.support.dynamo import dynamo_wing
from tests.support.ministack import Ministack, ministack
from tests.support.wings import Wing, local_wing, open_store

__all__ = ["ministack"]

HOUR = timedelta(hours=1)
BUDGET = {"name": "b", "tokens": 100, "period": "day"}


class Listener:
    """An event bus that remembers."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    async def emit(self, event: Event) -> None:
        self.events.append(event)

    def told(self) -> list[int]:
        return [each.crossing.threshold for each in self.events if isinstance(each, BudgetThresholdCrossed)]


class FailingThresholds:
    """A store of thresholds that cannot answer while `is_away`."""

    def __init__(self, thresholds: Thresholds) -> None:
        self._thresholds, self.is_away, self.asked = thresholds, False, 0
        self.answers_left = 1_000_000

    async def drawn(self, request_ids: Sequence[str]) -> Sequence[Drawn]:
        self.asked += 1
        self.answers_left -= 1
        if self.is_away or self.answers_left < 0:
            raise StoreFault("away")
        return await self._thresholds.drawn(request_ids)

    async def decide(self, crossings: Sequence[Crossing]) -> Sequence[Crossing]:
        self.asked += 1
        return await self._thresholds.decide(crossings)

    async def untold(self, *, limit: int = 100) -> Sequence[Crossing]:
        return await self._thresholds.untold(limit=limit)

    async def told(self, crossing: Crossing, at: datetime) -> None:
        raise NotImplementedError


@dataclass
class Scene:
    """A policy with one budget over a store, and a watch behind it."""

    store: Wing
    clock: FixedClock
    thresholds: FailingThresholds
    watch: ThresholdWatch
    booked: int = 0
    decided: list[Crossing] = field(default_factory=list)

    async def policy(self, *resources: Resource) -> None:
        version, _ = await self.store.policies.resources()
        await self.store.policies.write(upserts=resources, deletes=(), expected_version=version, actor="test")

    async def raise_to(self, tokens: int, hours: int) -> None:
        await self.policy(a_raise(tokens, hours))

    async def settle(
        self, tokens: int, *, exhausted: str | None = None, key: str = "alice"
    ) -> RequestFinished:
        """Book one request on every budget it touches, and let the watch hear of it."""
        self.booked += 1
        record = a_record(f"req_{self.booked}", at=self.clock.now(), key=key)
        policy = await self.store.policies.current()
        found = touches(policy.budgets, record_subject(record), record.at)
        booked = [Touch(each.budget, each.bucket, each.window, tokens) for each in found]
        await self.store.ledger.settle(record.id, record, booked)
        event = RequestFinished(record, exhausted)
        self.watch(event)
        return event

    async def decide(self) -> list[tuple[int, int]]:
        """Give limit and threshold of what is decided now."""
        found: list[Crossing] = []
        for _ in range(self.booked // BATCH + 1):
            found += await self.watch.decide()
        self.decided += found
        return [(each.limit, each.threshold) for each in found]


def a_raise(tokens: int, hours: int = 1, **fields: object) -> Resource:
    until = f"{NOON + hours * HOUR:%Y-%m-%dT%H:%M:%SZ}"
    document = {"budget": "b", "tokens": tokens, "until": until, "reason": "x", **fields}
    return a_resource("raise", f"b/{fields.get('bucket', '')}", document=document, origin="admin")


def a_budget_resource(**fields: object) -> Resource:
    document = {**BUDGET, **fields}
    return a_resource("budget", str(document["name"]), document=document)


@contextmanager
def a_store(folder: Path) -> Iterator[tuple[LocalStore, FixedClock]]:
    clock = FixedClock()
    store = open_store(folder, clock)
    yield store, clock
    store.close()


@asynccontextmanager
async def a_scene(folder: Path, **fields: object) -> AsyncIterator[Scene]:
    with a_store(folder) as (store, clock):
        yield await a_scene_on(local_wing(store, clock), **fields)


async def a_scene_on(wing: Wing, **fields: object) -> Scene:
    thresholds = FailingThresholds(wing.thresholds)
    watch = ThresholdWatch(thresholds, wing.policies, wing.reports, wing.clock)
    scene = Scene(wing, wing.clock, thresholds, watch)
    await scene.policy(a_budget_resource(**fields))
    return scene


@pytest.fixture(params=["local", "dynamodb"])
async def scene(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Scene]:
    if request.param == "dynamodb":
        server: Ministack = request.getfixturevalue("ministack")
        async with dynamo_wing(server.port) as wing:
            yield await a_scene_on(wing)
        return
    async with a_scene(tmp_path) as scene:
        yield scene


async def test_thresholds_are_decided_in_order_and_never_again(scene: Scene) -> None:
    told = []
    for tokens in (49, 1, 20, 10, 5, 14, 1, 50):
        await scene.settle(tokens)
        told.append(await scene.decide())
    assert told == [[], [(100, 50)], [], [(100, 80)], [], [], [(100, 100)], []]


async def test_requests_that_end_together_are_decided_together(scene: Scene) -> None:
    for _ in range(120):
        await scene.settle(1)
    assert await scene.decide() == [(100, 50), (100, 80), (100, 100)]
    assert [each.settled for each in scene.decided] == [120, 120, 120]


async def test_an_event_that_comes_again_decides_nothing(scene: Scene) -> None:
    event = await scene.settle(60)
    assert await scene.decide() == [(100, 50)]
    scene.watch(event)
    assert await scene.decide() == []
    restarted = ThresholdWatch(scene.thresholds, scene.store.policies, scene.store.reports, scene.clock)
    restarted(event)
    assert await restarted.decide() == []


async def test_a_raise_arms_them_again_and_its_end_repeats_nothing(scene: Scene) -> None:
    await scene.settle(90)
    assert await scene.decide() == [(100, 50), (100, 80)]
    await scene.raise_to(200, hours=2)
    await scene.settle(9)
    assert await scene.decide() == []  # 99 of 200
    await scene.settle(1)
    assert await scene.decide() == [(200, 50)]
    scene.clock.advance(2 * HOUR)
    await scene.settle(0)
    assert await scene.decide() == [(100, 100)]  # 100 of 100, once the raise is over


async def test_a_raise_of_one_bucket_arms_that_one_alone(tmp_path: Path) -> None:
    async with a_scene(tmp_path, scope={"key": ["*"]}, alerts=[50]) as scene:
        await scene.policy(a_raise(200, bucket="platform/alice"))
        await scene.settle(60, key="alice")
        await scene.settle(60, key="bob")
        assert await scene.decide() == [(100, 50)]
        assert [(each.bucket, each.label) for each in scene.decided] == [("platform/bob", "bob")]
        await scene.settle(60, key="alice")
        assert await scene.decide() == [(200, 50)]


async def test_the_next_window_begins_anew(scene: Scene) -> None:
    await scene.settle(60)
    assert await scene.decide() == [(100, 50)]
    scene.clock.advance(24 * HOUR)
    await scene.settle(60)
    assert await scene.decide() == [(100, 50)]
    assert [each.window.key for each in scene.decided] == ["2026-11-23T00:00:00Z", "2026-11-24T00:00:00Z"]


async def test_alert_only_budgets_and_totals_are_watched_too(tmp_path: Path) -> None:
    async with a_scene(tmp_path, on_exhausted=OnExhausted.ALERT.value, period="total") as scene:
        await scene.settle(150)
        assert await scene.decide() == [(100, 50), (100, 80), (100, 100)]
        assert {(each.window.key, each.is_blocking) for each in scene.decided} == {("total", False)}


async def test_a_refusal_for_want_of_what_is_left_is_the_last_threshold(scene: Scene) -> None:
    await scene.settle(60)
    await scene.decide()
    await scene.settle(0, exhausted="b")
    assert await scene.decide() == [(100, 100)]
    assert scene.decided[-1].settled == 60


async def test_a_refusal_by_another_budget_is_not_this_ones_end(tmp_path: Path) -> None:
    async with a_scene(tmp_path) as scene:
        await scene.policy(a_budget_resource(name="other", tokens=50))
        await scene.settle(49, exhausted="other")
        await scene.settle(0)
        assert await scene.decide() == [(50, 50), (50, 80), (50, 100)]


async def test_a_bucket_that_an_answer_was_cut_for_is_at_its_end(scene: Scene) -> None:
    await scene.settle(60)
    policy = await scene.store.policies.current()
    (touch,) = touches(policy.budgets, {}, NOON)
    await scene.store.ledger.exhaust([touch])
    assert await scene.decide() == [(100, 50), (100, 100)]


async def test_what_is_booked_on_a_budget_that_is_gone_or_changed_is_passed_over(scene: Scene) -> None:
    await scene.settle(60)
    await scene.policy(a_budget_resource(period="14d"))
    assert await scene.decide() == []
    await scene.settle(60)
    await scene.store.policies.write(upserts=(), deletes=[("budget", "b")], expected_version=2, actor="test")
    assert await scene.decide() == []


async def test_an_index_of_decided_ones_saves_asking_and_is_bounded(scene: Scene) -> None:
    await scene.settle(60)
    await scene.decide()
    asked = scene.thresholds.asked
    await scene.settle(1)
    await scene.decide()
    assert scene.thresholds.asked == asked + 1
    assert REMEMBERED_MAX > 1_000


async def until_true(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)


async def test_it_decides_as_requests_end_and_finds_what_a_dead_process_left(scene: Scene) -> None:
    await scene.settle(60)
    listener = Listener()
    # Another process: it has heard of nothing.
    watch = ThresholdWatch(scene.thresholds, scene.store.policies, scene.store.reports, scene.clock)
    running = asyncio.create_task(watch.run(listener))
    await until_true(lambda: len(listener.events) == 1)
    watch(await scene.settle(25))
    await until_true(lambda: len(listener.events) == 2)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert listener.told() == [50, 80]


async def test_what_could_not_be_looked_at_is_looked_at_later(scene: Scene) -> None:
    await scene.settle(60)
    scene.thresholds.is_away = True
    with pytest.raises(StoreFault):
        await scene.decide()
    scene.thresholds.is_away = False
    assert await scene.decide() == [(100, 50)]


async def test_what_one_batch_decided_is_told_though_the_next_one_fails(scene: Scene) -> None:
    await scene.settle(55)
    listener = Listener()
    running = asyncio.create_task(scene.watch.run(listener))
    await until_true(lambda: len(listener.events) == 1)
    scene.thresholds.answers_left = 1
    for tokens in (30, *[0] * BATCH):
        await scene.settle(tokens)
    await until_true(lambda: scene.thresholds.answers_left < 0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert listener.told() == [50, 80]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("settle"), st.integers(0, 40)),
        st.tuples(st.just("refuse"), st.just(0)),
        st.tuples(st.just("repeat"), st.just(0)),
        st.tuples(st.just("decide"), st.just(0)),
        st.tuples(st.just("raise"), st.integers(101, 400)),
        st.tuples(st.just("pass"), st.integers(1, 5)),
    ),
    max_size=30,
)


@settings(max_examples=60)
@given(STEPS)
def test_whatever_comes_in_whatever_order_is_decided_exactly_once(steps: list[tuple[str, int]]) -> None:
    with TemporaryDirectory() as folder:
        asyncio.run(_play(Path(folder), steps))


async def _play(folder: Path, steps: list[tuple[str, int]]) -> None:
    async with a_scene(folder) as scene:
        settled, expected, last = 0, set[tuple[int, int]](), RequestFinished(a_record("nobody"))
        limit, raised_until = 100, NOON
        for step, amount in [*steps, ("settle", 0)]:
            if step == "settle":
                last = await scene.settle(amount)
                settled += amount
            elif step == "refuse":
                last = await scene.settle(0, exhausted="b")
            elif step == "repeat":
                scene.watch(last)
            elif step == "raise":
                limit, raised_until = amount, scene.clock.now() + HOUR
                hours = (raised_until - NOON) // HOUR
                await scene.raise_to(amount, hours)
            elif step == "pass":
                scene.clock.advance(timedelta(minutes=20) * amount)
            # The limit is the one that counts when it is looked at.
            present = limit if scene.clock.now() < _whole_hour(raised_until) else 100
            if step in ("settle", "refuse", "repeat", "decide"):
                reached = {share for share in (50, 80, 100) if settled and settled * 100 >= share * present}
                is_refusal = last.exhausted_budget is not None and step in ("refuse", "repeat")
                has_news = step != "decide" and last.record.id != "nobody"
                expected |= {(present, share) for share in reached} if has_news else set()
                expected |= {(present, 100)} if is_refusal else set()
                await scene.decide()
        decided = [(each.limit, each.threshold) for each in scene.decided if each.window.key[:10] == DAY]
        assert len(decided) == len(set(decided))
        if scene.clock.now() < NOON + 12 * HOUR:
            assert set(decided) == expected


DAY = "2026-11-23"


def _whole_hour(moment: datetime) -> datetime:
    return NOON + ((moment - NOON) // HOUR) * HOUR


def test_eight_workers_on_one_file_decide_each_threshold_exactly_once(tmp_path: Path) -> None:
    alerts = list(range(1, 101))
    with a_store(tmp_path) as (store, _):
        resource = a_budget_resource(alerts=alerts)
        asyncio.run(store.policies.write(upserts=[resource], deletes=(), expected_version=0, actor="test"))
    decided: list[Crossing] = []
    barrier = threading.Barrier(8)

    def work(number: int) -> None:
        asyncio.run(_spend(tmp_path, number, barrier, decided))

    workers = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert sorted(each.threshold for each in decided) == alerts
    with a_store(tmp_path) as (store, clock):
        watch = ThresholdWatch(LocalThresholds(store.database), store.policies, store.reports, clock)
        assert asyncio.run(watch.catch_up()) == []
        resource = a_raise(101)
        asyncio.run(store.policies.write(upserts=[resource], deletes=(), expected_version=1, actor="test"))
        rearmed = asyncio.run(watch.catch_up())
        assert [(each.limit, each.threshold) for each in rearmed] == [(101, share) for share in range(1, 100)]


async def _spend(folder: Path, number: int, barrier: threading.Barrier, decided: list[Crossing]) -> None:
    """Settle one eighth of 104 requests of one token each but four, and decide after each."""
    with a_store(folder) as (store, clock):
        watch = ThresholdWatch(LocalThresholds(store.database), store.policies, store.reports, clock)
        (budget,) = (await store.policies.current()).budgets
        barrier.wait(30)
        for turn in range(13):
            record = a_record(f"req_{number}_{turn}")
            amount = 0 if turn == 12 and number % 2 else 1
            touch = Touch(budget, "", budget.window_at(record.at), amount)
            await store.ledger.settle(record.id, record, [touch])
            watch(RequestFinished(record))
            decided += await watch.decide()
            await asyncio.sleep(0)
