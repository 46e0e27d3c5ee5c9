"""The one place that reads the machine's clocks and its source of randomness."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime

ASLEEP_NS = 100_000_000
"""What the clocks differ by from one look to the next without any sleep between."""


class SystemClock:
    """Time as the machine knows it.

    A frozen function and a laptop that sleeps do not move Linux's monotonic clock on, so that what was read
    before would look fresh after hours. The wall clock tells how long that was.
    Source: hashicorp/vault-lambda-extension#150, read 2026-11.
    """

    def __init__(
        self, wall_ns: Callable[[], int] = time.time_ns, monotonic_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._wall_ns, self._monotonic_ns = wall_ns, monotonic_ns
        self._apart_ns = wall_ns() - monotonic_ns()
        self._asleep_ns = 0

    def now(self) -> datetime:
        """Give the wall clock, UTC."""
        return datetime.now(UTC)

    def monotonic_ms(self) -> int:
        """See `Clock`."""
        monotonic_ns = self._monotonic_ns()
        apart_ns = self._wall_ns() - monotonic_ns
        if apart_ns - self._apart_ns > ASLEEP_NS:
            self._asleep_ns += apart_ns - self._apart_ns
        self._apart_ns = apart_ns
        return (monotonic_ns + self._asleep_ns) // 1_000_000

    def awake_ms(self) -> int:
        """See `Clock`; cheap, since it is asked at each event of a stream."""
        return self._monotonic_ns() // 1_000_000

    async def sleep_ms(self, duration_ms: int) -> None:
        """Wait so long while others run."""
        await asyncio.sleep(duration_ms / 1000)


class SystemRandomness:
    """The kernel's random bytes."""

    def bytes(self, count: int) -> bytes:
        """Give `count` bytes fit for secrets."""
        return os.urandom(count)
