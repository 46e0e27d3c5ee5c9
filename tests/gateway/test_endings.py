"""Every way in which the provider ends a request: told as it was, settled once, nothing held, no drift."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from farebox.compose.settings import Settings
from farebox.domain.record import Outcome, RequestRecord
from farebox.domain.usage import CostStatus, Usage
from farebox.gateway.stream import PING
from tests.support.laptop import QUICK, Laptop, RawAnswer, a_policy, asking
from tests.support.upstream import (
    Ending,
    Framing,
    Gate,
    Reply,
    ScriptedUpstream,
    error_reply,
    json_message,
    sse,
    sse_message,
    sse_reply,
    usage,
)

MODEL = "claude-opus-5-5"
REPORTED = usage(input_tokens=1000, output_tokens=50)
COST = 1000 * 4_000_000 + 50 * 20_000_000
"""Picodollars: 4 and 20 USD per million tokens."""
SSE_TYPE = ("Content-Type", "text/event-stream")
ERROR = sse("error", {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})
WAIT_MS = 300
BOUNDED = (
    dataclasses.replace(QUICK, idle_timeout_ms=WAIT_MS),
    dataclasses.replace(QUICK, total_timeout_ms=WAIT_MS),
)


def ended(
    folder: Path, reply: Reply, *, stream: bool = True, settings: Settings = QUICK
) -> tuple[RawAnswer, RequestRecord]:
    """Ask once; give the answer and its only row, after the books were proven."""
    with (
        ScriptedUpstream([reply]) as upstream,
        Laptop(folder, a_policy(upstream), settings=settings) as laptop,
    ):
        answer = laptop.ask(asking(model=MODEL, stream=stream))
        return answer, laptop.settled(1)[0]


def error_of(answer: RawAnswer) -> tuple[int, str]:
    """Give status and type of an error of ours; its envelope names the request."""
    document = answer.json()
    assert document["type"] == "error"
    assert document["request_id"].encode() == answer.header("x-farebox-request-id")
    return answer.status, document["error"]["type"]


def likely_input(row: RequestRecord) -> Usage:
    """What a request that was sent has used when the provider never said: its input alone."""
    assert row.usage.input_tokens > 0
    return Usage(input_tokens=row.usage.input_tokens)


@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_that_ran_to_its_end(stream: bool, tmp_path: Path) -> None:
    reply = (sse_message if stream else json_message)(usage=REPORTED)
    answer, row = ended(tmp_path, reply, stream=stream)
    assert (answer.status, answer.is_whole, answer.body) == (200, True, reply.body)
    assert (row.status, row.outcome, row.cost_status) == (200, Outcome.FINISHED, CostStatus.PRICED)
    assert (row.cost_picodollars, row.charged_picodollars, len(row.attempts)) == (COST, COST, 1)


@pytest.mark.parametrize("how", [Ending.CUT, Ending.CLOSE])
def test_a_stream_that_the_provider_cuts_midway_is_cut_for_the_client_too(
    how: Ending, tmp_path: Path
) -> None:
    gate = Gate()
    reply = sse_message("one two three", usage=REPORTED).with_piece(4, how).with_piece(4, gate)
    sent = b"".join(piece for piece in reply.pieces[:4] if isinstance(piece, bytes))
    with ScriptedUpstream([reply]) as upstream, Laptop(tmp_path, a_policy(upstream)) as laptop:
        with laptop.open(asking(model=MODEL, stream=True)) as client:
            assert client.read_head()[0] == 200
            received = b""
            while received != sent:
                received += client.read_chunk()
            gate.open()
            with pytest.raises(ConnectionError):
                client.read_chunk()
        row = laptop.settled(1)[0]
    assert (row.status, row.outcome, row.cost_status) == (200, Outcome.UPSTREAM_CUT, CostStatus.ESTIMATED)
    assert row.usage == Usage(input_tokens=1000, output_tokens=3, service_tier="standard")
    assert row.cost_picodollars == 1000 * 4_000_000 + 3 * 20_000_000


@pytest.mark.parametrize("framing", [Framing.CHUNKED, Framing.CLOSE, Framing.LENGTH])
def test_a_stream_that_ends_properly_but_without_message_stop_is_a_cut(
    framing: Framing, tmp_path: Path
) -> None:
    reply = sse_message(usage=REPORTED)
    reply = dataclasses.replace(reply, pieces=reply.pieces[:-1], framing=framing)
    answer, row = ended(tmp_path, reply)
    assert (answer.status, answer.is_whole, answer.body) == (200, False, reply.body)
    assert (row.outcome, row.usage.output_tokens) == (Outcome.UPSTREAM_CUT, 50)


def test_an_empty_stream_is_a_cut(tmp_path: Path) -> None:
    answer, row = ended(tmp_path, sse_reply([]))
    assert (answer.status, answer.is_whole, answer.body) == (200, False, b"")
    assert (row.outcome, row.cost_status) == (Outcome.UPSTREAM_CUT, CostStatus.ESTIMATED)
    assert row.usage == likely_input(row)


def test_an_error_event_of_the_provider_passes_and_ends_cleanly(tmp_path: Path) -> None:
    reply = sse_message(usage=REPORTED)
    reply = dataclasses.replace(reply, pieces=(*reply.pieces[:4], ERROR))
    answer, row = ended(tmp_path, reply)
    assert (answer.status, answer.is_whole, answer.body) == (200, True, reply.body)
    assert (row.status, row.outcome, row.error_type) == (200, Outcome.UPSTREAM_ERROR, "overloaded_error")
    assert (row.usage.input_tokens, row.cost_status) == (1000, CostStatus.ESTIMATED)


def test_an_error_event_alone_passes_and_ends_cleanly(tmp_path: Path) -> None:
    answer, row = ended(tmp_path, sse_reply([ERROR]))
    assert (answer.is_whole, answer.body, row.outcome) == (True, ERROR, Outcome.UPSTREAM_ERROR)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("how", [Ending.CUT, Ending.CLOSE])
def test_a_provider_that_hangs_up_before_its_headers_is_a_502(
    how: Ending, stream: bool, tmp_path: Path
) -> None:
    answer, row = ended(tmp_path, Reply(before_head=(how,)), stream=stream)
    assert error_of(answer) == (502, "api_error")
    assert (row.status, row.outcome, row.cost_status) == (502, Outcome.UPSTREAM_CUT, CostStatus.ESTIMATED)
    assert row.usage == likely_input(row)


def test_a_whole_answer_that_breaks_off_is_a_502(tmp_path: Path) -> None:
    reply = json_message(usage=REPORTED)
    reply = dataclasses.replace(reply.cut_after(40), length=len(reply.body))
    answer, row = ended(tmp_path, reply, stream=False)
    assert error_of(answer) == (502, "api_error")
    assert (row.status, row.outcome, row.usage) == (502, Outcome.UPSTREAM_CUT, likely_input(row))


def test_an_answer_that_is_not_http_is_a_502(tmp_path: Path) -> None:
    answer, row = ended(tmp_path, Reply(pieces=(b"SSH-2.0-nothing\r\n\r\n",), framing=Framing.RAW))
    assert error_of(answer) == (502, "api_error")
    assert row.outcome is Outcome.UPSTREAM_CUT


def test_a_provider_that_cannot_be_reached_is_a_502_that_costs_nothing(tmp_path: Path) -> None:
    with ScriptedUpstream() as gone:
        policy = a_policy(gone)
    with Laptop(tmp_path, policy) as laptop:
        answer = laptop.ask(asking(model=MODEL))
        row = laptop.settled(1)[0]
    assert error_of(answer) == (502, "api_error")
    assert (row.status, row.outcome, row.cost_picodollars) == (502, Outcome.UPSTREAM_ERROR, 0)
    assert [(attempt.status, attempt.usage) for attempt in row.attempts] == [(None, None)]


@pytest.mark.parametrize("status", [400, 401, 429, 500, 529])
def test_an_error_status_of_the_provider_passes_verbatim_and_costs_nothing(
    status: int, tmp_path: Path
) -> None:
    reply = error_reply(status, "some_error", "In the provider's own words.")
    answer, row = ended(tmp_path, reply)
    assert (answer.status, answer.body) == (status, reply.body)
    assert (row.status, row.outcome) == (status, Outcome.UPSTREAM_ERROR)
    assert (row.cost_picodollars, row.charged_picodollars, row.cost_status) == (0, 0, CostStatus.PRICED)


@pytest.mark.parametrize("stream", [True, False])
def test_no_first_byte_in_time_is_a_504(stream: bool, tmp_path: Path) -> None:
    """No ping of ours comes before the provider's headers, however short the silence."""
    reply = Reply(before_head=(Ending.STALL,))
    settings = dataclasses.replace(QUICK, first_byte_timeout_ms=WAIT_MS, ping_ms=10)
    answer, row = ended(tmp_path, reply, stream=stream, settings=settings)
    assert error_of(answer) == (504, "timeout_error")
    assert (row.status, row.outcome, row.usage) == (504, Outcome.UPSTREAM_ERROR, likely_input(row))
    assert row.ttft_ms is None


