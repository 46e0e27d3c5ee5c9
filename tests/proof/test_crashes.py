"""kill -9 at every point of a request: the books balance afterwards, and nothing streamed is free."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import (
    AbstractAsyncContextManager,
    aclosing,
    asynccontextmanager,
    closing,
    contextmanager,
    suppress,
)
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

import pytest

from farebox.adapters.clock import SystemClock
from farebox.adapters.local.event_bus import LocalEventBus
from farebox.adapters.local.store import DATABASE_FILE, LocalStore
from farebox.compose.settings import Settings
from farebox.domain.record import Outcome, RequestRecord
from farebox.domain.usage import CostStatus
from farebox.jobs.sweep import Sweeper
from farebox.ports import Clock, Ledger, Policies, Reports
from farebox.wire.http1 import Http1Transport
from tests.house.tree import ROOT
from tests.proof.crowd import BYTES_PER_TOKEN, PRICES, Ask, HonestModel, a_policy_of
from tests.support.crash_gateway import AT, PASSED_BYTES, TABLES, Point
from tests.support.dynamo import Deployment, deployed
from tests.support.gateway_process import GatewayProcess
from tests.support.laptop import CREDENTIAL_NAME, PROVIDER_SECRET
from tests.support.ministack import Ministack, ministack
from tests.support.raw_client import RawClient
from tests.support.upstream import ScriptedUpstream

__all__ = ["ministack"]

MODEL = "claude-sonnet-4-5"
INPUT_PRICE, OUTPUT_PRICE = PRICES[MODEL]
# Longer than the first slice and the first top-up.
WRITTEN_TOKENS = 8_000
FIRST_SLICE_BYTES = 6_000
AFTER_A_TOP_UP_BYTES = 40_000
WAIT_S = 20.0


@dataclass(frozen=True, slots=True)
class Received:
    """What a client had when its gateway was gone."""

    body: bytes

    @property
    def is_complete(self) -> bool:
        return b"event: message_stop\n" in self.body

    @property
    def worth_picodollars(self) -> int:
        """What the provider charges for it: the input as soon as it answers, and the words."""
        whole, _, _ = self.body.rpartition(b"\n\n")
        events = [json.loads(line[6:]) for line in whole.split(b"\n") if line.startswith(b"data: ")]
        words = [event["delta"]["text"] for event in events if event["type"] == "content_block_delta"]
        started = [int(event["message"]["usage"]["input_tokens"]) for event in events[:1]]
        return sum(started) * INPUT_PRICE + sum(map(len, words)) * OUTPUT_PRICE // BYTES_PER_TOKEN


class Mortal:
    """A gateway in a process of its own that dies at a point; `ask` reads until it does."""

    def __init__(self, process: subprocess.Popen[str], model: HonestModel) -> None:
        assert process.stdout is not None
        self.process, self._model = process, model
        self._secret, port = process.stdout.readline().split()
        self._port = int(port)

    def ask(self, number: int = 0) -> Received:
        """Ask for a long answer; give what came of it."""
        ask = Ask(number, "dev-0", MODEL, 20_000, WRITTEN_TOKENS)
        own = [("x-farebox-key", self._secret), ("Content-Type", "application/json")]
        body = b""
        with suppress(ConnectionError), RawClient(self._port) as client:
            client.request("POST", "/v1/messages", own, ask.body)
            client.read_head()
            while chunk := client.read_chunk():
                body += chunk
                self._model.read(number, body)
        return Received(body)

    def ended(self) -> int:
        """Wait until the process is gone; give how it ended."""
        return self.process.wait(WAIT_S)


@contextmanager
def mortal(
    place: str, upstream: ScriptedUpstream, model: HonestModel, point: Point, passed_bytes: int = 0
) -> Iterator[Mortal]:
    """Start a gateway with this fate."""
    fate = {AT: point.value, PASSED_BYTES: str(passed_bytes), CREDENTIAL_NAME: PROVIDER_SECRET}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.crash_gateway", place],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **fate},
        stdin=pipe,
        stdout=pipe,
        text=True,
    ) as process:
        try:
            assert process.stdin is not None
            process.stdin.write(json.dumps(a_policy_of(upstream)))
            process.stdin.close()
            yield Mortal(process, model)
        finally:
            process.kill()


def die(
    place: str, point: Point, *, passed_bytes: int = 0, requests: int = 1
) -> tuple[list[Received], list[bytes]]:
    """Let a gateway die while it serves so many requests; give what clients and the provider got."""
    model = HonestModel(together=requests)
    with (
        ScriptedUpstream(model) as upstream,
        mortal(place, upstream, model, point, passed_bytes) as gateway,
        ThreadPoolExecutor(requests) as clients,
    ):
        received = list(clients.map(gateway.ask, range(requests)))
        assert gateway.ended() == -signal.SIGKILL
        return received, [request.body for request in upstream.messages]


@dataclass(frozen=True, slots=True)
class Reopened:
    """The store after the next process has swept. `settled` is by budget, summed over its buckets."""

    rows: list[RequestRecord]
    swept: int
    settled: dict[str, int]


class Later(SystemClock):
    """The time when leases that nobody renews have run out."""

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=Settings().hold_lease_s + 1)


@dataclass(frozen=True, slots=True)
class Opened:
    """What the next process has."""

    ledger: Ledger
    policies: Policies
    reports: Reports
    clock: Clock


class LedgerPlace(Protocol):
    """Where a gateway that dies keeps its books. `name` is for `crash_gateway`."""

    @property
    def name(self) -> str: ...

    def opened(self) -> AbstractAsyncContextManager[Opened]:
        """Open the books as the process does that comes after it."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A data folder. Holds of dead processes are swept at once."""

    name: str

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Opened]:
        clock = SystemClock()
        with closing(LocalStore.open(Path(self.name) / DATABASE_FILE, clock)) as store:
            yield Opened(store.ledger, store.policies, store.reports, clock)


