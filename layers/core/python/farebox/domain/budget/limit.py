"""Budgets: a limit per window on a scope, what raises it for a time, and what one request touches."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from farebox.domain.budget.scope import Scope, Subject
from farebox.domain.budget.window import Window, window_of
from farebox.domain.money import usd_exact_text

TOKEN_CLASSES = ("input", "cache_read", "cache_write", "output")


class Unit(StrEnum):
    """What a budget counts. Amounts are picodollars for USD."""

    USD = "usd"
    TOKENS = "tokens"


class OnExhausted(StrEnum):
    """BLOCK refuses the next request; ALERT only counts."""

    BLOCK = "block"
    ALERT = "alert"


class Raise(Struct, frozen=True):
    """Lifts a limit to `limit` until a moment, for one bucket or, where that is None, for all of a budget's.

    One that is not above the policy's own limit changes nothing.
    """

    limit: int
    until: datetime
    reason: str
    bucket: str | None = None


class Budget(Struct, frozen=True):
    """A limit per window on a scope. `limit` is in picodollars or tokens, by `unit`.

    `limit` is the policy's own; `raises` may lift it for a time. What a request touches is a budget
    `in_force`, whose limit is the one that counts and which has no raises any more.

    With `clamp`, a request whose answer cannot be cut may be asked to answer shorter, so that it fits.

    `period` is minute, hour, day, week, month, total or 'Nd' (N days, counted from 1970-01-01 in the time
    zone).
    """

    name: str
    scope: Scope
    unit: Unit
    limit: int
    period: str
    timezone: str = "UTC"
    week_starts: str = "monday"
    on_exhausted: OnExhausted = OnExhausted.BLOCK
    include_subscription: bool = False
    count: tuple[str, ...] = TOKEN_CLASSES
    alerts: tuple[int, ...] = (50, 80, 100)
    contact: str | None = None
    clamp: bool = False
    raises: tuple[Raise, ...] = ()

    @property
    def is_blocking(self) -> bool:
        """Whether it can refuse a request."""
        return self.on_exhausted is OnExhausted.BLOCK

    def window_at(self, moment: datetime) -> Window:
        """Give the window that holds `moment`."""
        return window_of(self.period, self.timezone, self.week_starts, moment)

    def amount_text(self, amount: int) -> str:
        """Show an amount of this budget's unit: '$12.50' or '1200 tokens'."""
        return usd_exact_text(amount) if self.unit is Unit.USD else f"{amount} tokens"

    def raise_at(self, bucket: str, moment: datetime) -> Raise | None:
        """Give the raise that a bucket's limit comes from at `moment`; None where the policy's own counts."""
        higher = [
            each
            for each in self.raises
            if each.limit > self.limit and moment < each.until and each.bucket in (None, bucket)
        ]
        return max(higher, key=lambda each: (each.limit, each.until), default=None)

    def in_force(self, bucket: str, moment: datetime) -> Budget:
        """Give the budget with the limit that counts for a bucket at `moment`."""
        if not self.raises:
            return self
        raised = self.raise_at(bucket, moment)
        return replace(self, limit=raised.limit if raised else self.limit, raises=())


class Touch(Struct, frozen=True):
    """One bucket that a request draws on, and how much of it is held or, once settled, booked."""

    budget: Budget
    bucket: str
    window: Window
    amount: int = 0

    @property
    def key(self) -> tuple[str, Unit, str, str]:
        """Name the bucket: budget, unit, window and value."""
        return self.budget.name, self.budget.unit, self.window.key, self.bucket


class Standing(Struct, frozen=True):
    """Where one bucket stands: amounts in its budget's unit.

    `is_marked` says that an answer was cut here for want of money, which closes the bucket until its window
    ends or its limit rises.
    """

    settled: int = 0
    held: int = 0
    is_marked: bool = False


class Shortage(Struct, frozen=True):
    """Why a reservation was refused: the first bucket that is short, and where it stood in the same step."""

    touch: Touch
    standing: Standing


def touches(budgets: Iterable[Budget], subject: Subject, moment: datetime) -> tuple[Touch, ...]:
    """Give every bucket that this subject draws on at `moment`, in the policy's order, amounts 0.

    Their budgets have the limits that are in force then.
    """
    found = []
    for budget in budgets:
        bucket = budget.scope.bucket(subject)
        if bucket is not None:
            found.append(Touch(budget.in_force(bucket, moment), bucket, budget.window_at(moment)))
    return tuple(found)


def added_up(drawn: Iterable[Touch]) -> tuple[Touch, ...]:
    """Make one touch of all that draw on the same bucket, in the order in which buckets first come up."""
    by_bucket: dict[tuple[str, Unit, str, str], Touch] = {}
    for touch in drawn:
        known = by_bucket.get(touch.key)
        by_bucket[touch.key] = touch if known is None else replace(known, amount=known.amount + touch.amount)
    return tuple(by_bucket.values())
