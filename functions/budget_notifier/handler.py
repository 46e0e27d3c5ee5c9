"""Entry point of the notifier: tells people what the ledger rows of queued events give reason to."""

from __future__ import annotations

from functools import cache
from typing import Any

from aws_lambda_powertools import Logger

from farebox.compose.aws.alerts import notifier_job
from farebox.compose.aws.jobs import Job
from farebox.compose.settings import process_environment

# Named as the package, so that what its modules log goes through this one.
LOG = Logger(service="farebox", job="budget_notifier")


@cache
def _wired() -> Job:
    return notifier_job(process_environment(), print)


@LOG.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Tell of one batch of messages; say which of them must come again."""
    return _wired()(event)