@dataclass(frozen=True, slots=True)
class Tables:
    """Tables in MiniStack. Nobody can tell a dead process from a slow one: its leases have to run out."""

    deployment: Deployment

    @property
    def name(self) -> str:
        return f"{TABLES}:{self.deployment.port}:{self.deployment.names.usage.removesuffix('usage')}"

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Opened]:
        clock = Later()
        async with aclosing(Http1Transport()) as transport:
            store = self.deployment.store(transport, clock)
            yield Opened(store.ledger, store.policies, store.reports, clock)


@pytest.fixture(params=["local", pytest.param("dynamodb", marks=pytest.mark.proof)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> LedgerPlace:
    if request.param == "dynamodb":
        server: Ministack = request.getfixturevalue("ministack")
        return Tables(deployed(server.port))
    return Folder(str(tmp_path))


def reopened(place: LedgerPlace) -> Reopened:
    """Open the books as the next process does, sweep, and check what must be so after any death."""

    async def sweep() -> Reopened:
        async with place.opened() as books:
            sweeper = Sweeper(books.ledger, books.policies, LocalEventBus([]), books.clock)
            swept = await sweeper.sweep()
            policy = await books.policies.current()
            standings = await books.reports.standings(policy.budgets, books.clock.now())
            rows = list((await books.reports.requests()).rows)
            assert await books.reports.verify() == []
            assert [each.standing.held for each in standings] == [0] * len(standings)
            assert await sweeper.sweep() == 0
            assert list((await books.reports.requests()).rows) == rows
        settled: dict[str, int] = {}
        for each in standings:
            settled[each.budget.name] = settled.get(each.budget.name, 0) + each.standing.settled
        return Reopened(rows, swept, settled)

    return asyncio.run(sweep())


def check_it_was_booked_once(after: Reopened, received: Received) -> RequestRecord:
    """There is one row, on every budget that counts dollars, for no less than the client has got."""
    (row,) = after.rows
    dollars = {name: after.settled[name] for name in ("everyone", "key-day", "seen")}
    assert dollars == dict.fromkeys(dollars, row.charged_picodollars)
    assert row.charged_picodollars >= received.worth_picodollars
    assert row.overrun_picodollars == 0
    return row


def test_a_death_before_the_hold_leaves_nothing_behind(place: LedgerPlace) -> None:
    (received,), sent = die(place.name, Point.BEFORE_HOLD)
    after = reopened(place)
    assert (received.body, sent, after.rows, after.swept) == (b"", [], [], 0)
    assert set(after.settled.values()) == {0}


@pytest.mark.parametrize(
    ("point", "passed_bytes", "is_sent"),
    [
        (Point.AFTER_HOLD, 0, False),
        (Point.AFTER_HEADERS, 0, True),
        (Point.PASSED, FIRST_SLICE_BYTES, True),
        (Point.BEFORE_TOP_UP, 0, True),
        (Point.AFTER_TOP_UP, 0, True),
        (Point.PASSED, AFTER_A_TOP_UP_BYTES, True),
        (Point.AFTER_LAST_BYTE, 0, True),
    ],
)
def test_a_death_while_a_hold_is_open_is_charged_what_was_held(
    point: Point, passed_bytes: int, is_sent: bool, place: LedgerPlace
) -> None:
    (received,), sent = die(place.name, point, passed_bytes=passed_bytes)
    after = reopened(place)
    row = check_it_was_booked_once(after, received)
    assert (row.outcome, row.cost_status, after.swept) == (Outcome.EXPIRED, CostStatus.ESTIMATED, 1)
    assert len(sent) == is_sent
    assert len(received.body) >= passed_bytes
    assert received.is_complete is (point is Point.AFTER_LAST_BYTE)
    ask = Ask(0, "dev-0", MODEL, 20_000, WRITTEN_TOKENS)
    assert row.charged_picodollars >= len(ask.body) // BYTES_PER_TOKEN * INPUT_PRICE


def test_a_death_between_settling_and_telling_leaves_the_true_row_and_nothing_to_sweep(
    place: LedgerPlace,
) -> None:
    (received,), sent = die(place.name, Point.BETWEEN_SETTLE_AND_EMIT)
    after = reopened(place)
    row = check_it_was_booked_once(after, received)
    assert (row.outcome, row.cost_status, after.swept) == (Outcome.FINISHED, CostStatus.PRICED, 0)
    input_tokens = len(sent[0]) // BYTES_PER_TOKEN
    assert row.charged_picodollars == input_tokens * INPUT_PRICE + WRITTEN_TOKENS * OUTPUT_PRICE
    assert (received.is_complete, received.worth_picodollars) == (True, row.charged_picodollars)


def test_a_death_in_the_midst_of_five_streams_books_each_of_them_once(place: LedgerPlace) -> None:
    received, sent = die(place.name, Point.PASSED, passed_bytes=5 * FIRST_SLICE_BYTES, requests=5)
    after = reopened(place)
    assert len(sent) == len(after.rows) == len({row.id for row in after.rows}) == after.swept == 5
    assert {row.outcome for row in after.rows} == {Outcome.EXPIRED}
    charged = sum(row.charged_picodollars for row in after.rows)
    assert [after.settled[name] for name in ("everyone", "key-day", "seen")] == [charged] * 3
    least = min(row.charged_picodollars for row in after.rows)
    assert all(0 < each.worth_picodollars <= least for each in received)


def test_the_next_start_books_what_the_dead_process_left_and_says_so(tmp_path: Path) -> None:
    gateway = GatewayProcess(tmp_path)
    die(str(gateway.data), Point.PASSED, passed_bytes=FIRST_SLICE_BYTES)
    with gateway:
        assert "booked 1 request that a killed process had left open\n" in gateway.output
        assert [row["outcome"] for row in gateway.rows("requests")] == ["expired"]
        assert gateway.run("ledger", "verify").returncode == 0
