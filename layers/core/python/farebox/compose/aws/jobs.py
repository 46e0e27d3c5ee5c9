"""What the functions behind requests have in common: an event loop of their own, services, their answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from farebox.adapters.aws.services.call import AwsService
from farebox.compose.aws.store import AwsStore, open_store
from farebox.compose.deployment import load_deployment
from farebox.domain.errors import ConfigInvalid

Event = Mapping[str, Any]
Answer = dict[str, Any]
Work = Callable[[Event], Awaitable[Answer]]
Write = Callable[[str], None]
"""Gets one line of log or metrics, without its end."""


class Job:
    """One function's work. Its event loop stays, so that connections last from one invocation to the next."""

    def __init__(self, aws: AwsStore, work: Work) -> None:
        self._aws, self._work = aws, work
        self._loop = asyncio.new_event_loop()

    def __call__(self, event: Event) -> Answer:
        """Do what an event asks for; give Lambda's answer."""
        return self._loop.run_until_complete(self._work(event))

    def close(self) -> None:
        """Let go of connections and the loop."""
        self._loop.run_until_complete(self._aws.aclose())
        self._loop.close()


def failures(identifiers: list[str]) -> Answer:
    """Say which messages of a batch, or from which place of a stream on, Lambda shall bring again."""
    return {"batchItemFailures": [{"itemIdentifier": identifier} for identifier in identifiers]}


def aws_service(aws: AwsStore, service: str) -> AwsService:
    """Give a service beside DynamoDB, with the role's credentials."""
    return AwsService(
        aws.transport, aws.origin(service), aws.deployment.region, service, aws.credentials, aws.clock
    )


def open_tables(environment: Mapping[str, str]) -> AwsStore:
    return open_store(load_deployment(environment), environment)


def told(value: str | None, field: str) -> str:
    """Give what the stacks tell a function. Raises `ConfigInvalid` where they do not."""
    if value is None:
        raise ConfigInvalid(field, "this function is not told it; the deployment's stacks do")
    return value
