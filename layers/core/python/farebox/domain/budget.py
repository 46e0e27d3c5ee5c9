"""Budgets: what they cover, which window a moment falls in, and what one request touches of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import lru_cache
from zoneinfo import ZoneInfo

from farebox.domain.money import usd_exact_text

Subject = Mapping[str, str]
"""One request by dimension: organisation, workspace, user, key, provider, model, session, metadata.NAME.

`key` is 'workspace/name', since names are unique per workspace; a scope names the key alone.
"""

DIMENSIONS = ("organisation", "workspace", "user", "key", "provider", "model", "session")
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
TOKEN_CLASSES = ("input", "cache_read", "cache_write", "output")
BUCKET_SEPARATOR = "|"
TOTAL = "total"

_MINUTE = timedelta(minutes=1)
_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)


class Unit(StrEnum):
    """What a budget counts. Amounts are picodollars for USD."""

    USD = "usd"
    TOKENS = "tokens"


class OnExhausted(StrEnum):
    """BLOCK refuses the next request; ALERT only counts."""

    BLOCK = "block"
    ALERT = "alert"


@dataclass(frozen=True, slots=True)
class Scope:
    """A conjunction of (dimension, patterns); a dimension matches when any of its globs does.

    The single pattern '*' asks for one bucket per distinct value.
    """

    terms: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def bucket(self, subject: Subject) -> str | None:
        """Give the bucket this request falls in ('' when there is only one), or None when the scope does not
        cover it.
        """
        parts: list[str] = []
        for dimension, patterns in self.terms:
            value = subject.get(dimension)
            if value is None:
                return None
            if patterns == ("*",):
                parts.append(value)
            elif not any(fnmatchcase(_bare(dimension, value), pattern) for pattern in patterns):
                return None
        return parts[0] if len(parts) == 1 else BUCKET_SEPARATOR.join(map(_escaped, parts))

    @property
    def has_one_bucket(self) -> bool:
        """Whether no term asks for a bucket per value."""
        return all(patterns != ("*",) for _, patterns in self.terms)

    def bucket_label(self, bucket: str) -> str:
        """Give a bucket as people know it: a key by its name alone."""
        dimensions = [dimension for dimension, patterns in self.terms if patterns == ("*",)]
        if len(dimensions) == 1:
            return _bare(dimensions[0], bucket)
        parts = [_unescaped(part) for part in bucket.split(BUCKET_SEPARATOR)]
        is_ours = len(parts) == len(dimensions)
        return BUCKET_SEPARATOR.join(map(_bare, dimensions, parts)) if is_ours else bucket

    def text(self) -> str:
        """Show the scope on one line: 'workspace=platform key=*'; 'everything' when there is no term."""
        return " ".join(f"{name}={','.join(patterns)}" for name, patterns in self.terms) or "everything"


@dataclass(frozen=True, slots=True)
class Window:
    """Half-open in time, UTC. `key` names it within its budget; `end` is None for a total."""

    key: str
    start: datetime | None
    end: datetime | None


@dataclass(frozen=True, slots=True)
class Budget:
    """A limit per window on a scope. `limit` is in picodollars or tokens, by `unit`.

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
    clamp: bool = False
    contact: str | None = None

    @property
    def is_blocking(self) -> bool:
        """Whether it can refuse a request."""
        return self.on_exhausted is OnExhausted.BLOCK

    def window_at(self, moment: datetime) -> Window:
        """Give the window that holds `moment`."""
        if self.period == TOTAL:
            return Window(TOTAL, None, None)
        start, end = _window_bounds(self.period, self.timezone, self.week_starts, moment)
        return Window(f"{start:%Y-%m-%dT%H:%M:%SZ}", start, end)

    def amount_text(self, amount: int) -> str:
        """Show an amount of this budget's unit: '$12.50' or '1200 tokens'."""
        return usd_exact_text(amount) if self.unit is Unit.USD else f"{amount} tokens"


@dataclass(frozen=True, slots=True)
class Touch:
    """One bucket that a request draws on, and how much of it is held or, once settled, booked."""

    budget: Budget
    bucket: str
    window: Window
    amount: int = 0


@dataclass(frozen=True, slots=True)
class Standing:
    """Where one bucket stands: amounts in its budget's unit.

    `is_marked` says that an answer was cut here for want of money, which closes the bucket until its window
    ends or its limit rises.
    """

    settled: int = 0
    held: int = 0
    is_marked: bool = False


@dataclass(frozen=True, slots=True)
class Shortage:
    """Why a reservation was refused: the first bucket that is short, and where it stood in the same step."""

    touch: Touch
    standing: Standing


def touches(budgets: Iterable[Budget], subject: Subject, moment: datetime) -> tuple[Touch, ...]:
    """Give every bucket that this subject draws on at `moment`, in the policy's order, amounts 0."""
    found = []
    for budget in budgets:
        bucket = budget.scope.bucket(subject)
        if bucket is not None:
            found.append(Touch(budget, bucket, budget.window_at(moment)))
    return tuple(found)


def _escaped(value: str) -> str:
    # Sessions and metadata come from callers: a separator inside one must not turn into another bucket.
    return value.replace("%", "%25").replace(BUCKET_SEPARATOR, "%7C")


def _unescaped(part: str) -> str:
    return part.replace("%7C", BUCKET_SEPARATOR).replace("%25", "%")


def _bare(dimension: str, value: str) -> str:
    return value.partition("/")[2] if dimension == "key" else value


def _window_bounds(
    period: str, zone_name: str, week_starts: str, moment: datetime
) -> tuple[datetime, datetime]:
    moment = moment.astimezone(UTC)
    if period == "minute":
        # No time zone is off by a fraction of a minute.
        start = moment.replace(second=0, microsecond=0)
        return start, start + _MINUTE
    zone = _zone(zone_name)
    if period == "hour":
        # Counted from local midnight, since some zones are half an hour off. A clock change of an hour keeps
        # them on the hour; one of half an hour (Lord Howe) cuts that day's last hour short.
        midnight, next_midnight = _days_around("day", week_starts, zone, moment)
        start = moment - (moment - midnight) % _HOUR
        return start, min(start + _HOUR, next_midnight)
    return _days_around(period, week_starts, zone, moment)


def _days_around(
    period: str, week_starts: str, zone: ZoneInfo, moment: datetime
) -> tuple[datetime, datetime]:
    first, after = _day_span(period, week_starts, moment.astimezone(zone).date())
    # Where the clock is changed across midnight, a date can begin later than its first minutes, or come again
    # after the next has begun. The instants of midnight decide: windows neither overlap nor leave gaps.
    if moment < _midnight(first, zone):
        first, after = _day_span(period, week_starts, first - _DAY)
    elif moment >= _midnight(after, zone):
        first, after = _day_span(period, week_starts, after)
    return _midnight(first, zone), _midnight(after, zone)


def _day_span(period: str, week_starts: str, today: date) -> tuple[date, date]:
    if period == "month":
        first = today.replace(day=1)
        return first, (first + timedelta(days=32)).replace(day=1)
    if period == "week":
        first = today - timedelta(days=(today.weekday() - WEEKDAYS.index(week_starts)) % 7)
        return first, first + timedelta(days=7)
    days = 1 if period == "day" else int(period.removesuffix("d"))
    first = today - timedelta(days=(today - date(1970, 1, 1)).days % days)
    return first, first + timedelta(days=days)


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time_of_day.min, zone).astimezone(UTC)


@lru_cache(maxsize=128)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)