@pytest.mark.parametrize("settings", BOUNDED, ids=["idle", "total"])
def test_a_stream_that_falls_silent_for_too_long_is_cut(settings: Settings, tmp_path: Path) -> None:
    reply = sse_message(usage=REPORTED).with_piece(4, Ending.STALL)
    answer, row = ended(tmp_path, reply, settings=settings)
    sent = b"".join(piece for piece in reply.pieces[:4] if isinstance(piece, bytes))
    assert (answer.status, answer.is_whole, answer.body) == (200, False, sent)
    assert (row.outcome, row.usage.input_tokens) == (Outcome.UPSTREAM_CUT, 1000)


def test_pings_do_not_keep_a_silent_stream_alive(tmp_path: Path) -> None:
    reply = sse_message(usage=REPORTED).with_piece(1, Ending.STALL)
    settings = dataclasses.replace(QUICK, idle_timeout_ms=WAIT_MS, ping_ms=10)
    answer, row = ended(tmp_path, reply, settings=settings)
    assert PING in answer.chunks
    assert tuple(chunk for chunk in answer.chunks if chunk != PING) == reply.pieces[:1]
    assert (answer.is_whole, row.outcome) == (False, Outcome.UPSTREAM_CUT)


@pytest.mark.parametrize("settings", BOUNDED, ids=["idle", "total"])
def test_a_whole_answer_that_falls_silent_for_too_long_is_a_504(settings: Settings, tmp_path: Path) -> None:
    reply = json_message(usage=REPORTED)
    reply = dataclasses.replace(reply, pieces=(reply.body[:40], Ending.STALL), length=len(reply.body))
    answer, row = ended(tmp_path, reply, stream=False, settings=settings)
    assert error_of(answer) == (504, "timeout_error")
    assert (row.status, row.usage) == (504, likely_input(row))
