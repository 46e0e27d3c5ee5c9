"""Metrics as dashboards and alarms name them: ours as the code writes them, and those of AWS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs

from farebox.jobs.emf import DIRECTIVES, JOB_DIRECTIVES, NAMESPACE

SUM, MAXIMUM = "Sum", "Maximum"
P50, P90, P99 = "p50", "p90", "p99"

FIVE_MINUTES = cdk.Duration.minutes(5)
HOUR = cdk.Duration.hours(1)
DAY = cdk.Duration.days(1)

DAY_S = 86_400

WRITTEN = (*DIRECTIVES, *JOB_DIRECTIVES)


class OurMetrics:
    """Metrics of one stage. Raises `ValueError` for one that the code does not write by these dimensions."""

    def __init__(self, stage: str) -> None:
        self._stage = stage

    def one(
        self,
        name: str,
        label: str | None = None,
        *,
        statistic: str = SUM,
        period: cdk.Duration = FIVE_MINUTES,
        **dimensions: str,
    ) -> cloudwatch.Metric:
        """Give one series: that of the whole stage, or of further dimensions."""
        _check(name, *dimensions)
        return cloudwatch.Metric(
            namespace=NAMESPACE,
            metric_name=name,
            dimensions_map={"stage": self._stage, **dimensions},
            statistic=statistic,
            period=period,
            label=label or name,
        )

    def each(
        self,
        name: str,
        *by: str,
        label: str,
        statistic: str = SUM,
        period: cdk.Duration = FIVE_MINUTES,
    ) -> cloudwatch.MathExpression:
        """Give a series for each value of some dimensions, which `label` may name as `${PROP('Dim.x')}`."""
        _check(name, *by)
        schema = ",".join((NAMESPACE, "stage", *by))
        search = f'{{{schema}}} MetricName="{name}" stage="{self._stage}"'
        return cloudwatch.MathExpression(
            expression=f"SEARCH('{search}', '{statistic}', {period.to_seconds():.0f})",
            using_metrics={},
            period=period,
            label=label,
        )


def of_function(
    name: str, function: lambda_.IFunction | None, label: str, *, statistic: str = SUM
) -> cloudwatch.Metric:
    """Give one of Lambda's metrics, of one function or of all in the account's region."""
    return cloudwatch.Metric(
        namespace="AWS/Lambda",
        metric_name=name,
        dimensions_map={"FunctionName": function.function_name} if function else {},
        statistic=statistic,
        period=FIVE_MINUTES,
        label=label,
    )


def waiting_in(queue: sqs.IQueue) -> cloudwatch.Metric:
    """Count the messages that lie in a queue."""
    return queue.metric_approximate_number_of_messages_visible(statistic=MAXIMUM, period=FIVE_MINUTES)


def computed(
    expression: str, label: str, using: Mapping[str, cloudwatch.IMetric], period: cdk.Duration = FIVE_MINUTES
) -> cloudwatch.MathExpression:
    """Give a series made of others, which the expression names."""
    return cloudwatch.MathExpression(
        expression=expression, using_metrics=dict(using), label=label, period=period
    )


def month_to_date(daily: cloudwatch.IMetric) -> cloudwatch.MathExpression:
    """Sum the days of the newest day's month, in UTC; the last value is the sum so far.

    Source: CloudWatch user guide, "Using metric math": EPOCH, DATE, MAX and RUNNING_SUM, read 2026-11.
    """
    first = f"EPOCH(day) - (DATE(day) - 1) * {DAY_S}"
    return computed(
        f"RUNNING_SUM(IF(EPOCH(day) >= MAX({first}), FILL(day, 0), 0))", "USD", {"day": daily}, period=DAY
    )


def graph(
    title: str, left: Sequence[cloudwatch.IMetric], *, width: int = 8, **more: object
) -> cloudwatch.GraphWidget:
    """Draw lines over the time that the dashboard shows."""
    return cloudwatch.GraphWidget(title=title, left=list(left), width=width, height=6, **more)


def _check(name: str, *by: str) -> None:
    dimensions = {"stage", *by}
    if not any(set(names) == dimensions and name in metrics for names, metrics in WRITTEN):
        raise ValueError(f"the code writes no metric {name} by {', '.join(sorted(dimensions))}")
