"""Tells whoever should know that a threshold was crossed: at least once, over restarts too."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

import msgspec
from msgspec import Struct

from farebox.domain.budget import Unit
from farebox.domain.budget.alert import Crossing
from farebox.domain.errors import StoreFault
from farebox.domain.event import BudgetThresholdCrossed, Event
from farebox.domain.money import usd_text
from farebox.ports import Clock, Thresholds

UNTOLD_AT_ONCE = 100

Teller: TypeAlias = Callable[[Crossing], Awaitable[None]]

_log = logging.getLogger("farebox.notify")


class NotTold(Exception):
    """A teller gave up; the crossing stays untold, and is tried again when the gateway next starts."""


class Notifier:
    """A listener that queues, and `run`, which tells one crossing after the other."""

    def __init__(self, thresholds: Thresholds, tellers: Sequence[Teller], clock: Clock) -> None:
        self._thresholds, self._tellers, self._clock = thresholds, tuple(tellers), clock
        self._queue: asyncio.Queue[Crossing] = asyncio.Queue()
        self._taken: set[tuple[str, str, str, str, int, int]] = set()

    def __call__(self, event: Event) -> None:
        """Queue a crossing that was decided."""
        if isinstance(event, BudgetThresholdCrossed):
            self._take(event.crossing)

    async def run(self) -> None:
        """Tell what earlier processes left untold, then what comes, until cancelled."""
        try:
            for crossing in await self._untold():
                self._take(crossing)
        except StoreFault as fault:
            _log.warning("what is untold is not known: %s", fault)
        while True:
            crossing = await self._queue.get()
            await self.tell(crossing)
            self._taken.discard(crossing.identity)

    async def tell(self, crossing: Crossing) -> bool:
        """Tell everybody, then note so: told twice rather than never. Say whether that was done."""
        try:
            for teller in self._tellers:
                await teller(crossing)
            await self._thresholds.told(crossing, self._clock.now())
        except (NotTold, StoreFault) as fault:
            _log.warning(
                "budget %s at %d %%: not everybody was told: %s", crossing.budget, crossing.threshold, fault
            )
            return False
        return True

    async def _untold(self) -> Sequence[Crossing]:
        limit = UNTOLD_AT_ONCE
        while len(untold := await self._thresholds.untold(limit=limit)) == limit:
            limit *= 2
        return untold

    def _take(self, crossing: Crossing) -> None:
        # What is decided while `run` reads the untold comes both ways.
        if crossing.identity not in self._taken:
            self._taken.add(crossing.identity)
            self._queue.put_nowait(crossing)


class CrossingLog(Struct, frozen=True):
    """Writes one JSON line a crossing to `write`, which gets it without its end."""

    write: Callable[[str], None]

    async def __call__(self, crossing: Crossing) -> None:
        """Log a crossing."""
        line = {
            "event": "budget_threshold",
            "at": f"{crossing.at:%Y-%m-%dT%H:%M:%S.%fZ}",
            **crossing_document(crossing),
        }
        self.write(msgspec.json.encode(line).decode())


def crossing_document(crossing: Crossing) -> dict[str, object]:
    """Give what is told of a crossing: no secret is in it. `_usd` amounts are null for token budgets."""
    is_usd = crossing.unit is Unit.USD
    end = crossing.window.end
    return {
        "text": crossing.text,
        "budget": crossing.budget,
        "bucket": crossing.label,
        "threshold": crossing.threshold,
        "unit": crossing.unit.value,
        "settled": usd_text(crossing.settled) if is_usd else crossing.settled,
        "limit": usd_text(crossing.limit) if is_usd else crossing.limit,
        "settled_usd": usd_text(crossing.settled) if is_usd else None,
        "limit_usd": usd_text(crossing.limit) if is_usd else None,
        "window": crossing.window.key,
        "resets_at": f"{end:%Y-%m-%dT%H:%M:%SZ}" if end else None,
    }
