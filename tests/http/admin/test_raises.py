"""Temporary raises: what may be raised, what it changes at once, and how it ends."""

from datetime import timedelta
from typing import Any

import pytest

from farebox.domain.budget import Touch
from farebox.domain.money import PICODOLLARS_PER_USD
from tests.http.admin.plane import Plane
from tests.support.builders import NOON, a_hold, a_key, a_record

FILE = {
    "budgets": [
        {"name": "all", "period": "day", "usd": 10},
        {"name": "per-key", "period": "day", "tokens": 100, "scope": {"key": "*"}},
        {"name": "per-user", "period": "day", "usd": 1, "scope": {"user": "*", "model": "*"}},
        {"name": "per-team", "period": "total", "usd": 1, "scope": {"metadata.team": "*"}},
    ]
}
PATH = "/v1/policies/usage-limits/{}/raises"
ASKED: dict[str, object] = {"usd": 25, "until": "2h", "reason": "release week"}


async def ask(plane: Plane, name: str = "all", status: int = 201, **fields: object) -> Any:
    asked = {**ASKED, **fields}
    body = {field: value for field, value in asked.items() if value is not None}
    return await plane.ask("POST", PATH.format(name), status, json=body)


async def refused(plane: Plane, name: str, status: int, **fields: object) -> tuple[str, str | None]:
    error = (await ask(plane, name, status, **fields))["error"]
    return error["message"], error.get("path")


async def row(plane: Plane, name: str = "all", bucket: str = "") -> Any:
    rows = (await plane.ask("GET", "/v1/budgets", params={"name": name}))["rows"]
    return next(each for each in rows if each["bucket"] == bucket)


async def book(plane: Plane, budget_name: str, bucket: str, amount: int) -> None:
    budgets = (await plane.store.policies.current()).budgets
    budget = next(each for each in budgets if each.name == budget_name)
    touch = Touch(budget, bucket, budget.window_at(plane.clock.now()), amount)
    request_id = f"req_{bucket}_{amount}"
    await plane.store.ledger.settle(request_id, a_record(request_id), [touch])


@pytest.fixture
async def raised(plane: Plane) -> Plane:
    await plane.ask("POST", "/v1/apply", json=FILE)
    return plane


async def test_a_raise_answers_with_what_it_does(raised: Plane) -> None:
    answer = await ask(raised)
    expected = {
        "name": "all",
        "bucket": None,
        "limit": "25",
        "limit_usd": "25",
        "raised_from": "10",
        "until": "2026-11-23T14:00:00Z",
        "reason": "release week",
        "state": "active",
    }
    assert answer == {**expected, "warnings": []}
    assert await raised.ask("GET", PATH.format("all")) == {"rows": [expected], "next": None}


async def test_the_row_of_a_raised_budget_says_so_and_the_raise_ends_by_itself(raised: Plane) -> None:
    before = await row(raised)
    await ask(raised)
    during = await row(raised)
    raised.clock.advance(timedelta(hours=2))
    after = await row(raised)
    fields = ("limit", "limit_usd", "available", "raised_from", "raised_until", "raise_reason")
    assert [tuple(each[field] for field in fields) for each in (before, during, after)] == [
        ("10", "10", "10", None, None, None),
        ("25", "25", "25", "10", "2026-11-23T14:00:00Z", "release week"),
        ("10", "10", "10", None, None, None),
    ]
    (listed,) = (await raised.ask("GET", PATH.format("all")))["rows"]
    assert listed["state"] == "over"


async def test_a_raise_lets_requests_in_at_once_until_it_ends(raised: Plane) -> None:
    await book(raised, "all", "", 10 * PICODOLLARS_PER_USD)

    async def is_short() -> bool:
        now = raised.clock.now()
        budget = (await raised.store.policies.current()).budgets[0].in_force("", now)
        touch = Touch(budget, "", budget.window_at(now), 1)
        shortage = await raised.store.ledger.reserve(a_hold("req_next", touch))
        await raised.store.ledger.void("req_next")
        return shortage is not None

    was_short = await is_short()
    await ask(raised)
    is_open = not await is_short()
    raised.clock.advance(timedelta(hours=2))
    assert (was_short, is_open, await is_short()) == (True, True, True)


async def test_a_raise_of_one_bucket_opens_that_one_alone(raised: Plane) -> None:
    budget = next(each for each in (await raised.store.policies.current()).budgets if each.name == "per-key")
    for bucket in ("platform/alice", "platform/bob"):
        await book(raised, "per-key", bucket, 60)
        await raised.store.ledger.exhaust([Touch(budget, bucket, budget.window_at(NOON))])
    await ask(raised, "per-key", usd=None, tokens=300, bucket="alice")
    rows = [await row(raised, "per-key", bucket) for bucket in ("alice", "bob")]
    assert [(each["limit"], each["state"], each["raised_from"]) for each in rows] == [
        (300, "ok", 100),
        (100, "exhausted", None),
    ]


async def test_a_bucket_that_nobody_came_to_yet_may_be_raised(raised: Plane) -> None:
    await raised.store.keys.add_gateway_key(a_key(name="carol"), b"hash")
    carol = await ask(raised, "per-key", usd=None, tokens=300, bucket="carol")
    core = await ask(raised, "per-team", bucket="core")
    assert (carol["bucket"], carol["warnings"], core["bucket"], core["warnings"]) == (
        "carol",
        [],
        "core",
        ["no request has touched bucket 'core' in this window; is it spelt right?"],
    )
    budgets = (await raised.store.policies.current()).budgets
    assert [each.bucket for budget in budgets for each in budget.raises] == ["platform/carol", "core"]


