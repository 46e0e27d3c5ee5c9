"""Which window of time a moment falls in: calendar periods in a time zone, daylight saving included."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from functools import lru_cache
from zoneinfo import ZoneInfo

from msgspec import Struct

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
TOTAL = "total"

_MINUTE = timedelta(minutes=1)
_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)


class Window(Struct, frozen=True):
    """Half-open in time, UTC. `key` names it within its budget; `end` is None for a total."""

    key: str
    start: datetime | None
    end: datetime | None


def window_of(period: str, zone_name: str, week_starts: str, moment: datetime) -> Window:
    """Give the window of a period that holds `moment`."""
    if period == TOTAL:
        return Window(TOTAL, None, None)
    start, end = _window_bounds(period, zone_name, week_starts, moment)
    return Window(f"{start:%Y-%m-%dT%H:%M:%SZ}", start, end)


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
