"""One gateway over DynamoDB in the test's own loop, wired as everywhere, and what it asks of the store."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from farebox.adapters.aws.dynamodb.client import DynamoClient
from farebox.adapters.aws.store import DynamoStore
from farebox.adapters.clock import SystemRandomness
from farebox.adapters.clouds.credentials import ProviderCredentials, sts_origin
from farebox.adapters.local.event_bus import LocalEventBus
from farebox.adapters.local.secrets import LocalSecrets
from farebox.adapters.price_data import PriceData
from farebox.compose.gateway import GatewayPorts, WiredGateway, wire_gateway
from farebox.compose.google import google_credentials
from farebox.compose.settings import Settings
from farebox.http.admin.apply import apply_document
from farebox.http.admin.ports import AdminPorts
from farebox.http.data_plane import DataPlane
from farebox.http.errors import status_of
from farebox.http.policy_document import parse_policy
from farebox.ports import Clock, EventBus
from farebox.wire.http1 import Http1Transport
from tests.support.laptop import CREDENTIAL_NAME, PROVIDER_SECRET


class MeteredClient(DynamoClient):
    """Remembers what was asked, and what units it took; reads as the emulator does not tell them all."""

    def __init__(self, client: DynamoClient) -> None:
        self._client = client
        self.seen: list[tuple[str, float]] = []

    async def call(self, operation: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        place = len(self.seen)
        self.seen.append((operation, 0.0))
        answer = await self._client.call(operation, {**payload, "ReturnConsumedCapacity": "TOTAL"})
        consumed = answer.get("ConsumedCapacity", [])
        parts = consumed if isinstance(consumed, list) else [consumed]
        self.seen[place] = (operation, sum(each["CapacityUnits"] for each in parts))
        return answer

    async def pause(self, tries: int) -> None:
        await self._client.pause(tries)

    def token(self) -> str:
        return self._client.token()


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client got of one request."""

    status: int
    body: bytes


def wired_over(
    store: DynamoStore,
    settings: Settings,
    transport: Http1Transport,
    clock: Clock,
    *,
    events: EventBus | None = None,
) -> WiredGateway:
    """Wire a gateway over a store; provider credentials are variables."""
    ports = GatewayPorts(
        keys=store.keys,
        policies=store.policies,
        ledger=store.ledger,
        rate_limiter=store.rate_limits,
        breakers=store.breakers,
        credentials=ProviderCredentials(
            LocalSecrets({CREDENTIAL_NAME: PROVIDER_SECRET}),
            None,
            google_credentials({}, None, transport, clock),
            transport=transport,
            clock=clock,
            sts_origin=sts_origin({}),
        ),
        events=events or LocalEventBus([]),
        transport=transport,
        clock=clock,
        randomness=SystemRandomness(),
    )
    return wire_gateway(ports, settings, PriceData().book(), status_of=status_of)


async def apply(store: DynamoStore, document: Mapping[str, object], clock: Clock) -> dict[str, str]:
    """Apply a policy; give the secrets of the keys that it made, by name."""
    ports = AdminPorts(
        keys=store.keys,
        policies=store.policies,
        reports=store.reports,
        ledger=store.ledger,
        breakers=store.breakers,
        clock=clock,
        randomness=SystemRandomness(),
        metrics=lambda: "",
        spending=store.spending,
    )
    applied = await apply_document(parse_policy(document), ports, actor="test")
    return {issued.key.name: issued.secret for issued in applied.created_keys}


async def post(plane: DataPlane, body: bytes, secret: str) -> Answer:
    """Post a message with a gateway key, and read the whole answer."""
    sent: list[Any] = []
    pending = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Any:
        return pending.pop() if pending else await asyncio.get_running_loop().create_future()

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"content-type", b"application/json"), (b"x-farebox-key", secret.encode())]
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/messages",
        "query_string": b"",
        "headers": headers,
    }
    await plane(scope, receive, send)
    return Answer(sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:]))
