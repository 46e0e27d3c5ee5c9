"""`farebox serve` is told to stop, or dies, while answers are open: no row is lost and none comes twice."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from farebox.adapters.clock import SystemClock
from farebox.adapters.local.store import DATABASE_FILE, LocalStore
from farebox.domain.record import Outcome, RequestRecord
from farebox.domain.usage import CostStatus
from tests.support.gateway_process import GatewayProcess
from tests.support.laptop import CREDENTIAL_NAME, PROVIDER_SECRET, RawClient, a_policy, asking
from tests.support.upstream import Ending, Gate, Reply, ScriptedUpstream, sse_message, usage

MODEL = "claude-opus-5-5"
REPORTED = usage(input_tokens=1000, output_tokens=50)
STREAMS = 20
COST = 1000 * 4_000_000 + 50 * 20_000_000


@contextmanager
def serving(folder: Path, upstream: ScriptedUpstream, *, drain_s: int = 20) -> Iterator[GatewayProcess]:
    environment = {CREDENTIAL_NAME: PROVIDER_SECRET, "FAREBOX_DRAIN_S": str(drain_s)}
    config = json.dumps(a_policy(upstream))
    with GatewayProcess(folder, config=config, environment=environment) as gateway:
        yield gateway


def ask(gateway: GatewayProcess, **fields: object) -> RawClient:
    client = RawClient(gateway.port)
    key = ("x-farebox-key", gateway.gateway_key)
    client.request("POST", "/v1/messages", [key], asking(model=MODEL, **fields))
    return client


async def books(gateway: GatewayProcess) -> list[RequestRecord]:
    """Read the ledger of a process that is gone: it balances, and its only budget holds nothing."""
    store = LocalStore.open(gateway.data / DATABASE_FILE, SystemClock())
    try:
        assert await store.reports.verify() == []
        policy = await store.policies.current()
        standings = await store.reports.standings(policy.budgets, SystemClock().now())
        rows = list((await store.reports.requests()).rows)
        charged = sum(row.charged_picodollars for row in rows)
        assert [(each.standing.settled, each.standing.held) for each in standings] == [(charged, 0)]
        return rows
    finally:
        store.close()


async def test_a_stream_that_is_open_at_sigterm_finishes_and_is_settled(tmp_path: Path) -> None:
    gate = Gate()
    reply = sse_message(usage=REPORTED).with_piece(1, gate)
    with ScriptedUpstream([reply]) as upstream, serving(tmp_path, upstream) as gateway:
        with ask(gateway, stream=True) as client:
            assert client.read_head()[0] == 200
            assert client.read_chunk() == reply.pieces[0]
            gateway.process.send_signal(signal.SIGTERM)
            gate.open()
            answer = client.read_answer_body()
        assert (answer.is_whole, reply.pieces[0] + answer.body) == (True, reply.body)
        assert gateway.stop() == 0
    row, *others = await books(gateway)
    assert (row.outcome, row.cost_picodollars, row.cost_status, others) == (
        Outcome.FINISHED,
        COST,
        CostStatus.PRICED,
        [],
    )


async def test_streams_that_outlive_the_drain_are_stopped_and_settled(tmp_path: Path) -> None:
    reply = sse_message(usage=REPORTED).with_piece(1, Ending.STALL)
    with ScriptedUpstream([reply] * STREAMS) as upstream, serving(tmp_path, upstream, drain_s=0) as gateway:
        clients = [ask(gateway, stream=True) for _ in range(STREAMS)]
        for client in clients:
            assert client.read_head()[0] == 200
            assert client.read_chunk() == reply.pieces[0]
        assert gateway.stop() == 0
        assert [client.read_answer_body().is_whole for client in clients] == [False] * STREAMS
        for client in clients:
            client.leave()
        upstream.wait_until(lambda upstream: all(request.hung_up for request in upstream.requests))
    rows = await books(gateway)
    stopped = (200, Outcome.STOPPED, CostStatus.ESTIMATED, 1000, 1)
    assert [
        (row.status, row.outcome, row.cost_status, row.usage.input_tokens, row.usage.output_tokens)
        for row in rows
    ] == [stopped] * STREAMS


async def test_a_request_without_its_first_byte_that_outlives_the_drain_is_stopped_and_settled(
    tmp_path: Path,
) -> None:
    with ScriptedUpstream([Reply(before_head=(Ending.STALL,))]) as upstream:
        with serving(tmp_path, upstream, drain_s=0) as gateway, ask(gateway):
            upstream.wait_until(lambda upstream: len(upstream.requests) == 1)
            assert gateway.stop() == 0
        upstream.wait_until(lambda upstream: upstream.requests[0].hung_up)
    row, *others = await books(gateway)
    assert (row.outcome, row.cost_status, others) == (Outcome.STOPPED, CostStatus.ESTIMATED, [])
    assert row.usage.input_tokens > 0


async def test_a_process_that_is_killed_leaves_a_hold_that_the_next_one_books_once(tmp_path: Path) -> None:
    replies = [sse_message(usage=REPORTED).with_piece(1, Ending.STALL), sse_message(usage=REPORTED)]
    with ScriptedUpstream(replies) as upstream, serving(tmp_path, upstream) as gateway:
        with ask(gateway, stream=True) as client:
            assert client.read_head()[0] == 200
            gateway.kill()
        for _ in range(2):
            gateway.start()
            assert gateway.stop() == 0
        gateway.start()
        with ask(gateway, stream=True) as client:
            assert client.read_answer().status == 200
        assert gateway.stop() == 0
    finished, expired, *others = await books(gateway)
    assert (finished.outcome, finished.cost_picodollars, others) == (Outcome.FINISHED, COST, [])
    assert (expired.outcome, expired.cost_status) == (Outcome.EXPIRED, CostStatus.ESTIMATED)
    # What was held: the output that may come, 1000 tokens, and at most a token a byte of input.
    assert 1000 * 20_000_000 < expired.charged_picodollars < 1000 * 20_000_000 + 200 * 4_000_000
