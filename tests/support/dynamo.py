"""The DynamoDB wing for tests: real code over MiniStack, tables of its own for each."""

from __future__ import annotations

import json
import urllib.request
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import astuple, dataclass, field
from typing import Any

from farebox.adapters.aws.dynamodb.client import DynamoClient, Patience, Service
from farebox.adapters.aws.dynamodb.credentials import StaticCredentials
from farebox.adapters.aws.ledger.buckets.keys import DEFAULT_SHARDS
from farebox.adapters.aws.services.objects import BucketObjects
from farebox.adapters.aws.store import DynamoStore
from farebox.adapters.aws.tables import TABLES, TableNames, creation
from farebox.adapters.clock import SystemRandomness
from farebox.ports import Clock
from farebox.wire.http import Origin
from farebox.wire.http1 import Http1Transport
from farebox.wire.sigv4 import AwsCredentials
from tests.support.builders import FixedClock
from tests.support.wings import Wing

HOST = "127.0.0.1"
REGION = "us-east-1"
CREDENTIALS = AwsCredentials("test", "test")
BRISK = Patience(base_ms=1, cap_ms=20)
"""As patient as shipped, but the waits are short."""


@dataclass
class Deployment:
    """Fresh tables on a server, and clients of them; `port` may be a proxy's in front of it."""

    port: int
    names: TableNames = field(default_factory=lambda: TableNames.with_prefix(f"t{uuid.uuid4().hex}-"))

    def create_tables(self) -> None:
        for table, name in zip(TABLES, astuple(self.names), strict=True):
            ask(self.port, "CreateTable", dict(creation(table, name)))

    def client(
        self, transport: Http1Transport, clock: Clock, *, port: int | None = None, patience: Patience = BRISK
    ) -> DynamoClient:
        return DynamoClient(
            transport,
            Service(Origin("http", HOST, port or self.port), REGION),
            StaticCredentials(CREDENTIALS),
            clock=clock,
            randomness=SystemRandomness(),
            patience=patience,
        )

    def store(
        self,
        transport: Http1Transport,
        clock: Clock,
        *,
        port: int | None = None,
        patience: Patience = BRISK,
        shards: int = DEFAULT_SHARDS,
    ) -> DynamoStore:
        return DynamoStore.over(
            self.client(transport, clock, port=port, patience=patience),
            self.names,
            clock,
            objects=self.objects(transport, clock, port=port),
            shards=shards,
        )

    @property
    def bucket(self) -> str:
        """The name of the bucket of large answers."""
        return f"{self.names.cache}bucket"

    def objects(self, transport: Http1Transport, clock: Clock, *, port: int | None = None) -> BucketObjects:
        """Give the bucket of large answers; `create_bucket` makes it."""
        origin, source = Origin("http", HOST, port or self.port), StaticCredentials(CREDENTIALS)
        return BucketObjects(transport, origin, REGION, source, clock, bucket=self.bucket)

    def create_bucket(self) -> None:
        """Make the bucket of large answers."""
        request = urllib.request.Request(
            f"http://{HOST}:{self.port}/{self.bucket}",
            method="PUT",
            headers={"authorization": f"AWS4-HMAC-SHA256 Credential=test/20261123/{REGION}/s3/aws4_request"},
        )
        urllib.request.urlopen(request, timeout=10).close()


def deployed(port: int) -> Deployment:
    deployment = Deployment(port)
    deployment.create_tables()
    return deployment


@asynccontextmanager
async def dynamo_wing(port: int) -> AsyncIterator[Wing]:
    clock, transport = FixedClock(), Http1Transport()
    deployment = deployed(port)
    deployment.create_bucket()
    yield wing_over(deployment.store(transport, clock), clock)
    await transport.aclose()


def wing_over(store: DynamoStore, clock: FixedClock) -> Wing:
    return Wing(
        keys=store.keys,
        policies=store.policies,
        ledger=store.ledger,
        reports=store.reports,
        rate_limits=store.rate_limits,
        thresholds=store.thresholds,
        spending=store.spending,
        cache=store.cache,
        breakers=store.breakers,
        clock=clock,
    )


def ask(port: int, operation: str, payload: dict[str, Any]) -> dict[str, Any]:
    """Call DynamoDB without any code of ours in between."""
    return call_service(port, "dynamodb", operation, payload, target="DynamoDB_20120810", version="1.0")


def call_service(
    port: int,
    service: str,
    operation: str,
    payload: dict[str, Any],
    *,
    target: str | None = None,
    version: str = "1.1",
) -> dict[str, Any]:
    """Call a service that speaks JSON without any code of ours in between."""
    request = urllib.request.Request(
        f"http://{HOST}:{port}/",
        data=json.dumps(payload).encode(),
        headers={
            "content-type": f"application/x-amz-json-{version}",
            "x-amz-target": f"{target or service}.{operation}",
            "authorization": f"AWS4-HMAC-SHA256 Credential=test/20261123/{REGION}/{service}/aws4_request",
        },
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        body: dict[str, Any] = json.load(answer)
        return body
