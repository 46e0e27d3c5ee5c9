"""The alarms: what each looks at, when it rings, what that means, and where the runbook says what to do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from aws_cdk import aws_cloudwatch as cloudwatch

from infra.observability.metrics import (
    FIVE_MINUTES,
    HOUR,
    MAXIMUM,
    P99,
    SUM,
    OurMetrics,
    computed,
    of_function,
    waiting_in,
)
from infra.observability.watched import Watched
from infra.options import Options

ERRORS_PERCENT = 5
ERRORS_REQUESTS_MIN = 20
"""Fewer requests than these in five minutes say nothing about a share."""

QUOTA_PERCENT = 80
RELAY_BEHIND_MS = 300_000


@dataclass(frozen=True, slots=True)
class Watch:
    """One alarm. It rings when `metric` reaches `threshold`, or where `is_low` is under it, for so many
    periods on end. `name` is also the section of the runbook.
    """

    name: str
    metric: cloudwatch.IMetric
    threshold: float
    meaning: str
    periods: int = 1
    is_low: bool = False


def watches(
    options: Options, ours: OurMetrics, watched: Watched, not_booked: cloudwatch.IMetric | None
) -> Iterator[Watch]:
    """Give the alarms of what is there. Each metric that one looks at is paid for.

    `not_booked` counts the requests that the proxy could not book at once.
    """
    if watched.proxy:
        yield from _of_proxy(options, watched)
    yield from _of_requests(options, ours)
    if not_booked:
        yield Watch(
            "requests-not-booked",
            not_booked,
            1,
            "A request was answered and could not be booked at once: budgets are behind by it until it is.",
        )
    throttled = watched.budgets_table.metric("WriteThrottleEvents", statistic=SUM, period=FIVE_MINUTES)
    yield Watch(
        "store-throttled",
        # Of DynamoDB's metrics an alarm ignores missing data whatever it is told, and would never end.
        computed("FILL(throttled, 0)", "throttled", {"throttled": throttled}),
        1,
        "DynamoDB throttled writes to the budgets table: requests wait longer, or are answered 503.",
    )
    yield from _of_jobs(watched)


def _of_proxy(options: Options, watched: Watched) -> Iterator[Watch]:
    errors = of_function("Url5xxCount", watched.proxy, "errors")
    requests = of_function("UrlRequestCount", watched.proxy, "requests")
    yield Watch(
        "proxy-errors",
        computed(
            f"IF(requests >= {ERRORS_REQUESTS_MIN}, 100 * FILL(errors, 0) / requests, 0)",
            "errors, % of requests",
            {"errors": errors, "requests": requests},
        ),
        ERRORS_PERCENT,
        f"{ERRORS_PERCENT} % or more of the requests were answered with 5xx, ours or the provider's.",
        periods=2,
    )
    yield Watch(
        "proxy-throttled",
        of_function("Throttles", watched.proxy, "throttled"),
        1,
        "Lambda turned requests away with 429, because as many streams were open as are allowed.",
    )
    # With a limit of its own the proxy is compared to that; else it shares the account's quota.
    limit = options.proxy_concurrency or options.concurrency_quota
    whose = watched.proxy if options.proxy_concurrency else None
    yield Watch(
        "proxy-near-its-limit",
        of_function("ConcurrentExecutions", whose, "open at once", statistic=MAXIMUM),
        limit * QUOTA_PERCENT / 100,
        f"{QUOTA_PERCENT} % of the {limit} concurrent executions that are allowed are in use.",
    )


def _of_requests(options: Options, ours: OurMetrics) -> Iterator[Watch]:
    if options.alarm_first_token_ms:
        yield Watch(
            "first-token-slow",
            ours.one("ttft_ms", statistic=P99),
            options.alarm_first_token_ms,
            f"The slowest hundredth of the answers took {options.alarm_first_token_ms} ms or more to begin.",
            periods=3,
        )
    yield Watch(
        "model-without-price",
        ours.one("unpriced"),
        1,
        "A model was used that has no price: it is charged at a ceiling, and its cost is not known.",
    )
    if options.alarm_usd_per_hour:
        yield Watch(
            "cost-spike",
            ours.one("charged_usd", period=HOUR),
            options.alarm_usd_per_hour,
            f"{options.alarm_usd_per_hour} USD or more were charged within an hour.",
        )


def _of_jobs(watched: Watched) -> Iterator[Watch]:
    if watched.relay:
        yield Watch(
            "relay-behind",
            of_function("IteratorAge", watched.relay, "age", statistic=MAXIMUM),
            RELAY_BEHIND_MS,
            "Ledger rows wait longer than five minutes to be told: reports and budget alerts are late.",
        )
    if watched.sweeper:
        runs = of_function("Invocations", watched.sweeper, "runs")
        errors = of_function("Errors", watched.sweeper, "errors")
        yield Watch(
            "sweeper-failing",
            computed("FILL(runs, 0) - FILL(errors, 0)", "good runs", {"runs": runs, "errors": errors}),
            1,
            "Holds of dead processes were not swept for 15 minutes: budgets keep back what nobody uses.",
            periods=3,
            is_low=True,
        )
    if watched.dead_letters:
        waiting = {f"q{place}": waiting_in(each) for place, each in enumerate(watched.dead_letters)}
        yield Watch(
            "dead-letters",
            computed(f"SUM([{', '.join(f'FILL({name}, 0)' for name in waiting)}])", "dead letters", waiting),
            1,
            "Events could not be processed: reports lack requests, or alerts. Budgets are exact.",
        )
