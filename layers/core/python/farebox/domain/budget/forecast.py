"""How fast a bucket is spent, and when it will be empty if that goes on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from msgspec import Struct

from farebox.domain.budget.limit import Budget
from farebox.domain.budget.window import Window

HOUR = timedelta(hours=1)
LOOK_BACK = timedelta(hours=24)
"""How much of the ledger is looked at where a window is too young to tell a rate, or has no beginning."""

END_OF_TIME = datetime.max.replace(tzinfo=UTC)

_SECOND = timedelta(seconds=1)
_MICROSECOND = timedelta(microseconds=1)


class Spending(Struct, frozen=True):
    """What was booked on one bucket since some moment, in its budget's unit, and when the first of it was.

    `is_cut` says that older rows were left out, of all buckets: the amount is what came since `first_at`.
    """

    amount: int = 0
    first_at: datetime | None = None
    is_cut: bool = False


def burn_rate(window: Window, settled: int, recent: Spending, now: datetime) -> int:
    """Give what is spent in an hour, rounded down.

    Over the window so far. In its first hour, and for a total, over the `recent` spending: what the last 24
    hours booked, from the first of it on and over an hour at least, or over what was looked at of them.
    """
    if window.start is not None and now - window.start >= HOUR:
        return _per_hour(settled, now - window.start)
    if recent.first_at is None:
        return 0
    # What was looked at whole may have begun a minute ago; what was cut has gone on for longer.
    least = _SECOND if recent.is_cut else HOUR
    return _per_hour(recent.amount, max(now - recent.first_at, least))


def exhausted_at(budget: Budget, bucket: str, settled: int, rate: int, now: datetime) -> datetime | None:
    """Give when the limit will be reached at `rate` an hour, raises and their ends included.

    None when it is reached already, when nothing is being spent, and when the window ends before.
    """
    if settled >= budget.in_force(bucket, now).limit or rate <= 0:
        return None
    end = budget.window_at(now).end
    since = now
    for until in [*sorted(each.until for each in budget.raises if now < each.until), None]:
        left = budget.in_force(bucket, since).limit - settled
        # The end of a raise may come when more than the limit after it is spent already.
        found = max(since, _later(now, left, rate))
        if until is None or found < until:
            return found if found < (end or END_OF_TIME) else None
        since = until
    raise AssertionError("the last stretch has no end")


def _later(now: datetime, amount: int, rate: int) -> datetime:
    """Give when so much will have been spent at `rate` an hour, counted from now."""
    microseconds = amount * (HOUR // _MICROSECOND) // rate
    try:
        return now + timedelta(microseconds=microseconds)
    except OverflowError:
        return END_OF_TIME


def _per_hour(amount: int, span: timedelta) -> int:
    return amount * (HOUR // _MICROSECOND) // (span // _MICROSECOND)
