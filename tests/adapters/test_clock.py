"""The machine's clocks and randomness, as the core sees them."""

from datetime import UTC, datetime, timedelta

from farebox.adapters.clock import SystemClock, SystemRandomness


def test_the_wall_clock_is_utc_and_now() -> None:
    before, now, after = datetime.now(UTC), SystemClock().now(), datetime.now(UTC)
    assert before <= now <= after
    assert now.utcoffset() == timedelta(0)


def test_durations_never_go_back() -> None:
    clock = SystemClock()
    moments = [clock.monotonic_ms() for _ in range(1000)]
    assert moments == sorted(moments)


def test_random_bytes_are_as_many_as_asked_and_never_the_same() -> None:
    randomness = SystemRandomness()
    found = {randomness.bytes(32) for _ in range(100)}
    assert len(found) == 100
    assert {len(each) for each in found} == {32}
