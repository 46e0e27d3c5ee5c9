"""The one place that reads the machine's clocks and its source of randomness."""

from __future__ import annotations

import asyncio
import os
import time
from datetime import UTC, datetime


class SystemClock:
    """Time as the machine knows it."""

    def now(self) -> datetime:
        """Give the wall clock, UTC."""
        return datetime.now(UTC)

    def monotonic_ms(self) -> int:
        """Give a clock that never goes back, for durations."""
        return time.monotonic_ns() // 1_000_000

    async def sleep_ms(self, duration_ms: int) -> None:
        """Wait so long while others run."""
        await asyncio.sleep(duration_ms / 1000)


class SystemRandomness:
    """The kernel's random bytes."""

    def bytes(self, count: int) -> bytes:
        """Give `count` bytes fit for secrets."""
        return os.urandom(count)
