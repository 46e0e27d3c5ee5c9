"""What was spent, and what is left: the shapes that scripts read."""

import json
from typing import Any

import pytest

from farebox.domain.budget import Budget, Touch
from farebox.domain.money import PICODOLLARS_PER_USD
from farebox.domain.record import Outcome, RequestRecord
from farebox.domain.usage import CostStatus, Usage
from farebox.http.admin.budgets.rows import budget_state
from farebox.http.admin.report_routes import USAGE_ROWS_MAX
from farebox.http.admin.rows import usage_row
from farebox.ports import UsageRow
from tests.http.admin.plane import Plane
from tests.support.builders import a_budget, a_record, an_attempt

USAGE = Usage(
    input_tokens=1, cache_read_tokens=2, cache_write_5m_tokens=3, cache_write_1h_tokens=4, output_tokens=5
)
TOKENS = {
    "input_tokens": 1,
    "cache_read_tokens": 2,
    "cache_write_5m_tokens": 3,
    "cache_write_1h_tokens": 4,
    "output_tokens": 5,
}
FILE = {
    "workspaces": [{"slug": "platform"}],
    "budgets": [
        {"name": "all", "period": "day", "usd": "0.5", "alerts": [50]},
        {"name": "per-key", "period": "total", "tokens": 100, "scope": {"key": "*"}},
    ],
}


async def book(plane: Plane, request_id: str, **changes: Any) -> None:
    """Put one request in the ledger, booked on every budget of the policy."""
    record = a_record(request_id, usage=USAGE, **changes)
    policy = await plane.store.policies.current()
    booked = [
        a_touch_of(budget, record.charged_picodollars if budget.unit == "usd" else 15, record)
        for budget in policy.budgets
    ]
    await plane.store.ledger.settle(request_id, record, booked)


def a_touch_of(budget: Budget, amount: int, record: RequestRecord) -> Touch:
    bucket = "" if budget.scope.has_one_bucket else f"{record.workspace}/{record.key}"
    return Touch(budget, bucket, budget.window_at(record.at), amount)


@pytest.mark.parametrize("path", ["/v1/requests", "/v1/logs"])
async def test_a_request_row_has_every_field(plane: Plane, path: str) -> None:
    await book(plane, "req_1", attempts=(an_attempt(),), upstream_request_id="req_up_1", agent_id="agent_1")
    assert await plane.ask("GET", path) == {
        "rows": [
            {
                "id": "req_1",
                "at": "2026-11-23T12:00:00Z",
                "key": "alice",
                "workspace": "platform",
                "user": "alice@example.com",
                "model": "claude-sonnet-4-5",
                "provider": "anthropic",
                "status": 200,
                "outcome": "finished",
                "cost_usd": "0.00033",
                "charged_usd": "0.00033",
                "cost_status": "priced",
                "billing": "metered",
                "ttft_ms": 400,
                "duration_ms": 900,
                "session_id": "session_1",
                "agent_id": "agent_1",
                "upstream_request_id": "req_up_1",
                "attempts": 1,
                **TOKENS,
                "metadata": {"team": "core"},
                "trace_id": "trace_1",
                "error_type": None,
                "overrun_usd": "0",
                "cache_status": "disabled",
                "saved_usd": "0",
            }
        ],
        "next": None,
    }


async def test_an_unpriced_request_has_no_cost_but_a_charge(plane: Plane) -> None:
    await book(plane, "req_1", cost_picodollars=None, cost_status=CostStatus.UNPRICED)
    (row,) = (await plane.ask("GET", "/v1/requests"))["rows"]
    assert (row["cost_usd"], row["charged_usd"], row["cost_status"]) == (None, "0.00033", "unpriced")


async def test_requests_are_given_page_by_page_and_by_session(plane: Plane) -> None:
    for number in range(3):
        await book(plane, f"req_{number}", session_id=f"s{number % 2}")
    first = await plane.ask("GET", "/v1/requests", params={"limit": 2})
    second = await plane.ask("GET", "/v1/requests", params={"limit": 2, "cursor": first["next"]})
    ids = [row["id"] for row in (*first["rows"], *second["rows"])]
    assert sorted(ids) == ["req_0", "req_1", "req_2"]
    assert second["next"] is None
    of_session = await plane.ask("GET", "/v1/requests", params={"session": "s1"})
    assert [row["id"] for row in of_session["rows"]] == ["req_1"]


