"""Every bucket under the limit that is in force for it, with what the ledger says of its pace."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from msgspec import Struct

from farebox.domain.budget import Budget, Raise, Unit, Window
from farebox.domain.budget.forecast import LOOK_BACK, Spending, burn_rate, exhausted_at
from farebox.http.admin.ports import AdminPorts
from farebox.ports import BucketStanding, Reports

# A request counts in the window in which it was admitted, and its row has the moment when it came.
ADMISSION_SLACK = timedelta(hours=1)


class BudgetReport(Struct, frozen=True):
    """One bucket. The standing's budget is in force, `policy_limit` is what it has without `raised`.

    Amounts are in the budget's unit; `overrun_picodollars` is None for token budgets. What the store cannot
    tell is None.
    """

    standing: BucketStanding
    window: Window
    policy_limit: int
    raised: Raise | None
    rate_per_hour: int | None
    exhausted_at: datetime | None
    overrun_picodollars: int | None


async def standings_in_force(
    reports: Reports, budgets: Sequence[Budget], now: datetime
) -> Sequence[BucketStanding]:
    """Give the present window of every bucket; each one's budget has the limit that counts for it."""
    found = []
    for budget in budgets:
        usual = budget.in_force("", now)
        of_all = await reports.standings([usual], now)
        raised = {each.bucket for each in budget.raises if each.bucket is not None and now < each.until}
        for standing in of_all:
            own = budget.in_force(standing.bucket, now)
            if standing.bucket in raised and own.limit != usual.limit:
                # Whether a bucket is closed is a question of the limit that it is asked for.
                again = await reports.standings([own], now)
                standing = next(each for each in again if each.bucket == standing.bucket)
            found.append(standing)
    return found


async def budget_reports(ports: AdminPorts, budgets: Sequence[Budget], now: datetime) -> list[BudgetReport]:
    """Give a report of every bucket of these budgets."""
    standings = await standings_in_force(ports.reports, budgets, now)
    if ports.spending is None:
        return [_report(each, budgets, now, None, None) for each in standings]
    recent = await ports.spending.recent(now - LOOK_BACK)
    starts = [budget.window_at(now).start for budget in budgets if budget.unit is Unit.USD]
    known = [start for start in starts if start is not None]
    since = min(known) - ADMISSION_SLACK if known and len(known) == len(starts) else None
    overruns = await ports.spending.overruns(since) if starts else {}
    reports = []
    for each in standings:
        key = (each.budget.name, each.budget.unit.value, each.bucket)
        overrun = overruns.get((*key, each.window_key), 0)
        reports.append(_report(each, budgets, now, recent.get(key, Spending()), overrun))
    return reports


def _report(
    standing: BucketStanding,
    budgets: Sequence[Budget],
    now: datetime,
    recent: Spending | None,
    overrun: int | None,
) -> BudgetReport:
    budget = next(each for each in budgets if each.name == standing.budget.name)
    window, settled = budget.window_at(now), standing.standing.settled
    rate = None if recent is None else burn_rate(window, settled, recent, now)
    is_open = rate is not None and not standing.is_exhausted
    return BudgetReport(
        standing=standing,
        window=window,
        policy_limit=budget.limit,
        raised=budget.raise_at(standing.bucket, now),
        rate_per_hour=rate,
        exhausted_at=exhausted_at(budget, standing.bucket, settled, rate or 0, now) if is_open else None,
        overrun_picodollars=overrun if budget.unit is Unit.USD else None,
    )
