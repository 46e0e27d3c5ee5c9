"""Shards that grant by themselves never pass the limit together, and never refuse what the whole can pay."""

from collections.abc import Generator
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from farebox.adapters.aws.ledger.buckets.rooms import Pool, Spread, spread_for

SHARDS = 3
MOST_ROUNDS = 3


@dataclass
class Shard:
    """One item as stored."""

    used: int = 0
    room: int = 0
    limit: int | None = None
    is_overdrawn: bool = False


@dataclass
class Bucket:
    """A wide bucket whose every method is one atomic write, or says that its condition did not hold."""

    shards: list[Shard] = field(default_factory=lambda: [Shard() for _ in range(SHARDS)])

    @property
    def used(self) -> int:
        return sum(shard.used for shard in self.shards)

    def draw(self, own: int, growth: int, limit: int) -> bool:
        shard = self.shards[own]
        if shard.limit is None or shard.limit > limit or shard.is_overdrawn or shard.room < growth:
            return False
        self.move(own, growth)
        return True

    def book(self, own: int, growth: int) -> bool:
        shard = self.shards[own]
        if growth > 0 and (shard.limit is None or not (shard.is_overdrawn or shard.room >= growth)):
            return False
        self.move(own, growth)
        return True

    def move(self, own: int, amount: int) -> None:
        self.shards[own].used += amount
        self.shards[own].room -= amount

    def spread(self, pool: Pool, spread: Spread) -> bool:
        touched = [
            (shard, added)
            for shard, added in zip(self.shards, spread.added, strict=True)
            if added or spread.limit is not None
        ]
        for shard, added in touched:
            if shard.limit != pool.limit or shard.room + added < 0:
                return False
            if spread.limit is None and shard.is_overdrawn:
                return False
        for shard, added in touched:
            shard.room += added
            if spread.limit is not None:
                shard.limit, shard.is_overdrawn = spread.limit, False
        return True

    def overdraw(self) -> None:
        for shard in self.shards:
            shard.limit, shard.is_overdrawn = shard.limit or 0, True


Step = Generator[None, None, bool]


def read(bucket: Bucket) -> Generator[None, None, tuple[Pool | None, int]]:
    """Read shard by shard, others' steps in between: no pool where a change was seen half done."""
    rooms, marks, used = [], set(), 0
    for shard in bucket.shards:
        rooms.append(shard.room)
        used += shard.used
        marks.add((shard.limit, shard.is_overdrawn))
        yield
    if len(marks) > 1:
        return None, used
    ((limit, is_overdrawn),) = marks
    return Pool(tuple(rooms), limit, is_overdrawn), used


def reserving(bucket: Bucket, own: int, amount: int, limit: int, rounds: int = MOST_ROUNDS) -> Step:
    """Reserve as the ledger does; every yield lets others in. The answer is whether it was granted."""
    for _ in range(rounds):
        if bucket.draw(own, amount, limit):
            assert bucket.used <= limit
            return True
        yield
        pool, used = yield from read(bucket)
        if used + amount > limit:
            return False
        spread = pool and spread_for(pool, own, amount, limit)
        if pool and spread:
            bucket.spread(pool, spread)
        yield
    return False


def booking(bucket: Bucket, own: int, growth: int, rounds: int = MOST_ROUNDS) -> Step:
    """Book what may be above a hold as the ledger does: never refused."""
    for _ in range(rounds):
        if bucket.book(own, growth):
            return True
        yield
        pool, _ = yield from read(bucket)
        if pool is None:
            continue
        spread = None if pool.limit is None else spread_for(pool, own, growth, pool.limit)
        if spread is None:
            bucket.overdraw()
        else:
            bucket.spread(pool, spread)
        yield
    return False


def finished(step: Step) -> bool:
    while True:
        try:
            next(step)
        except StopIteration as end:
            return bool(end.value)


shard_numbers = st.integers(0, SHARDS - 1)
amounts = st.sampled_from([0, 1, 10, 30, 60])
limits = st.sampled_from([0, 50, 100])


