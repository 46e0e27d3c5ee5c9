"""The machine's clocks and randomness, as the core sees them."""

from datetime import UTC, datetime, timedelta

from farebox.adapters.aws.key_store.kept import Kept
from farebox.adapters.clock import SystemClock, SystemRandomness


def test_the_wall_clock_is_utc_and_now() -> None:
    before, now, after = datetime.now(UTC), SystemClock().now(), datetime.now(UTC)
    assert before <= now <= after
    assert now.utcoffset() == timedelta(0)


def test_durations_never_go_back() -> None:
    clock = SystemClock()
    moments = [clock.monotonic_ms() for _ in range(1000)]
    assert moments == sorted(moments)


class Machine:
    """A machine whose clocks a test moves, in seconds."""

    def __init__(self) -> None:
        self.wall_s, self.monotonic_s = 1_795_000_000.0, 500.0
        self.clock = SystemClock(
            lambda: int(self.wall_s * 1_000_000_000), lambda: int(self.monotonic_s * 1_000_000_000)
        )
        self.started_ms = self.clock.monotonic_ms()

    def move(self, *, wall_s: float, monotonic_s: float) -> float:
        """Move the clocks; give what has passed since the start, in seconds."""
        self.wall_s += wall_s
        self.monotonic_s += monotonic_s
        return (self.clock.monotonic_ms() - self.started_ms) / 1_000


def test_an_hour_that_a_process_was_frozen_for_has_passed() -> None:
    machine = Machine()
    assert machine.move(wall_s=2, monotonic_s=2) == 2
    assert machine.move(wall_s=3_600, monotonic_s=0) == 3_602
    assert machine.move(wall_s=5, monotonic_s=5) == 3_607
    assert machine.move(wall_s=0.5, monotonic_s=0) == 3_607.5
    assert machine.clock.awake_ms() - machine.started_ms == 7_000


def test_a_wall_clock_that_is_set_back_or_goes_a_little_wrong_changes_no_duration() -> None:
    machine = Machine()
    assert machine.move(wall_s=-3_600, monotonic_s=1) == 1
    assert machine.move(wall_s=1.05, monotonic_s=1) == 2
    assert machine.move(wall_s=0.95, monotonic_s=1) == 3
    assert machine.move(wall_s=60, monotonic_s=0) == 63


async def test_a_key_that_is_kept_for_seconds_is_read_anew_after_a_freeze() -> None:
    machine = Machine()
    kept: Kept[str, str] = Kept(machine.clock, 3_000)
    kept.keep("hash", "key", machine.clock.monotonic_ms())
    machine.move(wall_s=1, monotonic_s=1)
    assert kept.fresh("hash") == "key"
    machine.move(wall_s=3_600, monotonic_s=0)
    assert kept.fresh("hash") is None


def test_random_bytes_are_as_many_as_asked_and_never_the_same() -> None:
    randomness = SystemRandomness()
    found = {randomness.bytes(32) for _ in range(100)}
    assert len(found) == 100
    assert {len(each) for each in found} == {32}
