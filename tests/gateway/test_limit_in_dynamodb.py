"""Rate limits of a deployment, through whole gateways over one set of tables: exact, whoever comes when."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from farebox.adapters.aws.store import DynamoStore
from farebox.adapters.clock import SystemRandomness
from farebox.compose.settings import Settings
from farebox.http.data_plane import DataPlane
from farebox.wire.http1 import Http1Transport
from tests.support.builders import FixedClock
from tests.support.cloud.gateway import Answer, apply, post, wired_over
from tests.support.dynamo import deployed
from tests.support.laptop import a_policy, asking
from tests.support.ministack import Ministack, ministack
from tests.support.upstream import Gate, Received, Reply, ScriptedUpstream, sse_message, usage

__all__ = ["ministack"]

GATEWAYS = 3
ANSWER = sse_message("An answer.", usage=usage(input_tokens=9, output_tokens=3))


@dataclass
class Gateways:
    """Several, each with a store and a memory of its own. The clock stands."""

    planes: list[DataPlane]
    stores: list[DynamoStore]
    keys: Mapping[str, str]
    upstream: ScriptedUpstream
    asked: int = 0

    async def ask(self, key: str = "alice") -> Answer:
        """Post to the next one."""
        self.asked += 1
        return await post(self.planes[self.asked % GATEWAYS], asking(stream=True), self.keys[key])

    async def ask_at_once(self, count: int) -> Counter[int]:
        """Give how often each status came."""
        return Counter(told.status for told in await asyncio.gather(*(self.ask() for _ in range(count))))


@asynccontextmanager
async def gateways(port: int, upstream: ScriptedUpstream, *limits: object) -> AsyncIterator[Gateways]:
    clock, transport, deployment = FixedClock(), Http1Transport(), deployed(port)
    stores = [deployment.store(transport, clock) for _ in range(GATEWAYS)]
    policy = a_policy(upstream, rate_limits=[*limits], keys=[{"name": "alice"}, {"name": "bob"}])
    keys = await apply(stores[0], policy, clock)
    planes = [
        DataPlane(
            wired_over(store, Settings(), transport, clock).gateway, SystemRandomness(), body_bytes_max=10**6
        )
        for store in stores
    ]
    try:
        yield Gateways(planes, stores, keys, upstream)
        assert await stores[0].reports.verify() == []
    finally:
        await transport.aclose()


async def test_of_many_at_once_exactly_the_limit_reaches_the_provider(ministack: Ministack) -> None:
    limits = (
        {"name": "key-rpm", "scope": {"key": "*"}, "requests": 12, "per": "minute"},
        {"name": "key-tpm", "scope": {"key": "*"}, "tokens": 10**6, "per": "hour"},
    )
    with ScriptedUpstream(lambda received: ANSWER) as upstream:
        async with gateways(ministack.port, upstream, *limits) as running:
            assert await running.ask_at_once(30) == {200: 12, 429: 18}
            assert len(upstream.messages) == 12
            assert (await running.ask("bob")).status == 200
            refused = await running.ask()
            assert json.loads(refused.body)["error"]["message"] == (
                "Rate limit 'key-rpm' (alice) allows 12 requests a minute; counted now: 12. "
                "Try again in 61 s at 2026-11-23T12:01:01Z."
            )


async def test_a_limit_of_everybody_and_one_of_each_key_hold_together(ministack: Ministack) -> None:
    limits = (
        {"name": "all", "requests": 10, "per": "minute"},
        {"name": "each", "scope": {"key": "*"}, "requests": 7, "per": "minute"},
    )
    with ScriptedUpstream(lambda received: ANSWER) as upstream:
        async with gateways(ministack.port, upstream, *limits) as running:
            assert await running.ask_at_once(15) == {200: 7, 429: 8}
            # What alice was refused did not count for everybody.
            told = [(await running.ask("bob")).status for _ in range(5)]
            assert told == [200, 200, 200, 429, 429]
            assert len(upstream.messages) == 10


async def test_places_are_given_back_when_answers_end(ministack: Ministack) -> None:
    opened = Gate()
    waiting = ANSWER.with_piece(2, opened)
    places = iter(range(3))

    def answer(_: Received) -> Reply:
        return ANSWER if next(places, None) is None else waiting

    at_once = {"name": "at-once", "scope": {"key": "*"}, "concurrent": 3}
    with ScriptedUpstream(answer) as upstream:
        async with gateways(ministack.port, upstream, at_once) as running:
            streaming = [asyncio.ensure_future(running.ask()) for _ in range(3)]
            await asyncio.to_thread(upstream.wait_until, lambda seen: len(seen.messages) == 3)
            assert (await running.ask()).status == 429
            opened.open()
            assert [told.status for told in await asyncio.gather(*streaming)] == [200] * 3
            assert (await running.ask()).status == 200
