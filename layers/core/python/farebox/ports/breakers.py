"""The socket of what all processes know of circuit breakers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from farebox.domain.routing.breaker import Breaker, BreakerKey


class Breakers(Protocol):
    """The state of circuit breakers. They are few: those that failed lately.

    All raise `StoreFault` when the store cannot answer.
    """

    async def breakers(self, now: datetime) -> Sequence[Breaker]:
        """Give every breaker that is known, in the order of keys, in one read."""

    async def breaker(self, key: BreakerKey, now: datetime) -> Breaker | None:
        """Give one as it stands."""

    async def put(self, breaker: Breaker, now: datetime) -> bool:
        """Store a breaker in the place of the version before its own, of none where it is the first; say
        whether that is what stood there. It is forgotten after `FORGOTTEN_AFTER`.
        """