class RoomsMachine(RuleBasedStateMachine):
    """Processes that know different limits, each in the midst of a step, over one bucket."""

    def __init__(self) -> None:
        super().__init__()
        self.bucket = Bucket()
        self.open: list[Step] = []
        self.held: list[tuple[int, int]] = []
        self.repeats: list[tuple[Pool, Spread]] = []

    @rule(own=shard_numbers, amount=amounts, limit=limits)
    def begin_to_reserve(self, own: int, amount: int, limit: int) -> None:
        self.open.append(self.holding(own, amount, limit, MOST_ROUNDS))

    @rule(own=shard_numbers, growth=amounts)
    def begin_to_book(self, own: int, growth: int) -> None:
        self.open.append(booking(self.bucket, own, growth))

    @rule(number=st.integers(0, 5))
    def go_on(self, number: int) -> None:
        if self.open:
            step = self.open[number % len(self.open)]
            try:
                next(step)
            except StopIteration:
                self.open.remove(step)

    @rule(number=st.integers(0, 5), spent=amounts)
    def settle(self, number: int, spent: int) -> None:
        if self.held:
            own, amount = self.held.pop(number % len(self.held))
            if not self.bucket.book(own, spent - amount):
                self.open.append(booking(self.bucket, own, spent - amount))

    @rule(own=shard_numbers, amount=amounts, limit=limits)
    def reserve_alone(self, own: int, amount: int, limit: int) -> None:
        fits = self.bucket.used + amount <= limit
        assert finished(self.holding(own, amount, limit, 2)) == fits

    @rule(own=shard_numbers, growth=amounts)
    def book_alone(self, own: int, growth: int) -> None:
        assert finished(booking(self.bucket, own, growth, 2))

    @rule(own=shard_numbers, growth=amounts, limit=limits)
    def remember_a_spread(self, own: int, growth: int, limit: int) -> None:
        shards = self.bucket.shards
        pool = Pool(tuple(shard.room for shard in shards), shards[0].limit, shards[0].is_overdrawn)
        spread = spread_for(pool, own, growth, limit)
        if spread is not None:
            self.repeats.append((pool, spread))

    @rule(number=st.integers(0, 5))
    def deliver_a_spread_late_or_again(self, number: int) -> None:
        if self.repeats:
            self.bucket.spread(*self.repeats[number % len(self.repeats)])

    @invariant()
    def all_shards_belong_to_one_limit(self) -> None:
        assert len({(shard.limit, shard.is_overdrawn) for shard in self.bucket.shards}) == 1

    @invariant()
    def what_is_used_and_all_room_make_the_limit(self) -> None:
        (limit,) = {shard.limit for shard in self.bucket.shards}
        assert sum(shard.used + shard.room for shard in self.bucket.shards) == (limit or 0)

    @invariant()
    def no_room_is_below_nothing_unless_overdrawn(self) -> None:
        assert all(shard.room >= 0 or shard.is_overdrawn for shard in self.bucket.shards)

    def holding(self, own: int, amount: int, limit: int, rounds: int) -> Step:
        granted = yield from reserving(self.bucket, own, amount, limit, rounds)
        if granted:
            self.held.append((own, amount))
        return granted


def test_no_interleaving_passes_the_limit_or_refuses_what_the_whole_can_pay() -> None:
    run_state_machine_as_test(
        RoomsMachine, settings=settings(max_examples=150, stateful_step_count=50, deadline=None)
    )


rooms = st.lists(st.integers(0, 1_000), min_size=1, max_size=9).map(tuple)


@given(rooms, st.data(), st.integers(0, 10_000), limits, st.booleans())
def test_a_spread_makes_room_where_there_is_as_much(
    rooms: tuple[int, ...], data: st.DataObject, growth: int, limit: int, is_overdrawn: bool
) -> None:
    own = data.draw(st.integers(0, len(rooms) - 1))
    pool = Pool(rooms, data.draw(limits), is_overdrawn)
    spread = spread_for(pool, own, growth, limit)
    if spread is None:
        assert sum(rooms) + limit - (pool.limit or 0) < growth
        return
    after = [room + added for room, added in zip(rooms, spread.added, strict=True)]
    assert min(after) >= 0
    assert after[own] >= growth
    assert sum(spread.added) == (0 if spread.limit is None else limit - (pool.limit or 0))


def test_a_borrow_asks_as_few_shards_as_it_can_and_halves_what_they_spare() -> None:
    pool = Pool((0, 100, 40, 30), limit=500)
    assert spread_for(pool, 0, 20, 500) == Spread((60, -60, 0, 0))
    assert spread_for(pool, 0, 120, 500) == Spread((130, -100, -30, 0))
    assert spread_for(pool, 1, 100, 500) == Spread((0, 0, 0, 0))
    assert spread_for(pool, 0, 171, 500) is None


def test_a_first_use_and_another_limit_spread_over_all() -> None:
    assert spread_for(Pool((0, 0, 0)), 1, 10, 100) == Spread((30, 40, 30), limit=100)
    assert spread_for(Pool((10, 20, 30), limit=100), 0, 10, 70) == Spread((8, -14, -24), limit=70)
    assert spread_for(Pool((-40, 50, 20), 100, is_overdrawn=True), 0, 10, 100) == Spread((58, -44, -14), 100)
    assert spread_for(Pool((-40, 50, 20), 100, is_overdrawn=True), 0, 31, 100) is None
