"""Times as the outside writes them: RFC 3339, a day, and spans such as 30d that count from now."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from farebox.domain.errors import ConfigInvalid

_SPAN = re.compile(r"([1-9][0-9]{0,5})([smhdw])")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_SPAN_MAX = timedelta(days=36_500)


def utc_text(moment: datetime) -> str:
    """Write a moment as RFC 3339 in UTC, with no more digits after the second than it needs."""
    utc = moment.astimezone(UTC)
    precision = "milliseconds" if utc.microsecond and utc.microsecond % 1_000 == 0 else "auto"
    return utc.isoformat(timespec=precision).replace("+00:00", "Z")


def optional_utc_text(moment: datetime | None) -> str | None:
    """Write a moment that may not be there."""
    return None if moment is None else utc_text(moment)


def read_moment(text: str) -> datetime:
    """Read RFC 3339 with its zone, as UTC. Raises `ValueError`."""
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise ValueError("must be a time such as 2027-01-31T00:00:00Z")


def read_span(text: str) -> timedelta:
    """Read a span: a whole number and s, m, h, d or w. Raises `ValueError`."""
    match = _SPAN.fullmatch(text)
    span = timedelta(seconds=int(match[1]) * _UNITS_S[match[2]]) if match else timedelta()
    if not timedelta() < span <= _SPAN_MAX:
        raise ValueError("must be a span such as 30d, 12h or 45m")
    return span


def read_before(text: str, now: datetime) -> datetime:
    """Read a moment, a day, or a span that ends now. Raises `ValueError`."""
    return _read(text, now, -1)


def read_field(field: str, text: str, now: datetime) -> datetime:
    """Read as `read_before` does. Raises `ConfigInvalid` naming the field."""
    try:
        return read_before(text, now)
    except ValueError as error:
        raise ConfigInvalid(field, str(error)) from None


def read_after(text: str, now: datetime) -> datetime:
    """Read a moment, a day, or a span that begins now. Raises `ValueError`."""
    return _read(text, now, 1)


def _read(text: str, now: datetime, direction: int) -> datetime:
    if _SPAN.fullmatch(text):
        return now + direction * read_span(text)
    try:
        return read_moment(f"{text}T00:00:00Z" if _DAY.fullmatch(text) else text)
    except ValueError:
        raise ValueError(
            "must be a span such as 30d or 12h, a day such as 2027-01-31 (its midnight UTC), "
            "or a time such as 2027-01-31T00:00:00Z"
        ) from None
