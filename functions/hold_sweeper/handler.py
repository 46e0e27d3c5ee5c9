"""Entry point of the sweeper: each minute, holds of dead processes, untold alerts, dead letters."""

from __future__ import annotations

from functools import cache
from typing import Any

from aws_lambda_powertools import Logger

from farebox.compose.aws.alerts import sweeper_job
from farebox.compose.aws.jobs import Job
from farebox.compose.settings import process_environment

# Named as the package, so that what its modules log goes through this one.
LOG = Logger(service="farebox", job="hold_sweeper")


@cache
def _wired() -> Job:
    return sweeper_job(process_environment(), print)


@LOG.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Sweep once; what fails is tried again a minute later."""
    return _wired()(event)
