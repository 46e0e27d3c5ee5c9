"""Any time is made of spans and gaps that lie end to end, none of them twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.adapters.aws.ledger.rollups.spans import Span, SpanKind, cover, span_at

EVER = datetime.min.replace(tzinfo=UTC)
ALL_KEPT = dict.fromkeys(SpanKind, EVER)
LATE = datetime(2100, 1, 1, tzinfo=UTC)

moments = st.datetimes(
    datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC), allow_imaginary=False
)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@given(
    since=moments,
    until=st.none() | moments,
    closed_until=moments,
    hours_since=moments,
    days_since=moments | st.just(EVER),
    has_months=st.booleans(),
)
def test_spans_and_gaps_are_the_time_itself(
    since: datetime,
    until: datetime | None,
    closed_until: datetime,
    hours_since: datetime,
    days_since: datetime,
    has_months: bool,
) -> None:
    kept = {SpanKind.HOUR: hours_since, SpanKind.DAY: days_since}
    if has_months:
        kept[SpanKind.MONTH] = EVER
    found = cover(since, until, closed_until=closed_until, kept_since=kept)
    pieces = [(span.start, span.end) for span in found.spans] + [
        (start, LATE if end is None else end) for start, end in found.gaps
    ]
    end = LATE if until is None else until
    reached = since
    for start, onward in sorted(pieces):
        assert start == reached < onward
        reached = onward
    assert reached == end or (not pieces and end <= since)
    for span in found.spans:
        assert span == span_at(span.kind, span.start)
        assert span.end <= closed_until
        assert span.start >= kept[span.kind]


def test_a_year_and_a_bit_is_made_of_months_days_and_hours() -> None:
    found = cover(
        at("2025-12-30T22:30:00"), at("2027-01-02T01:00:00"), closed_until=LATE, kept_since=ALL_KEPT
    )
    assert [span.name for span in found.spans] == [
        "hour#2025-12-30T23",
        "day#2025-12-31",
        *(f"month#2026-{month:02d}" for month in range(1, 13)),
        "day#2027-01-01",
        "hour#2027-01-02T00",
    ]
    assert found.gaps == ((at("2025-12-30T22:30:00"), at("2025-12-30T23:00:00")),)


def test_what_may_still_lack_rows_and_what_has_expired_is_left_to_the_rows() -> None:
    kept = {SpanKind.HOUR: at("2026-11-23T10:00:00"), SpanKind.DAY: EVER}
    found = cover(at("2026-11-22T23:00:00"), None, closed_until=at("2026-11-23T12:00:00"), kept_since=kept)
    assert [span.name for span in found.spans] == ["hour#2026-11-23T10", "hour#2026-11-23T11"]
    assert found.gaps == (
        (at("2026-11-22T23:00:00"), at("2026-11-23T10:00:00")),
        (at("2026-11-23T12:00:00"), None),
    )


@pytest.mark.parametrize(
    ("kind", "start", "end"),
    [
        (SpanKind.HOUR, "2026-02-28T23:00:00", "2026-03-01T00:00:00"),
        (SpanKind.DAY, "2026-02-28T00:00:00", "2026-03-01T00:00:00"),
        (SpanKind.MONTH, "2026-12-01T00:00:00", "2027-01-01T00:00:00"),
    ],
)
def test_a_span_ends_where_the_next_begins(kind: SpanKind, start: str, end: str) -> None:
    span = span_at(kind, at(end) - timedelta(microseconds=1))
    assert (span, span.end) == (Span(kind, at(start)), at(end))
