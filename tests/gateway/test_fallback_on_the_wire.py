"""The same faults over real connections: two servers, a running gateway, a client that reads bytes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from farebox.domain.record import Outcome
from tests.support.laptop import CREDENTIAL_NAME, QUICK, Laptop, asking
from tests.support.upstream import (
    Ending,
    Framing,
    Gate,
    Reply,
    ScriptedUpstream,
    error_reply,
    json_message,
    sse_message,
    sse_reply,
    usage,
)

MODEL = "claude-opus-5-5"
GOOD = sse_message("one two three", usage=usage(input_tokens=1000, output_tokens=50))
COST = 1000 * 4_000_000 + 50 * 20_000_000
TIMEOUT_MS = 250
GARBAGE = Reply(pieces=(b"SSH-2.0-nothing\r\n\r\n",), framing=Framing.RAW)


def a_policy(first: ScriptedUpstream, second: ScriptedUpstream, **target: object) -> dict[str, object]:
    """Write a policy whose config falls back from one server to the other."""
    config = {
        "strategy": {"mode": "fallback"},
        "targets": [{"provider": "@first", **target}, {"provider": "@second"}],
    }
    return {
        "providers": [
            {
                "slug": slug,
                "type": "anthropic",
                "credential": f"env:{CREDENTIAL_NAME}",
                "base_url": server.base_url,
            }
            for slug, server in (("first", first), ("second", second))
        ],
        "configs": [{"slug": "both", "config": config}],
        "keys": [{"name": "alice", "config": "both"}],
        "budgets": [{"name": "all", "scope": {}, "usd": 1000, "period": "day"}],
    }


@contextmanager
def a_pair(
    folder: Path, first: list[Reply], second: list[Reply], target: Mapping[str, object] | None = None
) -> Iterator[tuple[Laptop, ScriptedUpstream, ScriptedUpstream]]:
    with (
        ScriptedUpstream(first) as one,
        ScriptedUpstream(second) as other,
        Laptop(folder, a_policy(one, other, **(target or {}))) as laptop,
    ):
        yield laptop, one, other


FAULTS: dict[str, tuple[Reply, int | None, str]] = {
    "529": (error_reply(529, "overloaded_error", "Overloaded"), 529, "status 529"),
    "empty": (sse_reply([]), 200, "empty"),
    "html": (
        Reply(headers=(("Content-Type", "text/html"),), pieces=(b"<html>",)),
        200,
        "content-type text/html",
    ),
    "cut before its head": (Reply(before_head=(Ending.CUT,)), None, "cut"),
    "not HTTP": (GARBAGE, None, "cut"),
    "stall before its head": (Reply(before_head=(Ending.STALL,)), None, "no answer: first_byte timeout"),
    "stall before its content": (GOOD.with_piece(1, Ending.STALL), 200, "stalled before content"),
    "cut before its content": (GOOD.with_piece(1, Ending.CUT), 200, "cut before content"),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_the_client_sees_the_second_answer_whole(
    fault: tuple[Reply, int | None, str], tmp_path: Path
) -> None:
    reply, status, reason = fault
    target = {"request_timeout": TIMEOUT_MS}
    with a_pair(tmp_path, [reply], [GOOD], target) as (laptop, one, other):
        answer = laptop.ask(asking(model=MODEL, stream=True))
        (row,) = laptop.settled(1)
        assert other.requests[0].body == one.requests[0].body
    assert (answer.status, answer.is_whole, answer.body) == (200, True, GOOD.body)
    assert [(each.provider, each.status, each.reason) for each in row.attempts] == [
        ("first", status, reason),
        ("second", 200, None),
    ]
    assert row.charged_picodollars == row.attempts[0].charged_picodollars + COST
    assert row.overrun_picodollars == 0


def test_what_was_held_back_comes_in_order_and_the_rest_as_it_is_sent(tmp_path: Path) -> None:
    """Whatever pieces the bytes come in; the second half passes only once the first was read."""
    gate, body = Gate(), GOOD.body
    start = GOOD.rechunked(5)
    half = len(start.pieces) * 2 // 3
    reply = start.with_piece(half, gate)
    sent = b"".join(piece for piece in reply.pieces[:half] if isinstance(piece, bytes))
    with a_pair(tmp_path, [reply], []) as (laptop, _, other):
        with laptop.open(asking(model=MODEL, stream=True)) as client:
            assert client.read_head()[0] == 200
            received = b""
            while received != sent:
                received += client.read_chunk()
            gate.open()
            while chunk := client.read_chunk():
                received += chunk
        (row,) = laptop.settled(1)
        assert other.requests == []
    assert (received, row.outcome, len(row.attempts)) == (body, Outcome.FINISHED, 1)


def test_an_answer_that_does_not_stream_moves_on_as_well(tmp_path: Path) -> None:
    good = json_message(usage=usage(input_tokens=1000, output_tokens=50))
    broken = dataclasses.replace(good.cut_after(40), length=len(good.body))
    with a_pair(tmp_path, [broken], [good]) as (laptop, _, _):
        answer = laptop.ask(asking(model=MODEL))
        (row,) = laptop.settled(1)
    assert (answer.status, answer.body) == (200, good.body)
    assert [each.reason for each in row.attempts] == ["cut", None]


def test_a_provider_that_is_gone_costs_nothing_and_the_next_one_answers(tmp_path: Path) -> None:
    with ScriptedUpstream([GOOD]) as other:
        with ScriptedUpstream() as gone:
            policy = a_policy(gone, other)
        with Laptop(tmp_path, policy) as laptop:
            answer = laptop.ask(asking(model=MODEL, stream=True))
            (row,) = laptop.settled(1)
    assert (answer.status, answer.body) == (200, GOOD.body)
    assert [(each.reason, each.charged_picodollars) for each in row.attempts] == [
        ("not reached", 0),
        (None, COST),
    ]


def test_a_client_that_hangs_up_during_the_wait_for_a_retry_is_accounted_once(tmp_path: Path) -> None:
    busy = error_reply(429, "rate_limit_error", "Slow down.", ("Retry-After", "50"))
    with a_pair(tmp_path, [sse_reply([]), busy], [], {"retry": {"attempts": 3}}) as (laptop, one, other):
        with laptop.open(asking(model=MODEL, stream=True)):
            one.wait_until(lambda server: len(server.requests) == 2)
        (row,) = laptop.settled(1)
        assert (len(one.requests), other.requests) == (2, [])
    assert (row.outcome, len(row.attempts)) == (Outcome.CLIENT_GONE, 2)
    assert row.charged_picodollars == sum(each.charged_picodollars for each in row.attempts) > 0


def test_a_gateway_that_is_stopped_during_the_wait_for_a_retry_accounts_once(tmp_path: Path) -> None:
    busy = error_reply(429, "rate_limit_error", "Slow down.", ("Retry-After", "50"))
    settings = dataclasses.replace(QUICK, drain_s=0)
    with ScriptedUpstream([sse_reply([]), busy]) as one, ScriptedUpstream() as other:
        policy = a_policy(one, other, retry={"attempts": 3})
        with Laptop(tmp_path, policy, settings=settings) as laptop:
            with laptop.open(asking(model=MODEL, stream=True)):
                one.wait_until(lambda server: len(server.requests) == 2)
                laptop.stop()
            assert len(laptop.log) == 1
        with Laptop(tmp_path, policy) as again:
            (row,) = again.rows()
            assert (again.open_holds(), again.drifts()) == (0, [])
    assert (row.outcome, len(row.attempts)) == (Outcome.STOPPED, 2)
