"""Facts that the rest of the house is told, in the past tense."""

from __future__ import annotations

from datetime import datetime
from typing import TypeAlias

from msgspec import Struct

from farebox.domain.budget.alert import Crossing
from farebox.domain.record import RequestRecord
from farebox.domain.routing.breaker import BreakerKey, BreakerState


class RequestFinished(Struct, frozen=True):
    """A request ended and was booked, whatever its outcome.

    `exhausted_budget` names the budget that cut it, or that refused it for want of what is left.
    """

    record: RequestRecord
    exhausted_budget: str | None = None


class BudgetThresholdCrossed(Struct, frozen=True):
    """A bucket reached a threshold of its limit, and nobody had decided so before."""

    crossing: Crossing


class BreakerMoved(Struct, frozen=True):
    """A circuit breaker opened, opened again after a probe, or closed."""

    key: BreakerKey
    state: BreakerState
    at: datetime


Event: TypeAlias = RequestFinished | BudgetThresholdCrossed | BreakerMoved
