"""What expires, renewed before it does: fetched once for all who wait, and distrusted when it is refused.

The contract, for whatever has an `expires_at`:

- `current()` is cheap for each request. It fetches when there is nothing good, and again some minutes before
  what there is expires; whoever asks meanwhile gets what is still good, or waits for the one fetch.
- A fetch that fails fails for all who waited for it. While the old one is good it serves on, and the source
  is left alone for a while.
- Time is the wall clock's, so that a process that was frozen finds out at once that its token is too old.
- `distrust()` says that the other side refused it: the next is fetched, however long this one would be good.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Generic, Protocol, TypeVar

from farebox.domain.errors import StoreFault
from farebox.ports import Clock

RENEW_BEFORE = timedelta(minutes=5)
REST_MS = 10_000
"""How long a source that failed is left alone while there is something good."""


class Expiring(Protocol):
    """Anything that is good until a moment; None means for ever."""

    @property
    def expires_at(self) -> datetime | None: ...


Value = TypeVar("Value", bound=Expiring)


class Renewed(Generic[Value]):
    """See the module. `fetch` raises `StoreFault`."""

    def __init__(self, fetch: Callable[[], Awaitable[Value]], clock: Clock) -> None:
        self._fetch, self._clock = fetch, clock
        self._fetching = asyncio.Lock()
        self._kept: Value | None = None
        self._margin = timedelta(0)
        self._fault: StoreFault | None = None
        self._faults = 0
        self._rests_until_ms = 0
        self.fetched_ms = 0

    async def current(self) -> Value:
        """Give what is good now. Raises `StoreFault`."""
        kept = self._good()
        if kept is not None and (self._fetching.locked() or not self._is_due(kept)):
            return kept
        faults = self._faults
        async with self._fetching:
            kept = self._good()
            if kept is not None and not self._is_due(kept):
                return kept
            if kept is None and self._fault is not None and self._faults != faults:
                raise StoreFault(self._fault.detail)
            return await self._renew()

    def distrust(self, refused: Value) -> None:
        """Say that the other side refused this: the next must be another, if there is any."""
        if self._kept == refused:
            self._kept = None

    async def _renew(self) -> Value:
        began_at = self._clock.now()
        try:
            found = await self._fetch()
        except StoreFault as fault:
            self._fault, self._faults = fault, self._faults + 1
            self._rests_until_ms = self._clock.monotonic_ms() + REST_MS
            kept = self._good()
            if kept is None:
                raise
            return kept
        if found.expires_at is not None:
            # One that lives for minutes only is kept for half of them.
            self._margin = min(RENEW_BEFORE, (found.expires_at - began_at) / 2)
        self._kept, self._rests_until_ms = found, 0
        self.fetched_ms = self._clock.monotonic_ms()
        return found

    def _good(self) -> Value | None:
        kept = self._kept
        if kept is None or kept.expires_at is None or self._clock.now() < kept.expires_at:
            return kept
        return None

    def _is_due(self, kept: Value) -> bool:
        if kept.expires_at is None or self._clock.now() + self._margin < kept.expires_at:
            return False
        return self._clock.monotonic_ms() >= self._rests_until_ms