@pytest.mark.parametrize(
    ("name", "fields", "told"),
    [
        ("all", {"bucket": "x"}, "There is no bucket 'x'."),
        ("per-user", {"bucket": "zoe"}, "There is no bucket 'zoe'."),
        ("per-key", {"bucket": "zoe", "usd": None, "tokens": 300}, "There is no key 'zoe'."),
        ("nothing", {}, "There is no budget 'nothing'."),
    ],
)
async def test_what_is_not_there_cannot_be_raised(
    raised: Plane, name: str, fields: dict[str, object], told: str
) -> None:
    assert (await refused(raised, name, 404, **fields))[0] == told


@pytest.mark.parametrize(
    ("fields", "told", "path"),
    [
        ({"usd": 10}, "usd: must be above the present limit of $10.00: a raise goes TO an amount", "usd"),
        ({"usd": None, "tokens": 300}, "tokens: budget 'all' counts usd", "tokens"),
        ({"until": "2026-11-23T12:00:00Z"}, "until: must be in the future", "until"),
        (
            {"until": "soon"},
            "until: must be a span such as 30d or 12h, a day such as 2027-01-31 (its midnight UTC), "
            "or a time such as 2027-01-31T00:00:00Z",
            "until",
        ),
        ({"reason": ""}, "reason: must be 1 to 256 printable characters", "reason"),
        ({"reason": None}, "reason: is required", "reason"),
        ({"usd": 4_000_001}, "usd: must be between 0 and 4000000 USD", "usd"),
        ({"tokens": 1}, "body: needs exactly one of usd and tokens", "body"),
        ({"colour": "red"}, "colour: unknown field", "colour"),
    ],
)
async def test_a_raise_that_is_none_names_its_field(
    raised: Plane, fields: dict[str, object], told: str, path: str
) -> None:
    assert await refused(raised, "all", 400, **fields) == (told, path)
    assert (await raised.ask("GET", PATH.format("all")))["rows"] == []


async def test_a_later_raise_replaces_an_earlier_one_even_by_less(raised: Plane) -> None:
    await ask(raised, usd=40, until="3h")
    await ask(raised, usd=20, until="1h", reason="enough")
    rows = (await raised.ask("GET", PATH.format("all")))["rows"]
    assert [(each["limit"], each["until"], each["reason"]) for each in rows] == [
        ("20", "2026-11-23T13:00:00Z", "enough")
    ]


async def test_a_raise_of_a_bucket_must_go_above_that_of_its_budget(raised: Plane) -> None:
    await book(raised, "per-key", "platform/alice", 1)
    await ask(raised, "per-key", usd=None, tokens=300)
    told, _ = await refused(raised, "per-key", 400, usd=None, tokens=250, bucket="alice")
    assert "above the present limit of 300 tokens" in told
    await ask(raised, "per-key", usd=None, tokens=350, bucket="alice")
    assert (await row(raised, "per-key", "alice"))["limit"] == 350


async def test_a_raise_is_ended_before_its_time(raised: Plane) -> None:
    await book(raised, "per-key", "platform/alice", 1)
    await ask(raised)
    await ask(raised, "per-key", usd=None, tokens=300, bucket="alice")
    await raised.ask("DELETE", PATH.format("all"), 204)
    await raised.ask("DELETE", PATH.format("per-key"), 204, params={"bucket": "alice"})
    assert ((await row(raised))["limit"], (await row(raised, "per-key", "alice"))["limit"]) == ("10", 100)
    for name, bucket in (("all", None), ("per-key", "alice"), ("per-key", "zoe")):
        params = {"bucket": bucket} if bucket else {}
        place = f"{name}/{bucket}" if bucket else name
        told, _ = await raised.refused("DELETE", PATH.format(name), 404, params=params)
        assert told == f"There is no raise of '{place}'."


async def test_raises_are_audited_with_who_why_and_until(raised: Plane) -> None:
    await ask(raised)
    await raised.ask("DELETE", PATH.format("all"), 204)
    entries = (await raised.ask("GET", "/v1/audit-logs", params={"limit": 2}))["rows"]
    document = {
        "budget": "all",
        "usd": "25",
        "until": "2026-11-23T14:00:00Z",
        "reason": "release week",
    }
    assert [(each["actor"], each["action"], each["kind"], each["name"]) for each in entries] == [
        ("admin:root", "delete", "raise", "all"),
        ("admin:root", "create", "raise", "all"),
    ]
    assert (entries[1]["before"], entries[1]["after"]) == (None, document)


async def test_a_raise_survives_an_apply_and_goes_with_its_budget(raised: Plane) -> None:
    await ask(raised)
    await raised.ask("POST", "/v1/apply", json=FILE, params={"prune": "true"})
    assert (await row(raised))["limit"] == "25"
    await raised.ask("DELETE", "/v1/policies/usage-limits/all", 204)
    await raised.ask("POST", "/v1/apply", json=FILE)
    assert (await row(raised))["limit"] == "10"


async def test_a_raise_that_a_new_limit_overtakes_counts_for_nothing(raised: Plane) -> None:
    await ask(raised)
    await raised.ask("POST", "/v1/apply", json={"budgets": [{"name": "all", "period": "day", "usd": 30}]})
    after = await row(raised)
    assert (after["limit"], after["raised_until"]) == ("30", None)
