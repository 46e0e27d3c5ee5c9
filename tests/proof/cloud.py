"""Several gateways over one set of DynamoDB tables, and the books that they keep there."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import uvicorn
import uvloop

from farebox.adapters.aws.dynamodb.client import Patience
from farebox.adapters.aws.ledger.outbox import written_row
from farebox.adapters.aws.store import DynamoStore
from farebox.adapters.clock import SystemClock, SystemRandomness
from farebox.cli.serve import BACKLOG, SETTLE_WITHIN_S, server_config
from farebox.compose.settings import Settings
from farebox.http.data_plane import DataPlane
from farebox.ports import BucketStanding
from farebox.wire.http import Timeouts
from farebox.wire.http1 import Http1Transport
from tests.proof.books import Booked, booked_in_order
from tests.proof.crowd import SHARED
from tests.support.cloud.gateway import apply, wired_over
from tests.support.dynamo import Deployment, ask, call_service, deployed
from tests.support.raw_client import HOST, WAIT_S

Result = TypeVar("Result")

LOOK_EVERY_S = 0.02
UNHURRIED = Patience(
    total_ms=60_000,
    timeouts=Timeouts(connect_ms=30_000, first_byte_ms=30_000, idle_ms=30_000, total_ms=60_000),
)
"""The emulator does one thing after the other: whoever comes last of hundreds waits."""


@dataclass
class Cloud:
    """The gateways are wired as everywhere, each with a store, connections and a memory of its own; all run
    on one thread. `ports` and `keys`, the secrets by name, are there once it is ready.
    """

    deployment: Deployment
    policy: Mapping[str, object]
    settings: Settings
    gateways: int
    ports: list[int] = field(default_factory=list)
    keys: dict[str, str] = field(default_factory=dict)

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine in the loop of the gateways."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(WAIT_S)

    def standings(self) -> list[BucketStanding]:
        """Give the buckets of every budget."""
        return self.run(self._standings())

    def drifts(self) -> Sequence[str]:
        """Give what the ledger's own audit finds wrong."""
        return self.run(self._store.reports.verify())

    def books(self) -> Booked:
        """Read the rows from the table's stream, which has them in the order in which they were committed."""
        stream = _stream(self.deployment.port, self.deployment.names.usage)
        written = [row for row in map(written_row, stream) if row is not None]
        return booked_in_order(row.record for row in written if row.record is not None)

    async def highest_use(self, done: asyncio.Event) -> int:
        """Look at the shared bucket, as often as the emulator does not mind."""
        highest = 0
        while not done.is_set():
            looking = asyncio.run_coroutine_threadsafe(self._standings(), self._loop)
            for each in await asyncio.wrap_future(looking):
                if each.budget.name == SHARED:
                    highest = max(highest, each.standing.settled + each.standing.held)
            with suppress(TimeoutError):
                await asyncio.wait_for(done.wait(), LOOK_EVERY_S)
        return highest

    async def serve(self, ready: threading.Event) -> None:
        """Apply the policy, then serve until `stop`."""
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        self._clock, transport = SystemClock(), Http1Transport()
        self._store = self._opened(transport)
        self.keys |= await apply(self._store, self.policy, self._clock)
        listeners = [socket.create_server((HOST, 0), backlog=BACKLOG) for _ in range(self.gateways)]
        self.ports += [int(listener.getsockname()[1]) for listener in listeners]
        ready.set()
        serving = [self._serve_one(listener) for listener in listeners]
        await asyncio.gather(*serving)
        await transport.aclose()

    def stop(self) -> None:
        """Let the gateways end."""
        self._loop.call_soon_threadsafe(self._stopping.set)

    async def _serve_one(self, listener: socket.socket) -> None:
        transport, randomness = Http1Transport(), SystemRandomness()
        store = self._opened(transport)
        wired = wired_over(store, self.settings, transport, self._clock)
        plane = DataPlane(wired.gateway, randomness, body_bytes_max=self.settings.max_body_bytes)
        server = uvicorn.Server(server_config(plane, self.settings))
        leases, serving = (
            asyncio.ensure_future(each) for each in (wired.leases.run(), server.serve(sockets=[listener]))
        )
        await self._stopping.wait()
        server.should_exit = True
        await serving
        assert await plane.idle(SETTLE_WITHIN_S)
        leases.cancel()
        await transport.aclose()

    def _opened(self, transport: Http1Transport) -> DynamoStore:
        return self.deployment.store(transport, self._clock, patience=UNHURRIED)

    async def _standings(self) -> list[BucketStanding]:
        policy = await self._store.policies.current()
        return list(await self._store.reports.standings(policy.budgets, self._clock.now()))


@contextmanager
def a_cloud(port: int, policy: Mapping[str, object], settings: Settings, *, gateways: int) -> Iterator[Cloud]:
    """Make tables in MiniStack at `port`, and serve so many gateways over them."""
    cloud, ready = Cloud(deployed(port), policy, settings, gateways), threading.Event()
    failures: list[BaseException] = []

    def serve() -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(cloud.serve(ready))
        except BaseException as failure:
            failures.append(failure)
        finally:
            ready.set()

    thread = threading.Thread(target=serve, name="cloud", daemon=True)
    thread.start()
    assert ready.wait(WAIT_S), "the gateways did not start"
    try:
        if not failures:
            yield cloud
    finally:
        if not failures:
            cloud.stop()
        thread.join(WAIT_S)
    if failures:
        raise failures[0]


def _stream(port: int, table: str) -> Iterator[Mapping[str, Any]]:
    """Walk through the whole stream of a table; the emulator has one shard for it."""

    def streams(operation: str, **payload: object) -> dict[str, Any]:
        return call_service(
            port, "dynamodb", operation, payload, target="DynamoDBStreams_20120810", version="1.0"
        )

    arn = ask(port, "DescribeTable", {"TableName": table})["Table"]["LatestStreamArn"]
    (shard,) = streams("DescribeStream", StreamArn=arn)["StreamDescription"]["Shards"]
    place = streams(
        "GetShardIterator", StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    while place:
        found = streams("GetRecords", ShardIterator=place)
        yield from found["Records"]
        place = found.get("NextShardIterator") if found["Records"] else None
