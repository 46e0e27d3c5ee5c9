"""Keeps the holds of running requests alive, so that only a dead process loses them."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

from farebox.domain.errors import StoreFault
from farebox.ports import Clock, Hold, Ledger

RENEWALS_PER_LEASE = 3

_log = logging.getLogger("farebox.leases")


class Leases:
    """The open holds of this process. `run` renews them three times a lease, on the hold alone."""

    def __init__(self, ledger: Ledger, clock: Clock, lease_ms: int) -> None:
        self._ledger, self._clock, self._lease_ms = ledger, clock, lease_ms
        self._open: set[str] = set()

    def keep(self, hold: Hold | None) -> None:
        """Renew this hold from now on."""
        if hold is not None:
            self._open.add(hold.request_id)

    def drop(self, request_id: str) -> None:
        """Stop renewing: the hold was resolved."""
        self._open.discard(request_id)

    async def run(self) -> None:
        """Renew until cancelled. A store that cannot answer is tried again at the next turn."""
        while True:
            await asyncio.sleep(self._lease_ms / 1000 / RENEWALS_PER_LEASE)
            await self.renew()

    async def renew(self) -> None:
        """Move the lease of every open hold."""
        lease_until = self._clock.now() + timedelta(milliseconds=self._lease_ms)
        for request_id in tuple(self._open):
            try:
                await self._ledger.renew(request_id, lease_until)
            except StoreFault as fault:
                _log.warning("lease of %s not renewed: %s", request_id, fault)
