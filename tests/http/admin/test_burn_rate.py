"""How fast budgets are spent, when they will be empty, and what went beyond their holds."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace

from farebox.domain.budget import Touch
from farebox.domain.money import PICODOLLARS_PER_USD
from farebox.domain.record import Outcome
from farebox.http.admin.budgets.standings import budget_reports
from tests.http.admin.plane import Plane
from tests.support.builders import NOON, a_hold, a_record

USD = PICODOLLARS_PER_USD
FILE = {
    "budgets": [
        {"name": "day", "period": "day", "usd": 24},
        {"name": "hour", "period": "hour", "usd": 24},
        {"name": "ever", "period": "total", "usd": 100},
        {"name": "tokens", "period": "day", "tokens": 2_400},
    ]
}
FIELDS = ("burn_rate_per_hour", "burn_rate_usd_per_hour", "forecast_exhausted_at", "overrun_usd")


async def book(plane: Plane, number: int, at: datetime, usd: int, *, overrun: int = 0) -> None:
    record = a_record(f"req_{number}", at=at, charged_picodollars=usd * USD, overrun_picodollars=overrun)
    booked = [
        Touch(budget, "", budget.window_at(at), usd * USD if budget.unit == "usd" else usd * 100)
        for budget in (await plane.store.policies.current()).budgets
    ]
    await plane.store.ledger.settle(record.id, record, booked)


async def paces(plane: Plane) -> Mapping[str, Any]:
    rows = (await plane.ask("GET", "/v1/budgets"))["rows"]
    return {row["name"]: tuple(row[field] for field in FIELDS) for row in rows}


async def test_a_budget_tells_its_pace_over_the_window_or_the_last_day(plane: Plane) -> None:
    await plane.ask("POST", "/v1/apply", json=FILE)
    await book(plane, 1, NOON - timedelta(hours=30), 50)  # yesterday, more than a day ago
    await book(plane, 2, NOON - timedelta(hours=20), 4)  # yesterday, within a day
    await book(plane, 3, NOON - timedelta(hours=2), 12)
    assert await paces(plane) == {
        "day": ("1", "1", None, "0"),  # 12 in 12 hours; 12 left are gone when it ends anyway
        "hour": ("0.8", "0.8", None, "0"),  # 16 in 20 hours
        "ever": ("0.8", "0.8", "2026-11-25T06:30:00Z", "0"),  # 34 left
        "tokens": (100, None, None, None),
    }


async def test_an_overrun_is_told_in_its_window_by_every_budget_in_dollars(plane: Plane) -> None:
    await plane.ask("POST", "/v1/apply", json=FILE)
    await book(plane, 1, NOON - timedelta(days=1), 1, overrun=3 * USD)
    await book(plane, 2, NOON - timedelta(hours=2), 1, overrun=2 * USD)
    await book(plane, 3, NOON, 1, overrun=USD // 4)
    overruns = {name: pace[-1] for name, pace in (await paces(plane)).items()}
    assert overruns == {"day": "2.25", "hour": "0.25", "ever": "5.25", "tokens": None}


async def test_a_forecast_ends_where_the_money_does(plane: Plane) -> None:
    await plane.ask("POST", "/v1/apply", json=FILE)
    await book(plane, 1, NOON - timedelta(hours=2), 18)
    assert (await paces(plane))["day"] == ("1.5", "1.5", "2026-11-23T16:00:00Z", "0")
    await book(plane, 2, NOON, 6)
    assert (await paces(plane))["day"] == ("2", "2", None, "0")  # exhausted: there is nothing to forecast


async def test_a_reset_is_not_spending_and_a_correction_counts_once(plane: Plane) -> None:
    await plane.ask("POST", "/v1/apply", json=FILE)
    budget = (await plane.store.policies.current()).budgets[2]
    touch = Touch(budget, "", budget.window_at(NOON), 9 * USD)
    hold = a_hold("req_1", touch)
    await plane.store.ledger.reserve(hold)
    swept = a_record("req_1", outcome=Outcome.EXPIRED, charged_picodollars=9 * USD)
    await plane.store.ledger.settle("req_1", swept, [touch])
    await plane.store.ledger.settle("req_1", a_record("req_1"), [replace(touch, amount=6 * USD)])
    assert (await paces(plane))["ever"][0] == "6"
    await plane.ask("POST", "/v1/budgets/ever/reset")
    assert (await paces(plane))["ever"][0] == "6"


async def test_a_store_that_cannot_tell_leaves_it_open(plane: Plane) -> None:
    await plane.ask("POST", "/v1/apply", json=FILE)
    await book(plane, 1, NOON, 1)
    ports = replace(plane.ports, spending=None)
    reports = await budget_reports(ports, (await plane.store.policies.current()).budgets, NOON)
    told = {(each.rate_per_hour, each.exhausted_at, each.overrun_picodollars) for each in reports}
    assert told == {(None, None, None)}
