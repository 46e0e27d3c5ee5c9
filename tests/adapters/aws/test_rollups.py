"""Sums are those of the rows, in whatever order these come, however often, and whatever fails in between."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from farebox.adapters.aws.dynamodb.actions import Action
from farebox.adapters.aws.dynamodb.items import Items
from farebox.adapters.aws.ledger.outbox import DynamoLedgerRows
from farebox.adapters.aws.ledger.rollups.cells import CELLS_AT_ONCE
from farebox.adapters.aws.ledger.rollups.store import DynamoRollups
from farebox.adapters.aws.store import DynamoStore
from farebox.domain.errors import StoreFault
from farebox.domain.record import Outcome, RequestRecord
from farebox.domain.usage import CostStatus, Usage
from farebox.ports.behind import Counted, LedgerRow
from farebox.wire.http1 import Http1Transport
from tests.support.builders import NOON, FixedClock, a_hold, a_record
from tests.support.dynamo import Deployment, deployed
from tests.support.ministack import Ministack

GROUPINGS = ("key", "user", "workspace", "model", "provider", "session", "metadata.team", "metadata.a b\"c'")
HOUR = timedelta(hours=1)


class FaultyItems(Items):
    """Fails transactions as a script says: before they are done, or after, when the answer is lost."""

    def __init__(self, items: Items, script: Sequence[str]) -> None:
        super().__init__(items._client)
        self._script = list(script)

    async def transact(self, actions: Sequence[Action]) -> None:
        step = self._script.pop(0) if self._script else "fine"
        if step == "before":
            raise StoreFault("away")
        await super().transact(actions)
        if step == "after":
            raise StoreFault("the answer was lost")


@dataclass
class Scene:
    """One ledger, with two ways to sum it."""

    clock: FixedClock
    items: Items
    deployment: Deployment
    by_rows: DynamoStore
    rolled_up: DynamoStore

    @property
    def ledger_rows(self) -> DynamoLedgerRows:
        return DynamoLedgerRows(self.items, self.deployment.names)

    def rollups(self, *script: str) -> DynamoRollups:
        return DynamoRollups(FaultyItems(self.items, script), self.deployment.names, self.clock)

    async def write(
        self, record: RequestRecord, *, is_swept: bool = False, is_back: bool = False
    ) -> list[str]:
        """Settle a request, perhaps swept first; `is_back` says that it ended properly after all."""
        ids = []
        if is_swept:
            draft = replace(record, outcome=Outcome.EXPIRED, status=500, usage=Usage(output_tokens=7))
            assert await self.by_rows.ledger.reserve(a_hold(record.id, draft=draft)) is None
            await self.by_rows.ledger.settle(record.id, draft, [])
            ids.append(record.id)
        if not is_swept or is_back:
            await self.by_rows.ledger.settle(record.id, record, [])
            ids.append(f"{record.id}#correction" if is_swept else record.id)
        return ids

    async def count(self, *ids: str, rollups: DynamoRollups | None = None) -> frozenset[str]:
        counted = await (rollups or self.rollups()).count(await self.ledger_rows.rows(ids))
        return counted.failed


@asynccontextmanager
async def a_scene(port: int) -> AsyncIterator[Scene]:
    clock, transport = FixedClock(), Http1Transport()
    deployment = deployed(port)
    client = deployment.client(transport, clock)
    yield Scene(
        clock,
        Items(client),
        deployment,
        DynamoStore.over(client, deployment.names, clock),
        DynamoStore.over(client, deployment.names, clock, is_rolled_up=True),
    )
    await transport.aclose()


@pytest.fixture
async def scene(ministack: Ministack) -> AsyncIterator[Scene]:
    async with a_scene(ministack.port) as scene:
        yield scene


def records() -> st.SearchStrategy[RequestRecord]:
    names = st.sampled_from(["a", "b", 'c"#=', "ü" * 600])
    return st.builds(
        lambda hours, workspace, key, user, model, provider, session, metadata, tokens, cost, status: (
            a_record(
                at=NOON - hours * HOUR + timedelta(minutes=17),
                workspace=workspace,
                key=key,
                user=user,
                model=model,
                provider=provider,
                session_id=session,
                metadata=metadata,
                usage=Usage(tokens, tokens + 1, tokens + 2, tokens + 3, tokens + 4),
                cost_picodollars=cost,
                charged_picodollars=cost or 5,
                cost_status=CostStatus.UNPRICED if cost is None else CostStatus.PRICED,
                status=status,
            )
        ),
        st.sampled_from([0, 1, 3, 30, 31, 24 * 30, 24 * 45, 24 * 120]),
        names,
        names,
        st.none() | names,
        names,
        st.none() | names,
        st.none() | names,
        st.dictionaries(st.sampled_from(["team", "a b\"c'", "n" * 70]), names, max_size=3),
        st.integers(0, 10**6),
        st.none() | st.integers(0, 10**15),
        st.sampled_from([200, 429]),
    )


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[tuple[RequestRecord, bool, bool]], list[list[int]], list[str]]:
    """Requests (swept, back after all), batches of deliveries by number, and what happens to transactions."""
    requests = draw(st.lists(st.tuples(records(), st.booleans(), st.booleans()), min_size=1, max_size=7))
    numbered = [(replace(each[0], id=f"req_{number}"), *each[1:]) for number, each in enumerate(requests)]
    deliveries = st.lists(st.lists(st.integers(0, 99), max_size=8), max_size=4)
    faults = st.lists(st.sampled_from(["fine", "before", "after"]), max_size=8)
    return numbered, draw(deliveries), draw(faults)


@settings(max_examples=8)
@given(
    history=histories(),
    groupings=st.permutations(GROUPINGS),
    since_hours=st.none() | st.integers(0, 3_000),
    length_hours=st.none() | st.integers(0, 900),
)
async def test_any_order_repetition_and_failure_gives_the_sums_of_the_rows(
    ministack: Ministack,
    history: tuple[list[tuple[RequestRecord, bool, bool]], list[list[int]], list[str]],
    groupings: list[str],
    since_hours: int | None,
    length_hours: int | None,
) -> None:
    requests, deliveries, faults = history
    async with a_scene(ministack.port) as scene:
        ids = [
            row_id
            for each in requests
            for row_id in await scene.write(each[0], is_swept=each[1], is_back=each[2])
        ]
        rollups = scene.rollups(*faults)
        for batch in deliveries:
            await scene.count(*(ids[number % len(ids)] for number in batch), rollups=rollups)
        waiting = list(reversed(ids))
        for _ in range(len(faults) + 1):
            waiting = list(await scene.count(*waiting, rollups=rollups))
        assert waiting == []
        since = None if since_hours is None else NOON - since_hours * HOUR
        until = (
            None if length_hours is None else (since or NOON) + length_hours * HOUR + timedelta(minutes=20)
        )
        for by in groupings[:3]:
            summed = await scene.rolled_up.reports.usage(by=by, since=since, until=until)
            assert summed == await scene.by_rows.reports.usage(by=by, since=since, until=until)


async def test_a_row_is_counted_once_and_the_second_time_is_said_to_be_no_news(scene: Scene) -> None:
    await scene.write(a_record("req_1", at=NOON - 5 * HOUR))
    rows = await scene.ledger_rows.rows(["req_1", "req_1", "req_2"])
    assert [row.id for row in rows] == ["req_1"]
    first = await scene.rollups().count([*rows, *rows])
    second = await scene.rollups().count(rows)
    assert first == Counted(new=frozenset({"req_1"}))
    assert second == Counted()
    [row] = await scene.rolled_up.reports.usage(by="key", since=None)
    assert (row.group, row.requests) == ("alice", 1)


async def test_closed_hours_are_read_from_the_sums_and_the_rest_from_the_rows(scene: Scene) -> None:
    for number, hours in enumerate((5, 1)):
        await scene.write(a_record(f"req_{number}", at=NOON - hours * HOUR))
    # Nothing is counted yet: what the sums should tell is missing, and only that.
    [row] = await scene.rolled_up.reports.usage(by="key", since=None)
    assert row.requests == 1
    await scene.count("req_0", "req_1")
    [row] = await scene.rolled_up.reports.usage(by="key", since=None)
    assert row.requests == 2


async def test_a_request_with_more_metadata_than_a_transaction_takes_is_counted_in_steps(
    scene: Scene,
) -> None:
    metadata = {f"name_{number}": "x" for number in range(CELLS_AT_ONCE)}
    await scene.write(a_record("req_1", at=NOON - 5 * HOUR, metadata=metadata))
    # The second step fails, so the row is not done; coming again it is finished, and what was done stays so.
    assert await scene.count("req_1", rollups=scene.rollups("fine", "before")) == {"req_1"}
    assert await scene.count("req_1") == frozenset()
    for name in ("name_0", f"name_{CELLS_AT_ONCE - 1}"):
        [row] = await scene.rolled_up.reports.usage(by=f"metadata.{name}", since=None)
        assert (row.group, row.requests, row.output_tokens) == ("x", 1, 20)


async def test_one_transaction_that_fails_leaves_the_others_counted(scene: Scene) -> None:
    ids = []
    for number in range(40):
        ids += await scene.write(a_record(f"req_{number:02d}", at=NOON - 5 * HOUR, key=f"key_{number:02d}"))
    failed = await scene.count(*ids, rollups=scene.rollups("fine", "before"))
    assert 0 < len(failed) < 40
    assert await scene.count(*ids) == frozenset()
    usage = await scene.rolled_up.reports.usage(by="key", since=None)
    assert [(row.group, row.requests) for row in usage] == [(f"key_{number:02d}", 1) for number in range(40)]


async def test_rows_are_found_again_by_time_page_by_page(scene: Scene) -> None:
    for number in range(7):
        await scene.write(a_record(f"req_{number}", at=NOON + (number // 2) * HOUR))
    found: list[str] = []
    cursor = None
    while True:
        page = await scene.ledger_rows.ids(NOON, NOON + 3 * HOUR, limit=2, cursor=cursor)
        found += page.rows
        cursor = page.next
        if cursor is None:
            break
    assert sorted(found[:2]) == ["req_0", "req_1"]
    assert sorted(found) == [f"req_{number}" for number in range(6)]


async def test_a_correction_comes_with_the_row_that_it_replaces(scene: Scene) -> None:
    record = a_record("req_1")
    ids = await scene.write(record, is_swept=True, is_back=True)
    assert ids == ["req_1", "req_1#correction"]
    [correction] = await scene.ledger_rows.rows(["req_1#correction"])
    [swept] = await scene.ledger_rows.rows(["req_1"])
    assert correction == LedgerRow("req_1#correction", record, swept.record)
    assert swept.replaces is None
