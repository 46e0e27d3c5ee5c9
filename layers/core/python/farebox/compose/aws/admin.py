"""Wires the admin function: the admin plane behind mangum, and the first admin key for the deployer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from mangum import Mangum

from farebox.adapters.aws.services.event_bus import BusAnnouncer
from farebox.compose.aws.jobs import aws_service
from farebox.compose.aws.store import AwsStore, open_store
from farebox.compose.deployment import BOOTSTRAP_EVENT, load_deployment
from farebox.compose.prices import load_prices
from farebox.domain.errors import Conflict
from farebox.http.admin.app import build_admin_app
from farebox.http.admin.keys.bootstrap import first_admin_key
from farebox.http.admin.ports import DEPLOYED_CREDENTIALS, AdminPorts
from farebox.jobs.replay import Replayer

Handler = Callable[[dict[str, Any], Any], dict[str, Any]]
"""What Lambda calls: an event and a context, JSON objects both ways."""

METRICS_ELSEWHERE = "# The metrics of a deployment are in CloudWatch; see its dashboards.\n"


def open_admin(environment: Mapping[str, str]) -> AwsStore:
    """Open what the admin function needs. Raises `ConfigInvalid` where the environment lacks something."""
    deployment = load_deployment(environment)
    # Whoever is told the bus is part of a deployment whose rows are counted behind it.
    return open_store(deployment, environment, is_rolled_up=deployment.event_bus is not None)


def admin_handler(aws: AwsStore) -> Handler:
    """Make the admin function's handler, on an event loop of its own that stays the thread's."""
    # mangum runs each request on the thread's loop; one loop for all keeps connections alive between them.
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    serve = Mangum(build_admin_app(admin_ports(aws)), lifespan="off")

    def handle(event: dict[str, Any], context: Any) -> dict[str, Any]:
        if event == BOOTSTRAP_EVENT:
            return loop.run_until_complete(_bootstrap(aws))
        return serve(event, context)

    return handle


def admin_ports(aws: AwsStore) -> AdminPorts:
    """Give what the admin plane needs of a deployment."""
    store = aws.store
    return AdminPorts(
        keys=store.keys,
        policies=store.policies,
        reports=store.reports,
        ledger=store.ledger,
        breakers=store.breakers,
        clock=aws.clock,
        randomness=aws.randomness,
        metrics=lambda: METRICS_ELSEWHERE,
        spending=store.spending,
        prices=load_prices(),
        replayer=replayer_of(aws),
        reads_credentials=DEPLOYED_CREDENTIALS,
    )


def replayer_of(aws: AwsStore) -> Replayer | None:
    """Give what tells of ledger rows again, where there is a bus."""
    bus = aws.deployment.event_bus
    if bus is None:
        return None
    return Replayer(aws.store.ledger_rows, BusAnnouncer(aws_service(aws, "events"), bus), aws.clock)


async def _bootstrap(aws: AwsStore) -> dict[str, Any]:
    try:
        return {"admin_key": await first_admin_key(aws.store.keys, aws.clock, aws.randomness)}
    except Conflict as conflict:
        return {"error": conflict.message}
