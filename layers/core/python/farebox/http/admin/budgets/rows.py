"""The rows of budgets and of their raises: amounts in the budget's unit, and once more in USD."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from farebox.domain.budget import Budget, Raise, Unit
from farebox.domain.money import usd_text
from farebox.http.admin.budgets.standings import BudgetReport
from farebox.http.moments import optional_utc_text, utc_text

Row = dict[str, object]


def budget_rows(reports: Sequence[BudgetReport]) -> list[Row]:
    """Give the rows; buckets whose plain names are the same are told by their full ones."""
    rows = [budget_row(report) for report in reports]
    named = Counter((row["name"], row["bucket"]) for row in rows)
    for row, report in zip(rows, reports, strict=True):
        if named[row["name"], row["bucket"]] > 1:
            row["bucket"] = report.standing.bucket
    return rows


def budget_row(report: BudgetReport) -> Row:
    """Give one bucket of a budget. `available` is below zero after an overrun."""
    standing, raised = report.standing, report.raised
    budget = standing.budget
    settled, held = standing.standing.settled, standing.standing.held
    amounts = {
        "limit": budget.limit,
        "settled": settled,
        "held": held,
        "available": budget.limit - settled - held,
    }
    overrun = report.overrun_picodollars
    return {
        "name": budget.name,
        "scope": budget.scope.text(),
        "bucket": budget.scope.bucket_label(standing.bucket),
        "unit": str(budget.unit),
        "period": budget.period,
        "window": {
            "start": optional_utc_text(report.window.start),
            "end": optional_utc_text(report.window.end),
        },
        **{name: _amount(budget, amount) for name, amount in amounts.items()},
        **{f"{name}_usd": _usd(budget, amount) for name, amount in amounts.items()},
        "state": budget_state(budget, settled, standing.is_exhausted),
        "on_exhausted": str(budget.on_exhausted),
        "burn_rate_per_hour": _amount(budget, report.rate_per_hour),
        "burn_rate_usd_per_hour": _usd(budget, report.rate_per_hour),
        "forecast_exhausted_at": _to_the_second(report.exhausted_at),
        "overrun_usd": None if overrun is None else usd_text(overrun),
        "raised_from": _amount(budget, report.policy_limit) if raised else None,
        "raised_until": optional_utc_text(raised.until if raised else None),
        "raise_reason": raised.reason if raised else None,
    }


def budget_state(budget: Budget, settled: int, is_exhausted: bool) -> str:
    """Say 'exhausted' when nothing is left, 'warning' from the lowest alert on."""
    if is_exhausted or settled >= budget.limit:
        return "exhausted"
    is_warning = any(settled * 100 >= share * budget.limit for share in budget.alerts)
    return "warning" if is_warning else "ok"


def raise_row(budget: Budget, raised: Raise, now: datetime) -> Row:
    """Give one raise of a budget; `bucket` is null for one of all its buckets."""
    bucket = None if raised.bucket is None else budget.scope.bucket_label(raised.bucket)
    return {
        "name": budget.name,
        "bucket": bucket,
        "limit": _amount(budget, raised.limit),
        "limit_usd": _usd(budget, raised.limit),
        "raised_from": _amount(budget, budget.limit),
        "until": utc_text(raised.until),
        "reason": raised.reason,
        "state": "active" if now < raised.until and raised.limit > budget.limit else "over",
    }


def _amount(budget: Budget, amount: int | None) -> object:
    return usd_text(amount) if amount is not None and budget.unit is Unit.USD else amount


def _usd(budget: Budget, amount: int | None) -> str | None:
    return usd_text(amount) if amount is not None and budget.unit is Unit.USD else None


def _to_the_second(moment: datetime | None) -> str | None:
    return None if moment is None else utc_text(moment.replace(microsecond=0))