@pytest.mark.parametrize(
    ("path", "by"),
    [
        ("/v1/usage?by=user", "user"),
        ("/v1/usage", "key"),
        ("/v1/usage?by=metadata.team", "metadata.team"),
        ("/v1/analytics/groups/users", "user"),
        ("/v1/analytics/groups/ai-models", "model"),
        ("/v1/analytics/groups/metadata/team", "metadata.team"),
        ("/v1/analytics/groups/session", "session"),
    ],
)
async def test_usage_is_summed_under_the_name_it_is_grouped_by(plane: Plane, path: str, by: str) -> None:
    await book(plane, "req_1")
    await book(plane, "req_2", outcome=Outcome.UPSTREAM_ERROR, status=529)
    groups = {
        "user": "alice@example.com",
        "key": "alice",
        "metadata.team": "core",
        "model": "claude-sonnet-4-5",
        "session": "session_1",
    }
    sums = {
        "requests": 2,
        "errors": 1,
        **{name: 2 * count for name, count in TOKENS.items()},
        "cost_usd": "0.00066",
        "charged_usd": "0.00066",
        "cache_hits": 0,
        "saved_usd": "0",
    }
    assert await plane.ask("GET", path) == {"rows": [{by: groups[by], **sums}], "next": None, "total": sums}


async def test_usage_counts_from_a_moment_or_a_span(plane: Plane) -> None:
    await book(plane, "req_1")
    counts = {}
    for since in ("1h", "2026-11-23T12:00:01Z", "2026-11-23T11:00:00+00:00"):
        answer = await plane.ask("GET", "/v1/usage", params={"since": since})
        counts[since] = answer["total"]["requests"]
    assert counts == {"1h": 1, "2026-11-23T12:00:01Z": 0, "2026-11-23T11:00:00+00:00": 1}


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("/v1/usage?by=colour", "by"),
        ("/v1/usage?by=metadata.", "by"),
        ("/v1/usage?since=soon", "since"),
        ("/v1/usage?until=2026-13-01", "until"),
        ("/v1/analytics/groups/colours", "by"),
        ("/v1/requests?limit=0", "limit"),
        ("/v1/requests?limit=many", "limit"),
        ("/v1/requests?cursor=made-up", "cursor"),
        ("/v1/audit-logs?limit=1001", "limit"),
    ],
)
async def test_a_query_that_is_wrong_names_its_part(plane: Plane, query: str, named: str) -> None:
    assert (await plane.refused("GET", query, 400))[1] == named


