"""Every way in which a client leaves: the provider is let go, one row, nothing held, no drift."""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from farebox.domain.record import Outcome
from farebox.domain.usage import CostStatus, Usage
from tests.support.laptop import Laptop, RawClient, a_policy, asking
from tests.support.upstream import (
    Ending,
    Gate,
    Reply,
    Script,
    ScriptedUpstream,
    error_reply,
    json_message,
    message_events,
    sse,
    sse_message,
    sse_reply,
    usage,
)

MODEL = "claude-opus-5-5"
REPORTED = usage(input_tokens=1000, output_tokens=50)
STATUS_CLIENT_GONE = 499
STREAMS = 50
LEAVERS = 60
# Several times what the sockets on the way may hold.
FLOOD_EVENTS = 2_000
FLOOD_EVENT_BYTES = 32_768
STALL_S = 0.5


@contextmanager
def scene(folder: Path, script: Script) -> Iterator[tuple[Laptop, ScriptedUpstream]]:
    with ScriptedUpstream(script) as upstream, Laptop(folder, a_policy(upstream)) as laptop:
        yield laptop, upstream


def test_a_client_that_leaves_while_it_reads(tmp_path: Path) -> None:
    reply = sse_message("one two three", usage=REPORTED).with_piece(1, Ending.STALL)
    with scene(tmp_path, [reply]) as (laptop, upstream):
        with laptop.open(asking(model=MODEL, stream=True)) as client:
            client.read_head()
            assert client.read_chunk() == reply.pieces[0]
        upstream.wait_until(lambda upstream: upstream.requests[0].hung_up)
        row = laptop.settled(1)[0]
    assert (row.status, row.outcome, row.cost_status) == (200, Outcome.CLIENT_GONE, CostStatus.ESTIMATED)
    assert row.usage == Usage(input_tokens=1000, output_tokens=1, service_tier="standard")


def flood() -> Reply:
    """Far more than a client that does not read can be sent, and an end that is never reached."""
    start, *_ = message_events(usage=REPORTED)
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "x" * 32_600}}
    event = sse("content_block_delta", delta)
    assert len(event) < FLOOD_EVENT_BYTES
    return sse_reply([start, *[event] * FLOOD_EVENTS])


def has_sent_more(upstream: ScriptedUpstream, *, than: int) -> bool:
    return upstream.requests[0].bytes_sent > than


def wait_for_a_stall(upstream: ScriptedUpstream) -> int:
    """Wait until the upstream gets nothing more off; give how much it had sent."""
    while True:
        sent = upstream.requests[0].bytes_sent
        goes_on = partial(has_sent_more, than=sent)
        try:
            upstream.wait_until(goes_on, timeout_s=STALL_S)
        except TimeoutError:
            return sent


def test_a_client_that_stops_reading_stops_the_provider_and_then_leaves(tmp_path: Path) -> None:
    whole_bytes = FLOOD_EVENTS * FLOOD_EVENT_BYTES
    with scene(tmp_path, [flood()]) as (laptop, upstream):
        body = asking(model=MODEL, stream=True, max_tokens=100_000_000)
        with laptop.open(body, receive_buffer_bytes=65_536) as client:
            client.read_head()
            client.read_chunk()
            assert wait_for_a_stall(upstream) < whole_bytes // 2
        upstream.wait_until(lambda upstream: upstream.requests[0].hung_up)
        row = laptop.settled(1)[0]
        sent_bytes = upstream.requests[0].bytes_sent
        assert sent_bytes < whole_bytes // 2
    assert (row.status, row.outcome, row.cost_status) == (200, Outcome.CLIENT_GONE, CostStatus.ESTIMATED)
    # What was read of the provider is counted, up to what it had sent.
    assert 0 < row.usage.output_tokens * 3 <= sent_bytes


