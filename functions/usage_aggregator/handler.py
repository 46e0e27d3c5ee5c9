"""Entry point of the aggregator: ledger rows that queued events are about, added to the sums of reports."""

from __future__ import annotations

from functools import cache
from typing import Any

from aws_lambda_powertools import Logger

from farebox.compose.aws.carriers import aggregator_job
from farebox.compose.aws.jobs import Job
from farebox.compose.settings import process_environment

# Named as the package, so that what its modules log goes through this one.
LOG = Logger(service="farebox", job="usage_aggregator")


@cache
def _wired() -> Job:
    return aggregator_job(process_environment(), print)


@LOG.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Count one batch of messages; say which of them must come again."""
    return _wired()(event)
