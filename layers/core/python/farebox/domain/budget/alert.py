"""Thresholds: which shares of a limit a bucket has reached, and what is told of it."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from farebox.domain.budget.limit import Budget, Unit
from farebox.domain.budget.window import Window
from farebox.domain.money import usd_exact_text

EXHAUSTED = 100


class Crossing(Struct, frozen=True):
    """A bucket has reached `threshold` percent of a limit, in one window.

    Decided once for each `identity`: a raised limit is another one, and so is the next window. `settled` is
    what was booked when it was decided; it is below the threshold where a request was refused for want of
    what is left. `label` is the bucket as people know it.
    """

    budget: str
    unit: Unit
    bucket: str
    window: Window
    limit: int
    threshold: int
    settled: int
    at: datetime
    label: str = ""
    is_blocking: bool = True

    @property
    def identity(self) -> tuple[str, str, str, str, int, int]:
        """What makes it the same crossing: budget, unit, bucket, window, limit, threshold."""
        return (self.budget, self.unit.value, self.bucket, self.window.key, self.limit, self.threshold)

    @property
    def text(self) -> str:
        """One or two sentences for people."""
        name = f"Budget '{self.budget}'" + (f" ({self.label})" if self.label else "")
        amounts = f"{self._amount(self.settled)} of {self._amount(self.limit)} spent"
        end = self.window.end
        reset = f"It resets at {end:%Y-%m-%dT%H:%M:%SZ}." if end else "It does not reset by itself."
        if self.threshold >= EXHAUSTED and self.is_blocking:
            return f"{name} is exhausted: {amounts}. Requests that do not fit are refused. {reset}"
        return f"{name} has reached {self.threshold} %: {amounts}. {reset}"

    def _amount(self, amount: int) -> str:
        return usd_exact_text(amount) if self.unit is Unit.USD else f"{amount} tokens"


def crossings(
    budget: Budget, bucket: str, window: Window, settled: int, at: datetime, *, is_exhausted: bool = False
) -> tuple[Crossing, ...]:
    """Give every threshold that a bucket has reached, lowest first; `budget` is in force.

    `is_exhausted` says that its last words were a refusal or a cut: that is the end of it, whatever is left.
    """
    reached = sorted({share for share in budget.alerts if _is_reached(budget, settled, share, is_exhausted)})
    return tuple(
        Crossing(
            budget=budget.name,
            unit=budget.unit,
            bucket=bucket,
            window=window,
            limit=budget.limit,
            threshold=share,
            settled=settled,
            at=at,
            label=budget.scope.bucket_label(bucket),
            is_blocking=budget.is_blocking,
        )
        for share in reached
    )


def _is_reached(budget: Budget, settled: int, share: int, is_exhausted: bool) -> bool:
    if is_exhausted and share == EXHAUSTED:
        return True
    # A free request on a budget of nothing has reached nothing.
    return settled > 0 and settled * 100 >= share * budget.limit
