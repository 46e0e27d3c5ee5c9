"""Questions to the request log, which names keys and users where metrics must not: Logs Insights queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_logs as logs

Query = tuple[str, ...]
"""Lines, each a command."""

_REQUESTS = 'filter event = "request"'
_SUMS = "count(*) as requests, sum(charged_usd) as usd, sum(output_tokens) as output"

ERRORS_BY_STATUS: Query = (
    _REQUESTS,
    "filter status >= 400",
    "stats count(*) as requests by status, error_type, provider",
    "sort requests desc",
    "limit 50",
)

STOPPED_BY_BUDGET: Query = (
    _REQUESTS,
    'filter outcome = "budget_cut" or error_type = "BudgetExhausted"',
    "stats count(*) as stopped, latest(at) as last by workspace, user, key",
    "sort stopped desc",
    "limit 50",
)

BUDGETS_AT_RISK: Query = (
    'filter event = "budget_threshold"',
    "stats max(threshold) as percent, latest(at) as last, latest(resets_at) as resets by budget, bucket",
    "sort percent desc",
    "limit 50",
)
"""Of the notifier's log, which has a line for each threshold that a bucket has reached."""

COST_BY_USER: Query = (
    _REQUESTS,
    f"stats {_SUMS} by workspace, user, key",
    "sort usd desc",
    "limit 100",
)

COST_BY_PROVIDER: Query = (_REQUESTS, f"stats {_SUMS} by provider", "sort usd desc", "limit 50")

COST_BY_SESSION: Query = (
    _REQUESTS,
    f"stats {_SUMS} by session_id, user, key",
    "sort usd desc",
    "limit 100",
)

SLOWEST: Query = (
    _REQUESTS,
    "fields at, id, upstream_request_id, user, model, provider, ttft_ms, duration_ms, attempts",
    "sort ttft_ms desc",
    "limit 50",
)

NOT_BOOKED: Query = (
    "fields @timestamp, @message",
    'filter @message like "not settled"',
    "sort @timestamp desc",
)

SAVED: Mapping[str, Query] = {
    "cost by user": COST_BY_USER,
    "cost by session": COST_BY_SESSION,
    "errors by status": ERRORS_BY_STATUS,
    "not booked at once": NOT_BOOKED,
    "slowest to begin": SLOWEST,
    "stopped by a budget": STOPPED_BY_BUDGET,
}
"""What an operator finds ready to run; a saved query costs nothing until it is run."""


def log_table(
    title: str, query: Query, log: logs.ILogGroup | None, *, width: int = 12
) -> Sequence[cloudwatch.LogQueryWidget]:
    """Give a table of a query's answer, where the log is there."""
    if log is None:
        return []
    widget = cloudwatch.LogQueryWidget(
        title=title,
        log_group_names=[log.log_group_name],
        query_lines=list(query),
        view=cloudwatch.LogQueryVisualizationType.TABLE,
        width=width,
        height=6,
    )
    return [widget]
