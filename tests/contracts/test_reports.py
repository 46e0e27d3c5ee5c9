"""What every store tells people about the ledger."""

from datetime import datetime, timedelta, timezone

import pytest
from msgspec.structs import replace

from farebox.domain.budget import Budget, Standing
from farebox.domain.errors import ConfigInvalid
from farebox.domain.record import Billing, Outcome, RequestRecord
from farebox.domain.routing.caching import CacheStatus
from farebox.domain.usage import CostStatus, Iteration, Usage
from farebox.ports import AuditEntry, BucketStanding, UsageRow
from tests.support.builders import NOON, a_budget, a_hold, a_record, a_scope, a_touch, an_attempt
from tests.support.wings import Wing

SECOND = timedelta(seconds=1)

FULL_RECORD = a_record(
    "req_full",
    at=datetime(2026, 11, 23, 14, 0, 0, 123456, tzinfo=timezone(timedelta(hours=2))),
    user=None,
    metadata={"team": "core", 'a.b"c': "$[0]"},
    agent_id="agent_1",
    status=529,
    outcome=Outcome.UPSTREAM_ERROR,
    billing=Billing.SUBSCRIPTION,
    usage=Usage(
        input_tokens=1,
        cache_read_tokens=2,
        cache_write_5m_tokens=3,
        cache_write_1h_tokens=4,
        output_tokens=5,
        web_search_requests=6,
        speed="fast",
        inference_geo="us",
        service_tier="standard",
        iterations=(Iteration("message", "claude-haiku-4-5", 1, 2, 3, 4, 5),),
        credit_redeemed=True,
        unmetered=("odd_tokens",),
        unmetered_tokens=7,
        unread=("x",),
    ),
    cost_picodollars=None,
    charged_picodollars=2**62,
    cost_status=CostStatus.UNPRICED,
    ttft_ms=None,
    upstream_request_id="req_up",
    attempts=(an_attempt(), an_attempt(status=None, usage=None, cost_picodollars=None)),
    overrun_picodollars=8,
    price_version="2026-11-01",
    error_type="overloaded_error",
)


async def settle(wing: Wing, *records: RequestRecord) -> None:
    for record in records:
        await wing.ledger.settle(record.id, record, [])


async def test_a_record_comes_back_as_it_was_written(wing: Wing) -> None:
    await settle(wing, FULL_RECORD)
    assert list((await wing.reports.requests()).rows) == [FULL_RECORD]