async def test_budgets_are_told_in_their_unit_and_in_usd(plane: Plane) -> None:
    await plane.ask("POST", "/v1/apply", json=FILE)
    await book(plane, "req_1", charged_picodollars=PICODOLLARS_PER_USD // 4)
    assert await plane.ask("GET", "/v1/budgets") == {
        "rows": [
            {
                "name": "all",
                "scope": "everything",
                "bucket": "",
                "unit": "usd",
                "period": "day",
                "window": {"start": "2026-11-23T00:00:00Z", "end": "2026-11-24T00:00:00Z"},
                "limit": "0.5",
                "settled": "0.25",
                "held": "0",
                "available": "0.25",
                "limit_usd": "0.5",
                "settled_usd": "0.25",
                "held_usd": "0",
                "available_usd": "0.25",
                "state": "warning",
                "on_exhausted": "block",
                "burn_rate_per_hour": "0.020833333333",
                "burn_rate_usd_per_hour": "0.020833333333",
                "forecast_exhausted_at": None,
                "overrun_usd": "0",
                "raised_from": None,
                "raised_until": None,
                "raise_reason": None,
            },
            {
                "name": "per-key",
                "scope": "key=*",
                "bucket": "alice",
                "unit": "tokens",
                "period": "total",
                "window": {"start": None, "end": None},
                "limit": 100,
                "settled": 15,
                "held": 0,
                "available": 85,
                "limit_usd": None,
                "settled_usd": None,
                "held_usd": None,
                "available_usd": None,
                "state": "ok",
                "on_exhausted": "block",
                "burn_rate_per_hour": 15,
                "burn_rate_usd_per_hour": None,
                "forecast_exhausted_at": "2026-11-23T17:40:00Z",
                "overrun_usd": None,
                "raised_from": None,
                "raised_until": None,
                "raise_reason": None,
            },
        ],
        "next": None,
    }
    named = await plane.ask("GET", "/v1/budgets", params={"name": "per-key"})
    assert [row["name"] for row in named["rows"]] == ["per-key"]
    await plane.refused("GET", "/v1/budgets?name=nothing", 404)


@pytest.mark.parametrize(
    ("settled", "is_exhausted", "state"),
    [
        (0, False, "ok"),
        (4, False, "ok"),
        (5, False, "warning"),
        (9, False, "warning"),
        (10, False, "exhausted"),
        (11, False, "exhausted"),
        (3, True, "exhausted"),
    ],
)
def test_a_budget_warns_from_its_lowest_alert_on(settled: int, is_exhausted: bool, state: str) -> None:
    budget = a_budget(tokens=10, alerts=(80, 50))
    assert budget_state(budget, settled, is_exhausted) == state


def test_a_budget_of_nothing_is_exhausted_from_the_start() -> None:
    assert budget_state(a_budget(tokens=0), 0, False) == "exhausted"


@pytest.mark.parametrize("path", ["/v1/policies/usage-limits", "/v1/budgets"])
async def test_one_bucket_is_reset_by_the_name_that_people_know(plane: Plane, path: str) -> None:
    await plane.ask("POST", "/v1/apply", json=FILE)
    await book(plane, "req_1")
    await book(plane, "req_2", key="bob")
    answer = await plane.ask("POST", f"{path}/per-key/reset", json={"bucket": "alice"})
    assert answer == {"name": "per-key", "bucket": "alice", "buckets_reset": 1}
    rows = (await plane.ask("GET", "/v1/budgets", params={"name": "per-key"}))["rows"]
    assert {row["bucket"]: row["settled"] for row in rows} == {"alice": 0, "bob": 15}
    whole = await plane.ask("POST", f"{path}/per-key/reset", json={"bucket": "platform/bob"})
    assert whole["buckets_reset"] == 1
    assert await plane.ask("GET", "/v1/ledger/verify") == {"ok": True, "rows": [], "next": None}


async def test_all_buckets_are_reset_when_none_is_named(plane: Plane) -> None:
    await plane.ask("POST", "/v1/apply", json=FILE)
    await book(plane, "req_1")
    await book(plane, "req_2", key="bob")
    answer = await plane.ask("POST", "/v1/budgets/per-key/reset")
    assert answer == {"name": "per-key", "bucket": None, "buckets_reset": 2}


async def test_a_bucket_name_that_is_unknown_or_unclear_is_refused(plane: Plane) -> None:
    await plane.ask("POST", "/v1/apply", json=FILE)
    await book(plane, "req_1")
    await book(plane, "req_2", workspace="other")
    path = "/v1/budgets/per-key/reset"
    assert (await plane.refused("POST", path, 404, json={"bucket": "zoe"}))[0] == "There is no bucket 'zoe'."
    message, _ = await plane.refused("POST", path, 409, json={"bucket": "alice"})
    assert message == "Several buckets are called 'alice': other/alice, platform/alice."
    await plane.refused("POST", "/v1/budgets/nothing/reset", 404)
    assert (await plane.refused("POST", path, 400, json={"buckets": "x"}))[1] == "buckets"


async def test_the_audit_trail_tells_before_and_after(plane: Plane) -> None:
    await plane.ask("POST", "/v1/apply", json={"organisation": "acme"})
    await plane.ask("POST", "/v1/apply", json={"organisation": "acme2"})
    (newest,) = (await plane.ask("GET", "/v1/audit-logs", params={"limit": 1}))["rows"]
    assert newest == {
        "at": "2026-11-23T12:00:00Z",
        "actor": "admin:root",
        "action": "update",
        "kind": "setting",
        "name": "organisation",
        "before": {"value": "acme"},
        "after": {"value": "acme2"},
    }


async def test_a_report_of_many_groups_gives_the_dearest_and_the_total_of_all(plane: Plane) -> None:
    for number in range(1, 4):
        await book(plane, f"req_{number}", session_id=f"s{number}", cost_picodollars=number * 10**12)
    answer = await plane.ask("GET", "/v1/usage", params={"by": "session", "limit": "2"})
    assert [row["session"] for row in answer["rows"]] == ["s3", "s2"]
    assert (answer["total"]["requests"], answer["total"]["cost_usd"], answer["left_out"]) == (3, "6", 1)


def test_the_largest_report_fits_into_an_answer_of_lambda() -> None:
    """The longest name of a session, in characters that take most, and sums of years."""
    row = UsageRow("\U0001f4b0" * 128, *[10**15] * 11)
    assert (
        len(json.dumps(usage_row("session", row), ensure_ascii=False).encode()) * USAGE_ROWS_MAX < 6_000_000
    )
