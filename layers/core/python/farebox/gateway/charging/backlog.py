"""Settlements that the store could not take, kept until it can."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence

from farebox.domain.budget import Touch
from farebox.domain.errors import StoreFault
from farebox.domain.record import RequestRecord
from farebox.ports import Ledger

RETRY_EVERY_S = 2
# Beyond this the log lines remain, and `farebox replay` books them.
ENTRIES_MAX = 100_000
FAULTS_MAX = 2

_log = logging.getLogger("farebox.backlog")


class Backlog:
    """In memory. A process that dies loses it: then the hold is swept and the log replayed."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._waiting: deque[tuple[RequestRecord, Sequence[Touch]]] = deque(maxlen=ENTRIES_MAX)

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, record: RequestRecord, booked: Sequence[Touch]) -> None:
        """Keep a settlement for later."""
        self._waiting.append((record, booked))

    async def settle(self) -> int:
        """Try what waits, each once, until the store fails twice in a row; give how many were booked.

        What cannot be booked goes behind the others: it may be the row that the store does not take.
        """
        settled = faults = 0
        for _ in range(len(self._waiting)):
            if not self._waiting:
                # Somebody else tries the rest.
                break
            record, booked = self._waiting.popleft()
            is_booked = False
            try:
                await self._ledger.settle(record.id, record, booked)
                is_booked = True
            except StoreFault:
                faults += 1
                if faults == FAULTS_MAX:
                    break
            except (ArithmeticError, LookupError, TypeError, ValueError):
                _log.exception("%s cannot be booked", record.id)
            else:
                settled, faults = settled + 1, 0
            finally:
                # Also where the call is cancelled.
                if not is_booked:
                    self._waiting.append((record, booked))
        return settled

    async def run(self) -> None:
        """Try again every two seconds until cancelled."""
        while True:
            await asyncio.sleep(RETRY_EVERY_S)
            if self._waiting and (settled := await self.settle()):
                _log.warning("booked %d settlements that the store had not taken", settled)