async def test_requests_are_listed_newest_first_page_by_page(wing: Wing) -> None:
    records = [a_record(f"r{number}", at=NOON + (number // 2) * SECOND) for number in range(7)]
    await settle(wing, *records)
    pages, cursor = [], None
    for _ in range(3):
        page = await wing.reports.requests(limit=3, cursor=cursor)
        pages.append([record.id for record in page.rows])
        cursor = page.next
    assert pages == [["r6", "r5", "r4"], ["r3", "r2", "r1"], ["r0"]]
    assert cursor is None


async def test_requests_that_arrive_between_two_pages_do_not_shift_them(wing: Wing) -> None:
    await settle(wing, *(a_record(f"r{number}", at=NOON + number * SECOND) for number in range(4)))
    first = await wing.reports.requests(limit=2)
    await settle(wing, a_record("new", at=NOON + 9 * SECOND), a_record("late", at=NOON + SECOND))
    second = await wing.reports.requests(limit=9, cursor=first.next)
    assert [record.id for record in (*first.rows, *second.rows)] == ["r3", "r2", "late", "r1", "r0"]


async def test_requests_of_one_session_can_be_listed(wing: Wing) -> None:
    await settle(
        wing, a_record("r1", session_id="a"), a_record("r2", session_id=None), a_record("r3", session_id="b")
    )
    assert [record.id for record in (await wing.reports.requests(session="b")).rows] == ["r3"]


@pytest.mark.parametrize("cursor", ["nonsense", "WyJhIiwiYiJd", "MQ"])
async def test_a_cursor_of_another_list_is_refused(wing: Wing, cursor: str) -> None:
    with pytest.raises(ConfigInvalid, match="not a cursor of this list"):
        await wing.reports.requests(cursor=cursor)


def usage_row(
    group: str | None, cost: int, *, requests: int = 1, errors: int = 0, charged: int | None = None
) -> UsageRow:
    """Give the sums over `requests` rows of `a_record` whose cost is `cost` together."""
    charged_picodollars = cost if charged is None else charged
    return UsageRow(group, requests, errors, 10 * requests, 0, 0, 0, 20 * requests, cost, charged_picodollars)


def costing(request_id: str, picodollars: int, **changes: object) -> RequestRecord:
    return a_record(request_id, cost_picodollars=picodollars, charged_picodollars=picodollars, **changes)


async def test_every_token_class_and_every_error_is_summed(wing: Wing) -> None:
    usage = Usage(1, 2, 3, 4, 5)
    await settle(
        wing,
        costing("r1", 10, usage=usage),
        costing("r2", 20, usage=usage, status=500, outcome=Outcome.UPSTREAM_ERROR),
        costing("r3", 0, usage=usage, status=402, outcome=Outcome.REFUSED),
        costing("r4", 40, usage=usage, outcome=Outcome.CLIENT_GONE),
        costing("r5", 0, usage=usage, status=404),
    )
    assert list(await wing.reports.usage(by="workspace", since=None)) == [
        UsageRow("platform", 5, 4, 5, 10, 15, 20, 25, 70, 70)
    ]


async def test_answers_from_the_cache_are_counted_with_what_they_saved(wing: Wing) -> None:
    hit = {"outcome": Outcome.CACHED, "cache_status": CacheStatus.HIT, "usage": Usage()}
    await settle(
        wing,
        costing("r1", 30, cache_status=CacheStatus.MISS),
        costing("r2", 0, saved_picodollars=30, **hit),
        costing("r3", 0, saved_picodollars=5, **hit),
        costing("r4", 0, saved_picodollars=5, **{**hit, "outcome": Outcome.CLIENT_GONE}),
    )
    assert list(await wing.reports.usage(by="key", since=None)) == [
        UsageRow("alice", 4, 1, 10, 0, 0, 0, 20, 30, 30, cache_hits=2, saved_picodollars=40)
    ]
    assert [record.saved_picodollars for record in (await wing.reports.requests()).rows] == [5, 5, 30, 0]


@pytest.mark.parametrize(
    ("by", "field"),
    [
        ("key", "key"),
        ("user", "user"),
        ("workspace", "workspace"),
        ("model", "model"),
        ("provider", "provider"),
        ("session", "session_id"),
    ],
)
async def test_usage_is_grouped_dearest_first_and_equals_by_name(wing: Wing, by: str, field: str) -> None:
    values = [("a", 1), ("b", 5), ("c", 5), ("a", 2), ("d", 0)]
    await settle(
        wing, *(costing(f"r{number}", cost, **{field: value}) for number, (value, cost) in enumerate(values))
    )
    assert list(await wing.reports.usage(by=by, since=None)) == [
        usage_row("b", 5),
        usage_row("c", 5),
        usage_row("a", 3, requests=2),
        usage_row("d", 0),
    ]


@pytest.mark.parametrize("name", ["team", "a.b", 'a.b"c', "$", "[0]", "a'b", "ü", "a\\b", 'a"]', "%"])
async def test_usage_can_be_grouped_by_metadata_of_any_name(wing: Wing, name: str) -> None:
    await settle(
        wing,
        costing("r1", 3, metadata={name: "x", "other": "z"}),
        costing("r2", 2, metadata={name: "y"}),
        costing("r3", 1, metadata={"other": "x"}),
    )
    assert list(await wing.reports.usage(by=f"metadata.{name}", since=None)) == [
        usage_row("x", 3),
        usage_row("y", 2),
        usage_row(None, 1),
    ]


async def test_rows_without_the_value_are_one_group_without_a_name(wing: Wing) -> None:
    await settle(wing, costing("r1", 1, user=None), costing("r2", 2, user=None), costing("r3", 3, user="bob"))
    assert list(await wing.reports.usage(by="user", since=None)) == [
        usage_row("bob", 3),
        usage_row(None, 3, requests=2),
    ]


async def test_keys_of_one_name_in_two_workspaces_are_told_apart(wing: Wing) -> None:
    await settle(
        wing,
        costing("r1", 3, workspace="a", key="ci"),
        costing("r2", 2, workspace="b", key="ci"),
        costing("r3", 1, workspace="b", key="alice"),
    )
    assert [row.group for row in await wing.reports.usage(by="key", since=None)] == ["a/ci", "b/ci", "alice"]


async def test_usage_is_counted_from_since_up_to_until(wing: Wing) -> None:
    await settle(wing, *(costing(f"r{number}", 1, at=NOON + number * SECOND) for number in range(6)))
    rows = await wing.reports.usage(by="workspace", since=NOON + SECOND, until=NOON + 4 * SECOND)
    assert list(rows) == [usage_row("platform", 3, requests=3)]
    assert list(await wing.reports.usage(by="workspace", since=NOON + 9 * SECOND)) == []


async def test_an_unpriced_row_costs_nothing_and_is_charged_its_ceiling(wing: Wing) -> None:
    await settle(
        wing,
        a_record("r1", cost_picodollars=None, charged_picodollars=9, cost_status=CostStatus.UNPRICED),
        costing("r2", 1),
    )
    assert list(await wing.reports.usage(by="workspace", since=None)) == [
        usage_row("platform", 1, requests=2, charged=10)
    ]


async def test_a_corrected_request_counts_once_and_as_it_really_was(wing: Wing) -> None:
    draft = costing("r1", 9, provider="demo", outcome=Outcome.EXPIRED)
    await settle(wing, draft, costing("r2", 2), costing("r1", 4))
    assert list(await wing.reports.usage(by="provider", since=None)) == [
        usage_row("anthropic", 6, requests=2)
    ]
    assert [record.id for record in (await wing.reports.requests()).rows] == ["r1", "r2"]


@pytest.mark.parametrize(
    "by", ["", "cost", "metadata", "metadata.", "model.x", "record; DROP TABLE ledger", "session_id"]
)
async def test_usage_by_anything_else_is_refused(wing: Wing, by: str) -> None:
    with pytest.raises(ConfigInvalid, match=r"is none of key, user, .*, session, metadata\.NAME"):
        await wing.reports.usage(by=by, since=None)


ONE = a_budget(name="one", limit=100)
EACH_KEY = a_budget(name="each-key", limit=100, scope=a_scope(key="*"))


def row(budget: Budget, bucket: str, settled: int, held: int = 0) -> BucketStanding:
    return BucketStanding(budget, bucket, budget.window_at(NOON).key, Standing(settled, held))


async def book(wing: Wing, budget: Budget, bucket: str, amount: int, number: int) -> None:
    await wing.ledger.settle(
        f"b{number}", a_record(f"b{number}"), [a_touch(amount, budget=budget, bucket=bucket)]
    )


async def test_a_budget_of_one_bucket_stands_before_its_first_request(wing: Wing) -> None:
    assert list(await wing.reports.standings([EACH_KEY, ONE], NOON)) == [row(ONE, "", 0)]


async def test_every_bucket_of_the_current_window_is_reported_in_order(wing: Wing) -> None:
    await book(wing, EACH_KEY, "platform/bob", 7, 1)
    await book(wing, EACH_KEY, "platform/alice", 5, 2)
    await book(wing, ONE, "", 3, 3)
    await wing.ledger.reserve(a_hold("h", a_touch(20, budget=ONE)))
    await wing.ledger.settle("old", a_record("old"), [a_touch(9, budget=ONE, at=NOON - timedelta(days=1))])
    assert list(await wing.reports.standings([ONE, EACH_KEY], NOON)) == [
        row(ONE, "", 3, 20),
        row(EACH_KEY, "platform/alice", 5),
        row(EACH_KEY, "platform/bob", 7),
    ]


async def test_buckets_of_an_earlier_scope_are_left_out(wing: Wing) -> None:
    await book(wing, EACH_KEY, "platform/bob", 7, 1)
    narrowed = replace(EACH_KEY, scope=a_scope(key="bob"))
    assert list(await wing.reports.standings([narrowed], NOON)) == [row(narrowed, "", 0)]


async def test_a_reset_starts_the_window_anew_and_keeps_what_is_held(wing: Wing) -> None:
    await book(wing, ONE, "", 90, 1)
    await wing.ledger.reserve(a_hold("h", a_touch(10, budget=ONE)))
    await wing.ledger.exhaust([a_touch(budget=ONE)])
    assert await wing.reports.reset(ONE, None, NOON, "root") == 1
    assert list(await wing.reports.standings([ONE], NOON)) == [row(ONE, "", 0, 10)]
    assert await wing.ledger.reserve(a_hold("next", a_touch(90, budget=ONE))) is None
    assert await wing.reports.verify() == []


async def test_a_reset_can_name_one_bucket(wing: Wing) -> None:
    for number, name in enumerate(["platform/alice", "platform/bob", "platform/carol"]):
        await book(wing, EACH_KEY, name, 5, number)
    assert await wing.reports.reset(EACH_KEY, "platform/bob", NOON, "root") == 1
    assert await wing.reports.reset(EACH_KEY, "platform/nobody", NOON, "root") == 0
    settled = [each.standing.settled for each in await wing.reports.standings([EACH_KEY], NOON)]
    assert settled == [5, 0, 5]
    assert await wing.reports.reset(EACH_KEY, None, NOON, "root") == 2
    assert await wing.reports.reset(EACH_KEY, None, NOON, "root") == 0
    assert await wing.reports.verify() == []


async def test_a_reset_leaves_requests_usage_and_other_windows_alone(wing: Wing) -> None:
    await book(wing, ONE, "", 90, 1)
    yesterday = NOON - timedelta(days=1)
    await wing.ledger.settle("old", a_record("old", at=yesterday), [a_touch(9, budget=ONE, at=yesterday)])
    usage = await wing.reports.usage(by="key", since=None)
    await wing.reports.reset(ONE, None, NOON, "root")
    assert await wing.reports.usage(by="key", since=None) == usage
    assert [record.id for record in (await wing.reports.requests()).rows] == ["b1", "old"]
    assert [each.standing for each in await wing.reports.standings([ONE], yesterday)] == [Standing(9)]


async def test_a_reset_is_audited(wing: Wing) -> None:
    await book(wing, ONE, "", 90, 1)
    await wing.ledger.exhaust([a_touch(budget=ONE)])
    await wing.reports.reset(ONE, None, NOON, "root")
    place = {"bucket": "", "window": "2026-11-23T00:00:00Z", "unit": "usd"}
    assert list((await wing.reports.audit()).rows) == [
        AuditEntry(
            NOON,
            "root",
            "reset",
            "bucket",
            "one",
            {**place, "settled": 90, "is_exhausted": True},
            {**place, "settled": 0, "is_exhausted": False},
        )
    ]


async def test_what_changes_no_document_is_noted_too(wing: Wing) -> None:
    entry = AuditEntry(NOON, "root", "replay", "ledger", "log", after={"records": 3})
    await wing.reports.note(entry)
    assert list((await wing.reports.audit()).rows) == [entry]


async def test_a_settlement_after_a_reset_counts_in_the_new_sum(wing: Wing) -> None:
    await wing.ledger.reserve(a_hold("r1", a_touch(40, budget=ONE)))
    await book(wing, ONE, "", 30, 1)
    await wing.reports.reset(ONE, None, NOON, "root")
    await wing.ledger.settle("r1", a_record("r1"), [a_touch(25, budget=ONE)])
    assert list(await wing.reports.standings([ONE], NOON)) == [row(ONE, "", 25)]
    assert await wing.reports.verify() == []
