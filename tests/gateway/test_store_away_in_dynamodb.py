"""While DynamoDB is away: what a budget or a limit could stop is refused, the rest goes on, booked later."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from farebox.adapters.aws.store import DynamoStore
from farebox.adapters.clock import SystemRandomness
from farebox.compose.gateway import WiredGateway
from farebox.compose.settings import Settings
from farebox.domain.record import Outcome
from farebox.http.data_plane import DataPlane
from farebox.wire.http1 import Http1Transport
from tests.support.builders import FixedClock
from tests.support.cloud.gateway import Answer, apply, post, wired_over
from tests.support.dynamo import deployed
from tests.support.fault_proxy import Fault, FaultProxy
from tests.support.laptop import a_policy, asking
from tests.support.ministack import Ministack, ministack
from tests.support.upstream import ScriptedUpstream, sse_message, usage

__all__ = ["ministack"]

ANSWER = sse_message("An answer.", usage=usage(input_tokens=9, output_tokens=3))
SEEN = {"name": "seen", "scope": {}, "usd": 1, "period": "day", "on_exhausted": "alert"}
BLOCKING = {"name": "day", "scope": {}, "usd": 1000, "period": "day"}
# Longer than a snapshot of the policy or a key serves without being looked at again.
A_WHILE = timedelta(seconds=30)


@dataclass
class Running:
    """A gateway, and the way to its store, which can be cut."""

    proxy: FaultProxy
    store: DynamoStore
    wired: WiredGateway
    plane: DataPlane
    clock: FixedClock
    secret: str

    def cut(self) -> None:
        self.clock.advance(A_WHILE)
        self.proxy.faults.extend([Fault.CUT_BEFORE] * 10_000)

    def mend(self) -> None:
        self.proxy.faults.clear()

    async def ask(self) -> Answer:
        return await post(self.plane, asking(stream=True), self.secret)

    async def outcomes(self) -> list[Outcome]:
        return [row.outcome for row in (await self.store.reports.requests()).rows]


@asynccontextmanager
async def running(port: int, upstream: ScriptedUpstream, **sections: object) -> AsyncIterator[Running]:
    clock, transport, deployment = FixedClock(), Http1Transport(), deployed(port)
    async with FaultProxy(port, spoils_reads=True) as proxy:
        store = deployment.store(transport, clock, port=proxy.port)
        keys = await apply(store, a_policy(upstream, **sections), clock)
        wired = wired_over(store, Settings(), transport, clock)
        plane = DataPlane(wired.gateway, SystemRandomness(), body_bytes_max=10**6)
        gateway = Running(proxy, store, wired, plane, clock, keys["alice"])
        try:
            assert (await gateway.ask()).status == 200
            yield gateway
            gateway.mend()
            assert await store.reports.verify() == []
        finally:
            await transport.aclose()


async def test_a_blocking_budget_fails_closed_and_opens_again(ministack: Ministack) -> None:
    with ScriptedUpstream(lambda received: ANSWER) as upstream:
        async with running(ministack.port, upstream, budgets=[BLOCKING, SEEN]) as gateway:
            gateway.cut()
            told = await gateway.ask()
            assert (told.status, json.loads(told.body)["error"]["type"]) == (503, "api_error")
            assert len(upstream.messages) == 1
            gateway.mend()
            assert (await gateway.ask()).status == 200


async def test_a_rate_limit_fails_closed(ministack: Ministack) -> None:
    limit = {"name": "key-rpm", "scope": {"key": "*"}, "requests": 100, "per": "minute"}
    with ScriptedUpstream(lambda received: ANSWER) as upstream:
        async with running(ministack.port, upstream, budgets=[SEEN], rate_limits=[limit]) as gateway:
            gateway.cut()
            assert (await gateway.ask()).status == 503
            assert len(upstream.messages) == 1


async def test_with_budgets_that_only_alert_requests_go_on_and_are_booked_later(
    ministack: Ministack,
) -> None:
    with ScriptedUpstream(lambda received: ANSWER) as upstream:
        async with running(ministack.port, upstream, budgets=[SEEN]) as gateway:
            gateway.cut()
            for _ in range(3):
                assert (await gateway.ask()).status == 200
            assert (len(upstream.messages), len(gateway.wired.backlog)) == (4, 3)
            gateway.mend()
            assert await gateway.wired.backlog.settle() == 3
            assert await gateway.outcomes() == [Outcome.FINISHED] * 4
            assert await gateway.wired.backlog.settle() == 0
