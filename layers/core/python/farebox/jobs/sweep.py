"""Books the holds that dead processes left behind. Never forgiven silently: what was held is charged."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from msgspec import Struct, field

from farebox.domain.budget import Touch
from farebox.domain.errors import StoreFault
from farebox.domain.event import RequestFinished
from farebox.domain.record import Billing, RequestRecord, booked_on
from farebox.ports import Clock, EventBus, Hold, Ledger, Policies

BATCH = 100
FAULTS_MAX = 5
"""After so many in a row it is the store that is away, and not a hold that it does not take."""

_log = logging.getLogger("farebox.sweep")


class Sweeper(Struct, frozen=True):
    """Runs as a timer on a laptop. Two sweepers at once book a hold once: settling is idempotent."""

    ledger: Ledger
    policies: Policies
    events: EventBus
    clock: Clock
    failed: set[str] = field(default_factory=set)

    async def sweep(self) -> int:
        """Settle every hold whose process is gone or whose lease ran out; give how many.

        One that the store does not take keeps no other from being settled: it comes last, also in the next
        sweep. Raises `StoreFault` for it in the end.
        """
        swept = faults = 0
        tried: set[str] = set()
        while holds := [hold for hold in await self._expired() if hold.request_id not in tried]:
            for hold in holds:
                tried.add(hold.request_id)
                try:
                    await self._settle(hold)
                except StoreFault as fault:
                    _log.error("hold of %s is not booked: %s", hold.request_id, fault)
                    self.failed.add(hold.request_id)
                    faults += 1
                    if faults == FAULTS_MAX:
                        raise
                else:
                    self.failed.discard(hold.request_id)
                    swept, faults = swept + 1, 0
        if self.failed & tried:
            raise StoreFault(f"{swept} abandoned requests are booked, {len(self.failed & tried)} are not")
        return swept

    async def _expired(self) -> list[Hold]:
        holds = await self.ledger.expired_holds(self.clock.now(), limit=BATCH)
        return sorted(holds, key=lambda hold: hold.request_id in self.failed)

    async def _settle(self, hold: Hold) -> None:
        booked = (*hold.touches, *await self._counted(hold.draft))
        await self.ledger.settle(hold.request_id, hold.draft, booked)
        await self.events.emit(RequestFinished(hold.draft))

    async def _counted(self, draft: RequestRecord) -> tuple[Touch, ...]:
        """Give what alert-only budgets count of an abandoned request: they hold nothing."""
        policy = await self.policies.current()
        budgets = policy.budgets_of(draft.session_id, draft.at)
        counting = [budget for budget in budgets if not budget.is_blocking]
        if draft.billing is Billing.SUBSCRIPTION:
            counting = [budget for budget in counting if budget.include_subscription]
        return booked_on(counting, draft)

    async def run(self, every_ms: int, renew: Callable[[], Awaitable[None]]) -> None:
        """Sweep until cancelled. A store that cannot answer is tried again at the next turn.

        `renew` moves the leases of this process's own requests, which live however long the machine slept.
        """
        while True:
            await asyncio.sleep(every_ms / 1000)
            await renew()
            try:
                swept = await self.sweep()
            except StoreFault as fault:
                _log.warning("not swept: %s", fault)
            else:
                if swept:
                    _log.warning("booked %d abandoned requests", swept)