def test_a_client_that_pauses_reading_gets_the_whole_answer_after_all(tmp_path: Path) -> None:
    start, *_, delta, stop = message_events(usage=REPORTED)
    filler = sse("ping", {"type": "ping", "padding": "x" * 8_000})
    reply = sse_reply([start, *[filler] * 4_000, delta, stop])
    with scene(tmp_path, [reply]) as (laptop, upstream):
        with laptop.open(asking(model=MODEL, stream=True), receive_buffer_bytes=65_536) as client:
            client.read_head()
            assert wait_for_a_stall(upstream) < len(reply.body)
            answer = client.read_answer_body()
        assert (answer.is_whole, answer.body) == (True, reply.body)
        assert laptop.settled(1)[0].outcome is Outcome.FINISHED


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_before_the_first_byte(stream: bool, tmp_path: Path) -> None:
    with scene(tmp_path, [Reply(before_head=(Ending.STALL,))]) as (laptop, upstream):
        with laptop.open(asking(model=MODEL, stream=stream)):
            upstream.wait_until(lambda upstream: len(upstream.requests) == 1)
        upstream.wait_until(lambda upstream: upstream.requests[0].hung_up)
        row = laptop.settled(1)[0]
    assert (row.status, row.outcome) == (STATUS_CLIENT_GONE, Outcome.CLIENT_GONE)
    assert (row.cost_status, row.ttft_ms) == (CostStatus.ESTIMATED, None)
    assert row.usage == Usage(input_tokens=row.usage.input_tokens)
    assert row.usage.input_tokens > 0


def test_a_client_that_leaves_while_a_whole_answer_is_read_from_the_provider(tmp_path: Path) -> None:
    reply = json_message(usage=REPORTED)
    reply = dataclasses.replace(reply, pieces=(reply.body[:40], Ending.STALL), length=len(reply.body))
    with scene(tmp_path, [reply]) as (laptop, upstream):
        with laptop.open(asking(model=MODEL)):
            upstream.wait_until(
                lambda upstream: upstream.requests != [] and upstream.requests[0].bytes_sent > 0
            )
        upstream.wait_until(lambda upstream: upstream.requests[0].hung_up)
        row = laptop.settled(1)[0]
    assert (row.status, row.outcome) == (STATUS_CLIENT_GONE, Outcome.CLIENT_GONE)
    assert row.cost_status is CostStatus.ESTIMATED


@pytest.mark.parametrize("framing", ["Content-Length: 1000", "Transfer-Encoding: chunked"])
def test_a_client_that_leaves_while_it_sends(framing: str, tmp_path: Path) -> None:
    with scene(tmp_path, ()) as (laptop, upstream):
        with RawClient(laptop.port) as client:
            head = (
                f"POST /v1/messages HTTP/1.1\r\nHost: x\r\nx-farebox-key: {laptop.key}\r\n{framing}\r\n\r\n"
            )
            client.send(head.encode() + b"a\r\n0123456789\r\n")
        row = laptop.settled(1)[0]
        assert upstream.requests == []
    assert (row.status, row.outcome, row.model) == (STATUS_CLIENT_GONE, Outcome.CLIENT_GONE, "")
    assert (row.cost_picodollars, row.charged_picodollars, row.attempts) == (0, 0, ())


def test_a_client_that_leaves_while_it_waits_for_money(tmp_path: Path) -> None:
    """Another request holds all there is; the one that waits is let go without ever being sent."""
    budget = {"name": "tiny", "scope": {}, "usd": "0.03", "period": "total"}
    gate = Gate()
    reply = sse_message(usage=REPORTED).with_piece(1, gate)
    with (
        ScriptedUpstream([reply]) as upstream,
        Laptop(tmp_path, a_policy(upstream, budgets=[budget])) as laptop,
    ):
        first = laptop.open(asking(model=MODEL, stream=True))
        first.read_head()
        laptop.open(asking(model=MODEL, stream=True)).leave()
        laptop.wait_until(lambda laptop: len(laptop.log) == 1)
        gate.open()
        assert first.read_answer_body().is_whole
        first.leave()
        left, finished = sorted(laptop.settled(2), key=lambda row: row.outcome)
        assert len(upstream.requests) == 1
    assert (left.outcome, left.cost_picodollars) == (Outcome.CLIENT_GONE, 0)
    assert finished.outcome is Outcome.FINISHED


