"""Entry point of the relay: new ledger rows, as the usage table's stream has them, told to the event bus."""

from __future__ import annotations

from functools import cache
from typing import Any

from aws_lambda_powertools import Logger

from farebox.compose.aws.carriers import relay_job
from farebox.compose.aws.jobs import Job
from farebox.compose.settings import process_environment

# Named as the package, so that what its modules log goes through this one.
LOG = Logger(service="farebox", job="ledger_relay")


@cache
def _wired() -> Job:
    return relay_job(process_environment(), print)


@LOG.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Relay one batch of the stream; say from which record on it must come again."""
    return _wired()(event)
