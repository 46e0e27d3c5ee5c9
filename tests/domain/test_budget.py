"""What a budget covers, and which window a moment falls in, clock changes and odd zones included."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.domain.budget import WEEKDAYS, OnExhausted, Scope, Touch, Window, touches
from tests.support.builders import NOON, a_budget, a_scope

SUBJECT = {
    "organisation": "default",
    "workspace": "platform",
    "user": "alice@example.com",
    "key": "platform/alice",
    "provider": "anthropic",
    "model": "claude-sonnet-4-5",
    "session": "s1",
    "metadata.team": "core",
}

ODD_ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/St_Johns",  # until 2011 changed at 00:01, back across midnight
    "America/Havana",  # midnight comes twice
    "Africa/Cairo",  # midnight does not come
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",  # changes by half an hour
    "Antarctica/Troll",  # changes by two hours
    "Pacific/Apia",  # skipped 2011-12-30
    "Pacific/Chatham",
    "Africa/Casablanca",
)
PERIODS = ("minute", "hour", "day", "week", "month", "3d", "30d")

zones = st.sampled_from(ODD_ZONES)
periods = st.sampled_from(PERIODS)
moments = st.datetimes(datetime(1975, 1, 1), datetime(2037, 1, 1), timezones=st.just(UTC))


def window(period: str, text: str, timezone: str = "UTC", week_starts: str = "monday") -> tuple[str, str]:
    """Give the window of a local time as two local times, clock offsets shown."""
    zone = ZoneInfo(timezone)
    moment = datetime.fromisoformat(text)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=zone)
    found = a_budget(period=period, timezone=timezone, week_starts=week_starts).window_at(moment)
    assert found.start is not None
    assert found.end is not None
    assert found.key == found.start.strftime("%Y-%m-%dT%H:%M:%SZ")
    return found.start.astimezone(zone).isoformat(), found.end.astimezone(zone).isoformat()


@pytest.mark.parametrize(
    ("period", "start", "end"),
    [
        ("minute", "2026-11-23T12:34:00+00:00", "2026-11-23T12:35:00+00:00"),
        ("hour", "2026-11-23T12:00:00+00:00", "2026-11-23T13:00:00+00:00"),
        ("day", "2026-11-23T00:00:00+00:00", "2026-11-24T00:00:00+00:00"),
        ("week", "2026-11-23T00:00:00+00:00", "2026-11-30T00:00:00+00:00"),
        ("month", "2026-11-01T00:00:00+00:00", "2026-12-01T00:00:00+00:00"),
        ("1d", "2026-11-23T00:00:00+00:00", "2026-11-24T00:00:00+00:00"),
        ("7d", "2026-11-19T00:00:00+00:00", "2026-11-26T00:00:00+00:00"),  # 1970-01-01 was a Thursday
    ],
)
def test_each_period_has_its_window(period: str, start: str, end: str) -> None:
    assert window(period, "2026-11-23T12:34:56.789") == (start, end)


def test_a_total_has_one_window_for_all_time() -> None:
    assert a_budget(period="total").window_at(NOON) == Window("total", None, None)


@pytest.mark.parametrize(
    ("month", "next_month"),
    [("2026-01-31", "2026-02-01"), ("2028-02-29", "2028-03-01"), ("2026-12-31", "2027-01-01")],
)
def test_a_month_ends_with_its_last_day(month: str, next_month: str) -> None:
    assert window("month", f"{month}T23:59:59.999999")[1] == f"{next_month}T00:00:00+00:00"
    assert window("month", f"{next_month}T00:00:00")[0] == f"{next_month}T00:00:00+00:00"


@pytest.mark.parametrize(
    ("week_starts", "first"),
    [("monday", "23"), ("tuesday", "17"), ("wednesday", "18"), ("saturday", "21"), ("sunday", "22")],
)
def test_a_week_starts_on_the_day_that_was_chosen(week_starts: str, first: str) -> None:
    start, _ = window("week", "2026-11-23T00:00:00", week_starts=week_starts)
    assert start == f"2026-11-{first}T00:00:00+00:00"


@pytest.mark.parametrize(
    ("date", "start", "end", "hours"),
    [
        ("2026-03-29", "2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00", 23),
        ("2026-10-25", "2026-10-25T00:00:00+02:00", "2026-10-26T00:00:00+01:00", 25),
    ],
)
def test_a_day_of_a_clock_change_is_shorter_or_longer(date: str, start: str, end: str, hours: int) -> None:
    assert window("day", f"{date}T12:00:00", "Europe/Berlin") == (start, end)
    assert datetime.fromisoformat(end) - datetime.fromisoformat(start) == timedelta(hours=hours)


@pytest.mark.parametrize(
    ("week_starts", "start", "end", "hours"),
    [
        ("monday", "2026-03-23T00:00:00+01:00", "2026-03-30T00:00:00+02:00", 7 * 24 - 1),
        ("sunday", "2026-03-29T00:00:00+01:00", "2026-04-05T00:00:00+02:00", 7 * 24 - 1),
        ("saturday", "2026-03-28T00:00:00+01:00", "2026-04-04T00:00:00+02:00", 7 * 24 - 1),
    ],
)
def test_a_week_of_a_clock_change_starts_and_ends_at_midnight(
    week_starts: str, start: str, end: str, hours: int
) -> None:
    moment = "2026-03-29T12:00:00"
    assert window("week", moment, "Europe/Berlin", week_starts=week_starts) == (start, end)
    assert datetime.fromisoformat(end) - datetime.fromisoformat(start) == timedelta(hours=hours)


def test_the_hour_that_comes_twice_is_two_windows() -> None:
    assert window("hour", "2026-10-25T02:30:00+02:00", "Europe/Berlin") == (
        "2026-10-25T02:00:00+02:00",
        "2026-10-25T02:00:00+01:00",
    )
    assert window("hour", "2026-10-25T02:30:00+01:00", "Europe/Berlin") == (
        "2026-10-25T02:00:00+01:00",
        "2026-10-25T03:00:00+01:00",
    )


def test_an_hour_follows_the_clock_of_a_zone_half_an_hour_off() -> None:
    assert window("hour", "2026-11-23T09:45:00", "Asia/Kolkata") == (
        "2026-11-23T09:00:00+05:30",
        "2026-11-23T10:00:00+05:30",
    )


def test_a_change_of_half_an_hour_cuts_the_last_hour_of_that_day_short() -> None:
    assert window("hour", "2026-04-05T01:45:00+10:30", "Australia/Lord_Howe") == (
        "2026-04-05T01:30:00+10:30",
        "2026-04-05T02:30:00+10:30",
    )
    assert window("hour", "2026-04-05T23:45:00", "Australia/Lord_Howe") == (
        "2026-04-05T23:30:00+10:30",
        "2026-04-06T00:00:00+10:30",
    )


def test_a_day_without_midnight_starts_with_its_first_minute() -> None:
    assert window("day", "2026-04-24T12:00:00", "Africa/Cairo")[0] == "2026-04-24T01:00:00+03:00"


def test_a_day_whose_midnight_was_jumped_over_starts_where_it_would_have_been() -> None:
    # On 1919-03-30 at 23:30 the clocks of Toronto were put forward to 00:30; the only such change on record.
    before = window("day", "1919-03-31T00:45:00", "America/Toronto")
    assert before == ("1919-03-30T00:00:00-05:00", "1919-03-31T01:00:00-04:00")
    assert window("day", before[1], "America/Toronto")[0] == before[1]


def test_minutes_that_come_again_after_midnight_count_for_the_new_day() -> None:
    # On 2010-11-07 at 00:01 the clocks of St. John's were put back to 23:01 of the day before.
    assert window("day", "2010-11-06T23:30:00-03:30", "America/St_Johns")[0] == "2010-11-07T00:00:00-02:30"
    assert window("day", "2010-11-06T23:30:00-02:30", "America/St_Johns")[1] == "2010-11-07T00:00:00-02:30"


@given(periods, zones, st.sampled_from(WEEKDAYS), moments)
def test_windows_partition_time(period: str, timezone: str, week_starts: str, moment: datetime) -> None:
    budget = a_budget(period=period, timezone=timezone, week_starts=week_starts)
    found = budget.window_at(moment)
    assert found.start is not None
    assert found.end is not None
    assert found.start <= moment < found.end
    assert budget.window_at(found.start) == found
    assert budget.window_at(found.end - timedelta(microseconds=1)) == found
    after = budget.window_at(found.end)
    assert after.start == found.end
    assert after.key != found.key


@given(periods, zones, moments, st.sampled_from(ODD_ZONES))
def test_a_window_does_not_depend_on_how_the_moment_is_written(
    period: str, timezone: str, moment: datetime, other: str
) -> None:
    budget = a_budget(period=period, timezone=timezone)
    assert budget.window_at(moment.astimezone(ZoneInfo(other))) == budget.window_at(moment)


@pytest.mark.parametrize(
    ("scope", "bucket"),
    [
        (Scope(), ""),
        (a_scope(workspace="platform"), ""),
        (a_scope(workspace="other"), None),
        (a_scope(workspace="*"), "platform"),
        (a_scope(model="claude-*"), ""),
        (a_scope(model=("gpt-*", "claude-*")), ""),
        (a_scope(model=("gpt-*",)), None),
        (a_scope(key="alice"), ""),
        (a_scope(key="platform/alice"), None),
        (a_scope(key="*"), "platform/alice"),
        (a_scope(metadata__team="core"), ""),
        (a_scope(metadata__cost_centre="*"), None),
        (a_scope(workspace="platform", user="*", session="*"), "alice@example.com|s1"),
        (a_scope(workspace="other", user="*"), None),
        (a_scope(user="ALICE@*"), None),
    ],
)
def test_a_scope_covers_what_all_its_terms_cover(scope: Scope, bucket: str | None) -> None:
    assert scope.bucket(SUBJECT) == bucket


values = st.text(st.sampled_from("a|%7C25"), max_size=6)


@given(st.tuples(values, values), st.tuples(values, values))
def test_two_subjects_share_a_bucket_only_when_every_value_is_the_same(
    one: tuple[str, str], other: tuple[str, str]
) -> None:
    scope = a_scope(user="*", session="*")
    buckets = [scope.bucket({"user": user, "session": session}) for user, session in (one, other)]
    assert (buckets[0] == buckets[1]) == (one == other)


@pytest.mark.parametrize(
    ("scope", "bucket", "label"),
    [
        (a_scope(workspace="platform"), "", ""),
        (a_scope(key="*"), "platform/alice", "alice"),
        (a_scope(session="*"), "a|b%7C", "a|b%7C"),
        (a_scope(key="*", session="*"), "platform/alice|a%7Cb", "alice|a|b"),
        (a_scope(key="*", session="*"), "left from another scope", "left from another scope"),
    ],
)
def test_people_know_a_key_by_its_name_alone(scope: Scope, bucket: str, label: str) -> None:
    assert scope.bucket_label(bucket) == label


def test_only_a_scope_without_a_star_has_one_bucket() -> None:
    assert a_scope(workspace="platform", model=("*", "claude-*")).has_one_bucket
    assert not a_scope(workspace="platform", key="*").has_one_bucket


def test_a_scope_is_shown_on_one_line() -> None:
    assert (
        a_scope(workspace="platform", model=("a-*", "b-*"), key="*").text()
        == "workspace=platform model=a-*,b-* key=*"
    )
    assert Scope().text() == "everything"


def test_a_request_touches_the_budgets_that_cover_it_in_their_order() -> None:
    everyone = a_budget(name="everyone", period="month")
    others = a_budget(name="others", scope=a_scope(workspace="other"))
    each_key = a_budget(name="each-key", scope=a_scope(key="*"), on_exhausted=OnExhausted.ALERT)
    assert touches([each_key, others, everyone], SUBJECT, NOON) == (
        Touch(each_key, "platform/alice", each_key.window_at(NOON), 0),
        Touch(everyone, "", everyone.window_at(NOON), 0),
    )


def test_only_a_budget_that_blocks_is_blocking() -> None:
    assert a_budget(on_exhausted=OnExhausted.BLOCK).is_blocking
    assert not a_budget(on_exhausted=OnExhausted.ALERT).is_blocking


def test_an_amount_is_shown_in_the_unit_of_its_budget() -> None:
    assert a_budget(usd=1).amount_text(12_500_000_000_000) == "$12.50"
    assert a_budget(tokens=1).amount_text(1200) == "1200 tokens"
