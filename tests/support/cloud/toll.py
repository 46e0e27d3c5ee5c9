"""What one streamed request asks of DynamoDB, through a whole gateway: calls by phase, and write units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from farebox.adapters.aws.store import DynamoStore
from farebox.adapters.clock import SystemClock, SystemRandomness
from farebox.compose.settings import Settings
from farebox.http.data_plane import DataPlane
from farebox.wire.http1 import Http1Transport
from tests.support.cloud.gateway import MeteredClient, apply, post, wired_over
from tests.support.dynamo import deployed
from tests.support.laptop import a_policy, asking
from tests.support.upstream import Received, Reply, ScriptedUpstream, sse_message, usage

WRITES = frozenset({"UpdateItem", "PutItem", "DeleteItem", "TransactWriteItems"})
USD_PER_MILLION_WRITE_UNITS = 0.625
"""On demand, us-east-1. Source: Amazon DynamoDB pricing, read 2026-11."""

TWO_BUDGETS = (
    {"name": "platform-month", "scope": {"workspace": "default"}, "usd": 1_000, "period": "month"},
    {"name": "key-day", "scope": {"key": "*"}, "usd": 50, "period": "day"},
)
OF_A_KEY = (
    {"name": "key-rpm", "scope": {"key": "*"}, "requests": 120, "per": "minute"},
    {"name": "key-tpm", "scope": {"key": "*"}, "tokens": 10**6, "per": "minute"},
    {"name": "key-at-once", "scope": {"key": "*"}, "concurrent": 10},
)
OF_ALL = ({"name": "all-rpm", "scope": {}, "requests": 10**6, "per": "minute"},)


@dataclass(frozen=True, slots=True)
class Toll:
    """Calls before the provider is asked and after its answer has begun, in their order, and write units."""

    before: tuple[str, ...]
    after: tuple[str, ...]
    write_units: float

    @property
    def usd_per_million(self) -> float:
        """What the writes of a million such requests cost."""
        return self.write_units * USD_PER_MILLION_WRITE_UNITS


async def tolls(port: int, rate_limits: Sequence[object]) -> tuple[Toll, Toll]:
    """Stream two short answers through a new gateway over MiniStack at `port`. The first one reads the policy
    and the key, and finds no counters of the key yet; the second one is like all that follow soon.
    """
    deployment, clock, transport = deployed(port), SystemClock(), Http1Transport()
    client = MeteredClient(deployment.client(transport, clock))
    store = DynamoStore.over(client, deployment.names, clock)
    asked_at: list[int] = []

    def answer(received: Received) -> Reply:
        asked_at.append(len(client.seen))
        return sse_message("An answer.", usage=usage(input_tokens=9, output_tokens=3))

    with ScriptedUpstream(answer) as upstream:
        policy = a_policy(upstream, budgets=[*TWO_BUDGETS], rate_limits=[*rate_limits])
        keys = await apply(store, policy, clock)
        wired = wired_over(store, Settings(), transport, clock)
        plane = DataPlane(wired.gateway, SystemRandomness(), body_bytes_max=10**6)
        found = []
        for number in range(2):
            client.seen.clear()
            told = await post(plane, asking(stream=True), keys["alice"])
            assert told.status == 200, told
            found.append(_toll(client.seen, asked_at[number]))
    await transport.aclose()
    return found[0], found[1]


def _toll(seen: Sequence[tuple[str, float]], split: int) -> Toll:
    return Toll(
        before=tuple(operation for operation, _ in seen[:split]),
        after=tuple(operation for operation, _ in seen[split:]),
        write_units=sum(units for operation, units in seen if operation in WRITES),
    )
