"""Books the holds that dead processes left behind. Never forgiven silently: what was held is charged."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from farebox.domain.errors import StoreFault
from farebox.domain.event import RequestFinished
from farebox.ports import Clock, EventBus, Ledger

BATCH = 100

_log = logging.getLogger("farebox.sweep")


@dataclass(frozen=True, slots=True)
class Sweeper:
    """Runs as a timer on a laptop. Two sweepers at once book a hold once: settling is idempotent."""

    ledger: Ledger
    events: EventBus
    clock: Clock

    async def sweep(self) -> int:
        """Settle every hold whose process is gone or whose lease ran out; give how many."""
        swept = 0
        while holds := await self.ledger.expired_holds(self.clock.now(), limit=BATCH):
            for hold in holds:
                await self.ledger.settle(hold.request_id, hold.draft, hold.touches)
                await self.events.emit(RequestFinished(hold.draft))
            swept += len(holds)
        return swept

    async def run(self, every_ms: int) -> None:
        """Sweep until cancelled. A store that cannot answer is tried again at the next turn."""
        while True:
            await asyncio.sleep(every_ms / 1000)
            try:
                swept = await self.sweep()
            except StoreFault as fault:
                _log.warning("not swept: %s", fault)
            else:
                if swept:
                    _log.warning("booked %d abandoned requests", swept)
