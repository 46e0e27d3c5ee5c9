"""Wires a deployment: the core over DynamoDB, Secrets Manager and the role of the function it runs in."""

from __future__ import annotations

import ssl
from collections.abc import Mapping

from msgspec import Struct

from farebox.adapters.aws.dynamodb.client import DynamoClient, Service
from farebox.adapters.aws.dynamodb.credentials import CredentialSource
from farebox.adapters.aws.services.objects import BucketObjects
from farebox.adapters.aws.services.role import role_credentials
from farebox.adapters.aws.store import DynamoStore
from farebox.adapters.clock import SystemClock, SystemRandomness
from farebox.compose.deployment import Deployment
from farebox.compose.settings import load_settings
from farebox.domain.routing.hosts import AddressRule
from farebox.wire.http import Origin, origin_of
from farebox.wire.http1 import Http1Transport


class AwsStore(Struct, frozen=True):
    """The deployment's tables as one function sees them, and what it takes to reach other services."""

    store: DynamoStore
    clock: SystemClock
    randomness: SystemRandomness
    transport: Http1Transport
    credentials: CredentialSource
    deployment: Deployment

    def origin(self, service: str) -> Origin:
        """Give the endpoint of an AWS service in the deployment's region."""
        return service_origin(self.deployment, service)

    async def aclose(self) -> None:
        """Let go of sockets."""
        await self.transport.aclose()


def open_store(
    deployment: Deployment, environment: Mapping[str, str], *, is_rolled_up: bool = False
) -> AwsStore:
    """Open the tables with the role's credentials; nothing is read yet. Raises `ConfigInvalid`.

    `is_rolled_up` lets reports read the sums, where a function has the right to.
    """
    clock, randomness = SystemClock(), SystemRandomness()
    settings = load_settings(environment)
    chosen_hosts = AddressRule(settings.trusted_hosts)
    transport = Http1Transport(
        ssl.create_default_context(),
        chosen_hosts=chosen_hosts,
        seconds=lambda: clock.monotonic_ms() / 1_000,
    )
    credentials = role_credentials(environment, transport, clock)
    service = Service(service_origin(deployment, "dynamodb"), deployment.region)
    client = DynamoClient(transport, service, credentials, clock=clock, randomness=randomness)
    store = DynamoStore.over(
        client,
        deployment.tables,
        clock,
        is_rolled_up=is_rolled_up,
        shards=settings.bucket_shards,
        objects=_objects(deployment, transport, credentials, clock),
    )
    return AwsStore(store, clock, randomness, transport, credentials, deployment)


def _objects(
    deployment: Deployment, transport: Http1Transport, credentials: CredentialSource, clock: SystemClock
) -> BucketObjects | None:
    if deployment.cache_bucket is None:
        return None
    return BucketObjects(
        transport,
        service_origin(deployment, "s3"),
        deployment.region,
        credentials,
        clock,
        bucket=deployment.cache_bucket,
    )


def service_origin(deployment: Deployment, service: str) -> Origin:
    """Give a service's regional endpoint, or the one endpoint that stands in for all of them."""
    if deployment.endpoint_url is None:
        return Origin("https", f"{service}.{deployment.region}.amazonaws.com", 443)
    return origin_of(deployment.endpoint_url)
