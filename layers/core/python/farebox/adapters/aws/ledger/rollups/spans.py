"""Hours, days and months, UTC, and how a time asked for is made of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TypeAlias

from msgspec import Struct

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

Gap: TypeAlias = tuple[datetime, datetime | None]
"""A stretch of time, half open; without an end where it goes on."""


class SpanKind(StrEnum):
    """How long a span is."""

    HOUR = "hour"
    DAY = "day"
    MONTH = "month"


_NAMES = {SpanKind.HOUR: "%Y-%m-%dT%H", SpanKind.DAY: "%Y-%m-%d", SpanKind.MONTH: "%Y-%m"}


class Span(Struct, frozen=True):
    """One hour, day or month from its first moment on."""

    kind: SpanKind
    start: datetime

    @property
    def end(self) -> datetime:
        """The first moment after it."""
        match self.kind:
            case SpanKind.HOUR:
                return self.start + HOUR
            case SpanKind.DAY:
                return self.start + DAY
            case SpanKind.MONTH:
                return (self.start + 32 * DAY).replace(day=1)

    @property
    def name(self) -> str:
        """Its kind and when it begins, as in 'day#2026-11-23'."""
        return f"{self.kind.value}#{self.start.strftime(_NAMES[self.kind])}"


class Cover(Struct, frozen=True):
    """A time as spans that are summed already, and gaps whose rows are not."""

    spans: tuple[Span, ...]
    gaps: tuple[Gap, ...]


def span_at(kind: SpanKind, moment: datetime) -> Span:
    """Give the span of a kind that holds a moment, which is in UTC."""
    start = moment.replace(minute=0, second=0, microsecond=0)
    if kind is not SpanKind.HOUR:
        start = start.replace(hour=0)
    if kind is SpanKind.MONTH:
        start = start.replace(day=1)
    return Span(kind, start)


def cover(
    since: datetime,
    until: datetime | None,
    *,
    closed_until: datetime,
    kept_since: Mapping[SpanKind, datetime],
) -> Cover:
    """Make a time of as few spans as possible.

    `closed_until` is from when on sums may still lack rows; `kept_since` says which kinds of spans there are,
    and from when on they are kept.
    """
    end = closed_until if until is None else min(until, closed_until)
    spans: list[Span] = []
    gaps: list[Gap] = []
    at = since
    while at < end:
        span = next(_usable(at, end, kept_since), None)
        if span is not None:
            spans.append(span)
            at = span.end
        else:
            onward = min(_next_start(at, min(kept_since.values())), end)
            gaps.append((at, onward))
            at = onward
    if until is None or at < until:
        gaps.append((at, until))
    return Cover(tuple(spans), tuple(_joined(gaps)))


def _usable(at: datetime, end: datetime, kept_since: Mapping[SpanKind, datetime]) -> Iterator[Span]:
    """Give the spans that begin at a moment, are kept and end in time, the longest first."""
    for kind in reversed(SpanKind):
        span = span_at(kind, at)
        if kind in kept_since and span.start == at >= kept_since[kind] and span.end <= end:
            yield span


def _next_start(at: datetime, kept_since: datetime) -> datetime:
    """Give the next moment at which a span might begin."""
    return max(span_at(SpanKind.HOUR, at).end, span_at(SpanKind.HOUR, kept_since).start)


def _joined(gaps: list[Gap]) -> Iterator[Gap]:
    joined: list[Gap] = []
    for since, until in gaps:
        if joined and joined[-1][1] == since:
            joined[-1] = (joined[-1][0], until)
        else:
            joined.append((since, until))
    return iter(joined)
