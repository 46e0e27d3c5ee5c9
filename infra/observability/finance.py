"""The dashboard of those who answer for the money: what was charged, to whom, for which models."""

from __future__ import annotations

from aws_cdk import aws_cloudwatch as cloudwatch

from infra.observability.metrics import DAY, OurMetrics, graph, month_to_date
from infra.observability.queries import (
    BUDGETS_AT_RISK,
    COST_BY_PROVIDER,
    COST_BY_USER,
    STOPPED_BY_BUDGET,
    log_table,
)
from infra.observability.watched import Watched

Row = list[cloudwatch.IWidget]

MONTH = "-P31D"

NOTE = """\
Amounts are what was **charged**, rounded as metrics are; the ledger is exact. The tables read the request log
over the time that is chosen above, and each reading of it is paid for by the gigabyte.

Exact: `farebox usage --by user --since 30d` and `farebox budgets`."""


def finance_dashboard(ours: OurMetrics, watched: Watched) -> list[Row]:
    """Give the rows of widgets."""
    charged = ours.one("charged_usd", "USD", period=DAY)
    saved = ours.one("saved_usd", "USD", period=DAY)
    return [
        [
            cloudwatch.TextWidget(markdown=NOTE, width=12, height=4),
            cloudwatch.SingleValueWidget(
                title="Charged since the 1st (UTC), USD",
                metrics=[month_to_date(ours.one("charged_usd", period=DAY))],
                start=MONTH,
                width=12,
                height=4,
            ),
        ],
        [
            graph("Charged per day, USD", [charged], period=DAY, start=MONTH, width=12),
            _per_day(ours, "Per day by workspace, USD", "workspace", label="${PROP('Dim.workspace')}"),
        ],
        [
            _per_day(ours, "Per day by model, USD", "provider", "model", label="${PROP('Dim.model')}"),
            *log_table("By provider", COST_BY_PROVIDER, watched.proxy_log),
        ],
        [
            *log_table("Budgets at risk", BUDGETS_AT_RISK, watched.notifier_log),
            graph("Saved per day by answers from our cache, USD", [saved], period=DAY, start=MONTH, width=12),
        ],
        [
            *log_table("By user", COST_BY_USER, watched.proxy_log),
            *log_table("Stopped by a budget", STOPPED_BY_BUDGET, watched.proxy_log),
        ],
    ]


def _per_day(ours: OurMetrics, title: str, *by: str, label: str) -> cloudwatch.GraphWidget:
    each = ours.each("charged_usd", *by, label=label, period=DAY)
    return graph(title, [each], period=DAY, start=MONTH, width=12, stacked=True)
