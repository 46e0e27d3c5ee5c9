"""Times and spans as the outside writes them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from farebox.http.moments import read_after, read_before, read_moment, read_span, utc_text
from tests.support.builders import NOON


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (NOON, "2026-11-23T12:00:00Z"),
        (NOON.replace(microsecond=120_000), "2026-11-23T12:00:00.120Z"),
        (NOON.replace(microsecond=123_456), "2026-11-23T12:00:00.123456Z"),
        (datetime(2026, 11, 23, 14, tzinfo=timezone(timedelta(hours=2))), "2026-11-23T12:00:00Z"),
    ],
)
def test_moments_are_written_in_utc_with_the_digits_they_need(moment: datetime, text: str) -> None:
    assert utc_text(moment) == text
    assert read_moment(text) == moment


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("45s", timedelta(seconds=45)),
        ("30m", timedelta(minutes=30)),
        ("12h", timedelta(hours=12)),
        ("30d", timedelta(days=30)),
        ("2w", timedelta(weeks=2)),
    ],
)
def test_spans_count_from_now_either_way(text: str, span: timedelta) -> None:
    assert read_span(text) == span
    assert read_after(text, NOON) == NOON + span
    assert read_before(text, NOON) == NOON - span


def test_a_moment_stands_for_itself() -> None:
    assert read_before("2026-11-01T02:00:00+02:00", NOON) == datetime(2026, 11, 1, tzinfo=UTC)


def test_a_day_is_its_midnight_in_utc() -> None:
    assert read_before("2026-11-01", NOON) == read_after("2026-11-01", NOON)
    assert read_before("2026-11-01", NOON) == datetime(2026, 11, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["", "0d", "-1d", "30", "1y", "2026-13-01", "20261101", "2026-11-01T00:00:00", "soon", "99999w"]
)
def test_what_is_neither_span_nor_moment_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be a span"):
        read_before(text, NOON)
