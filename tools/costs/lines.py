"""The bill as lines: a quantity of something at a price."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from tools.costs.quantities import (
    JOB_MEMORY_MB,
    JOB_MS,
    MINUTES_A_MONTH,
    PLATFORM_LINES_BYTES,
    POLLS_A_QUEUE,
    Assumed,
    Counted,
)

GB = Decimal(10**9)
MB_OF_GB = Decimal(1024)
KB_OF_GB = Decimal(10**6)

JOBS = ("ledger_relay", "usage_aggregator", "budget_notifier")
NOTIFIER_READ_UNITS = 10
"""Assumed: the row, its buckets and the policy."""

QUEUES_OF_A_ROW = 2
CALLS_OF_A_MESSAGE = 3
"""Sent, received, deleted."""


@dataclass(frozen=True, slots=True)
class Line:
    """`price` is a name in prices.yaml."""

    what: str
    quantity: Decimal
    price: str


def idle_lines(counted: Counted) -> Iterator[Line]:
    """Give a month in which nobody sends anything."""
    runs = Decimal(MINUTES_A_MONTH)
    yield Line("provider credentials in Secrets Manager", Decimal(counted.secrets), "secret")
    yield Line("alarms, by the metrics that they look at", Decimal(counted.alarm_metrics), "alarm_metric")
    yield Line("Lambda asking empty queues", Decimal(counted.polled_queues * POLLS_A_QUEUE), "sqs_request")
    yield Line("the sweeper asking for dead letters", runs * counted.dead_letter_queues, "sqs_request")
    # A query that finds nothing costs half a unit or a whole one; there is one more, for untold thresholds.
    queries = runs * (counted.lease_partitions + 1)
    yield Line("the sweeper looking for expired holds", queries, "dynamodb_read")
    yield Line("the sweeper's invocations", runs, "lambda_request")
    yield Line("the sweeper's time", runs * _job_gb_seconds(), "lambda_gb_second")
    yield Line("the sweeper's log", runs * PLATFORM_LINES_BYTES / GB, "log_ingestion")


def request_lines(counted: Counted, assumed: Assumed, requests: int) -> Iterator[Line]:
    """Give what requests cost, each row told and counted alone: batches make it cheaper."""
    yield from _proxy_lines(counted, assumed, Decimal(requests))
    yield from _behind_lines(counted, Decimal(requests))


def _proxy_lines(counted: Counted, assumed: Assumed, n: Decimal) -> Iterator[Line]:
    seconds = n * assumed.stream_s * assumed.proxy_memory_mb / MB_OF_GB
    writes = n * (counted.reserve_write_units + counted.settle_write_units)
    lines = counted.metric_line_bytes + counted.request_line_bytes + PLATFORM_LINES_BYTES
    yield Line("the proxy's time", seconds, "lambda_gb_second")
    yield Line("the proxy's invocations", n, "lambda_request")
    yield Line("prompts sent to a provider outside of AWS", n * assumed.prompt_kb / KB_OF_GB, "internet_out")
    yield Line("answers sent to the developers", n * assumed.answer_kb / KB_OF_GB, "internet_out")
    yield Line("holds, buckets and ledger rows written", writes, "dynamodb_write")
    yield Line("keys and policy read", n * counted.proxy_read_units, "dynamodb_read")
    yield Line("log and metric lines", n * lines / GB, "log_ingestion")
    yield Line("log kept a month", n * lines / GB, "log_storage")
    stored = n * counted.stored_bytes / GB
    yield Line("ledger rows kept a month", stored, "dynamodb_storage")
    yield Line("and able to be restored", stored, "dynamodb_recovery")


def _behind_lines(counted: Counted, n: Decimal) -> Iterator[Line]:
    yield Line("rows told to the event bus", n, "eventbridge_event")
    yield Line("messages through two queues", n * QUEUES_OF_A_ROW * CALLS_OF_A_MESSAGE, "sqs_request")
    yield Line("sums written", n * counted.rollup_write_units, "dynamodb_write")
    yield Line("rows, buckets and policy read by jobs", n * NOTIFIER_READ_UNITS, "dynamodb_read")
    yield Line("invocations of jobs", n * len(JOBS), "lambda_request")
    yield Line("time of jobs", n * len(JOBS) * _job_gb_seconds(), "lambda_gb_second")
    yield Line("log of jobs", n * len(JOBS) * PLATFORM_LINES_BYTES / GB, "log_ingestion")


def metric_lines(counted: Counted, assumed: Assumed) -> Iterator[Line]:
    """Give the metrics of a month in which they are written every hour; unwritten ones cost nothing."""
    kinds = (
        ("metrics of the stage", counted.metrics_of_stage),
        ("metrics by model", counted.metrics_of_model * assumed.models),
        ("metrics by model and outcome", counted.metrics_of_outcome * assumed.models * assumed.outcomes),
        ("metrics by workspace", counted.metrics_of_workspace * assumed.workspaces),
        ("metrics of jobs", counted.metrics_of_jobs),
    )
    for what, count in kinds:
        yield Line(what, Decimal(count), "custom_metric")


def _job_gb_seconds() -> Decimal:
    return Decimal(JOB_MEMORY_MB) / MB_OF_GB * JOB_MS / 1000
