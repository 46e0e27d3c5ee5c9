"""What there is to look at in a deployment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sqs as sqs


@dataclass(frozen=True, slots=True)
class Watched:
    """Functions, queues and logs by what they are for. A part that is not there is not watched.

    `functions` are all of them, by name.
    """

    budgets_table: dynamodb.ITable
    functions: Mapping[str, lambda_.IFunction]
    proxy: lambda_.IFunction | None = None
    proxy_log: logs.ILogGroup | None = None
    notifier_log: logs.ILogGroup | None = None
    relay: lambda_.IFunction | None = None
    sweeper: lambda_.IFunction | None = None
    dead_letters: Sequence[sqs.IQueue] = field(default_factory=tuple)
