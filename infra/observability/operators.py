"""The dashboard of those who run the gateway: is it up, is it fast, what does it do, what waits."""

from __future__ import annotations

from collections.abc import Sequence

from aws_cdk import aws_cloudwatch as cloudwatch

from infra.observability.metrics import (
    DAY,
    HOUR,
    MAXIMUM,
    P50,
    P90,
    P99,
    OurMetrics,
    computed,
    graph,
    month_to_date,
    of_function,
    waiting_in,
)
from infra.observability.queries import BUDGETS_AT_RISK, ERRORS_BY_STATUS, log_table
from infra.observability.watched import Watched
from infra.options import Options

Row = list[cloudwatch.IWidget]
PERCENTILES = (P50, P90, P99)
MONTH = "-P31D"


def operators_dashboard(
    options: Options, ours: OurMetrics, watched: Watched, alarms: Sequence[cloudwatch.IAlarm]
) -> list[Row]:
    """Give the rows of widgets."""
    return [
        [cloudwatch.AlarmStatusWidget(title="Alarms", alarms=list(alarms), width=24, height=3)],
        _traffic(ours, watched),
        _speed(ours),
        _tokens(ours),
        _money(ours, watched),
        _platform(options, ours, watched),
        _behind(watched),
        _done_behind(ours),
    ]


def _traffic(ours: OurMetrics, watched: Watched) -> Row:
    errors = [ours.one("errors_4xx", "4xx"), ours.one("errors_5xx", "5xx"), ours.one("throttled", "429")]
    return [
        graph("Requests by model", [ours.each("requests", "provider", "model", label="")], stacked=True),
        graph("Requests refused by us, and answered with an error", [ours.one("refused"), *errors]),
        *log_table("Errors by status and kind", ERRORS_BY_STATUS, watched.proxy_log, width=8),
    ]


def _speed(ours: OurMetrics) -> Row:
    first = [ours.one("ttft_ms", each, statistic=each) for each in PERCENTILES]
    total = [ours.one("duration_ms", each, statistic=each) for each in PERCENTILES]
    by_model = ours.each("ttft_ms", "provider", "model", statistic=P90, label="")
    return [
        graph("Time to the first token, ms", first),
        graph("Time of the whole answer, ms", total),
        graph("Time to the first token by model, ms, p90", [by_model]),
    ]


def _tokens(ours: OurMetrics) -> Row:
    classes = ("input", "cache_read", "cache_write_5m", "cache_write_1h", "output")
    tokens = [ours.one(f"{each}_tokens", each) for each in classes]
    read_in = {f"t{place}": ours.one(f"{each}_tokens") for place, each in enumerate(classes[:-1])}
    share = computed(f"100 * t1 / ({' + '.join(read_in)})", "cache reads, % of input", dict(read_in))
    return [
        graph("Tokens by class", tokens, stacked=True),
        graph("Share of the input that was read from the provider's cache, %", [share]),
        graph(
            "Asked of our own cache of answers",
            [ours.one("cache_hits", "there"), ours.one("cache_misses", "not there")],
            stacked=True,
        ),
    ]


def _money(ours: OurMetrics, watched: Watched) -> Row:
    hourly = ours.one("charged_usd", "USD an hour", period=HOUR)
    daily = ours.one("charged_usd", period=DAY)
    return [
        graph("Charged per hour, USD", [hourly], period=HOUR),
        cloudwatch.SingleValueWidget(
            title="Charged since the 1st (UTC), USD, rounded",
            metrics=[month_to_date(daily)],
            start=MONTH,
            width=4,
            height=6,
        ),
        graph(
            "Without a price, and charged beyond a hold",
            [ours.one("unpriced", "requests without a price")],
            right=[ours.one("overrun_usd", "USD beyond a hold")],
            width=4,
        ),
        *log_table("Budgets at risk", BUDGETS_AT_RISK, watched.notifier_log, width=8),
    ]


def _platform(options: Options, ours: OurMetrics, watched: Watched) -> Row:
    limit = options.proxy_concurrency or options.concurrency_quota
    everybody = of_function("ConcurrentExecutions", None, "the account", statistic=MAXIMUM)
    open_now = [
        of_function("ConcurrentExecutions", each, name, statistic=MAXIMUM)
        for name, each in watched.functions.items()
    ]
    throttled = [of_function("Throttles", each, name) for name, each in watched.functions.items()]
    return [
        graph(
            "Open at once, of what is allowed",
            [*open_now, everybody],
            left_annotations=[cloudwatch.HorizontalAnnotation(value=limit, label="limit")],
        ),
        graph("Turned away by Lambda", throttled),
        graph("Cold starts", [ours.one("cold_starts", "cold starts")]),
    ]


def _done_behind(ours: OurMetrics) -> Row:
    rows = [
        ours.one("rows_announced", "told", job="ledger_relay"),
        ours.one("rows_counted", "counted", job="usage_aggregator"),
        ours.one("rows_known", "counted before", job="usage_aggregator"),
    ]
    alerts = [
        ours.one("alerts_told", "told", job="budget_notifier"),
        ours.one("alerts_untold", "not taken, to be told again", job="budget_notifier"),
    ]
    return [
        graph("Ledger rows told and counted", rows),
        graph("Alerts to people", alerts),
        graph(
            "Holds of dead processes that were charged",
            [ours.one("holds_swept", "holds", job="hold_sweeper")],
        ),
    ]


def _behind(watched: Watched) -> Row:
    failed = [of_function("Errors", each, name) for name, each in watched.functions.items()]
    letters = [waiting_in(each) for each in watched.dead_letters]
    age = [of_function("IteratorAge", watched.relay, "ms", statistic=MAXIMUM)] if watched.relay else []
    return [
        graph("Failed invocations", failed),
        *([graph("Dead letters", letters)] if letters else []),
        *([graph("Age of the oldest row that is not told, ms", age)] if age else []),
    ]