def test_a_client_that_half_closes_has_left(tmp_path: Path) -> None:
    reply = sse_message(usage=REPORTED).with_piece(1, Ending.STALL)
    with (
        scene(tmp_path, [reply]) as (laptop, upstream),
        laptop.open(asking(model=MODEL, stream=True)) as client,
    ):
        client.read_head()
        client.socket.shutdown(socket.SHUT_WR)
        upstream.wait_until(lambda upstream: upstream.requests[0].hung_up)
        assert laptop.settled(1)[0].outcome is Outcome.CLIENT_GONE


def test_a_client_that_leaves_behind_an_error_changes_nothing(tmp_path: Path) -> None:
    with scene(tmp_path, [error_reply(529, "overloaded_error", "Overloaded")]) as (laptop, _):
        with laptop.open(asking(model=MODEL, stream=True)) as client:
            assert client.read_answer().status == 529
        row = laptop.settled(1)[0]
    assert (row.outcome, row.cost_picodollars) == (Outcome.UPSTREAM_ERROR, 0)


def test_a_token_count_whose_client_leaves_is_no_row_and_lets_the_provider_go(tmp_path: Path) -> None:
    with scene(tmp_path, [Reply(before_head=(Ending.STALL,)), json_message(usage=REPORTED)]) as (
        laptop,
        upstream,
    ):
        with laptop.open(asking(model=MODEL), target="/v1/messages/count_tokens"):
            upstream.wait_until(lambda upstream: len(upstream.requests) == 1)
        upstream.wait_until(lambda upstream: upstream.requests[0].hung_up)
        assert laptop.ask(asking(model=MODEL)).status == 200
        assert laptop.settled(1)[0].outcome is Outcome.FINISHED


def test_fifty_streams_at_once_settle_exactly(tmp_path: Path) -> None:
    """All are open at the same moment; every third client leaves, the others read on."""
    gate = Gate()
    reply = sse_message(usage=REPORTED).with_piece(1, gate)
    with scene(tmp_path, [reply] * STREAMS) as (laptop, upstream):
        clients = [laptop.open(asking(model=MODEL, stream=True)) for _ in range(STREAMS)]
        upstream.wait_until(lambda upstream: len(upstream.requests) == STREAMS)
        heads = [client.read_head()[0] for client in clients]
        assert (heads, laptop.open_holds()) == ([200] * STREAMS, STREAMS)
        leaving, staying = clients[::3], [client for at, client in enumerate(clients) if at % 3]
        for client in leaving:
            assert client.read_chunk() == reply.pieces[0]
            client.leave()
        laptop.wait_until(lambda laptop: len(laptop.log) == len(leaving))
        gate.open()
        with ThreadPoolExecutor(8) as readers:
            answers = list(readers.map(RawClient.read_answer_body, staying))
        for client in staying:
            client.leave()
        rows = laptop.settled(STREAMS)
        settled = laptop.standings()[0].standing.settled
    assert {(answer.is_whole, answer.body) for answer in answers} == {(True, reply.body)}
    finished = 1000 * 4_000_000 + 50 * 20_000_000
    left = 1000 * 4_000_000 + 1 * 20_000_000
    costs = sorted(row.cost_picodollars or 0 for row in rows)
    assert costs == [left] * len(leaving) + [finished] * len(staying)
    assert settled == sum(costs)


def has_logged(laptop: Laptop, *, at_least: int) -> bool:
    return len(laptop.log) >= at_least


def test_clients_that_leave_at_any_moment_are_one_row_each(tmp_path: Path) -> None:
    """They hang up without reading, so that leaving meets each step of the way, the first bytes above all."""
    with scene(tmp_path, lambda received: sse_message(usage=REPORTED)) as (laptop, upstream):
        for at in range(LEAVERS):
            with laptop.open(asking(model=MODEL, stream=at % 4 > 0)) as client:
                if at % 3 == 1:
                    laptop.wait_until(partial(has_logged, at_least=at // 2))
                if at % 3 == 2:
                    client.read_head()
        rows = laptop.settled(LEAVERS)
        upstream.wait_until(
            lambda upstream: all(seen.is_answered or seen.hung_up for seen in upstream.requests)
        )
    assert {row.outcome for row in rows} <= {Outcome.CLIENT_GONE, Outcome.FINISHED}
