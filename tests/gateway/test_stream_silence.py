"""Silence on the real wire: the client hears pings between events, and the answer stays the provider's."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from farebox.domain.errors import UpstreamCut
from farebox.domain.record import Outcome
from farebox.gateway.stream import PING
from farebox.wire.http import ANSWER_BYTES_MAX, Headers, Silence, read_whole
from tests.support.laptop import QUICK, Laptop, a_policy, asking
from tests.support.upstream import Gate, ScriptedUpstream, json_message, sse_message, usage

REPORTED = usage(input_tokens=1000, output_tokens=50)
PING_MS = 20
MEGABYTE = bytes(1024 * 1024)


def test_a_client_hears_pings_while_the_provider_thinks(tmp_path: Path) -> None:
    """The upstream goes on only after two pings were heard, so a gateway that stays silent hangs."""
    gate = Gate()
    reply = sse_message("one two", usage=REPORTED).with_piece(2, gate)
    settings = replace(QUICK, ping_ms=PING_MS)
    with (
        ScriptedUpstream([reply]) as upstream,
        Laptop(tmp_path, a_policy(upstream), settings=settings) as laptop,
        laptop.open(asking(stream=True)) as client,
    ):
        assert client.read_head()[0] == 200
        chunks = [client.read_chunk()]
        while chunks.count(PING) < 2:
            chunks.append(client.read_chunk())
        gate.open()
        answer = client.read_answer_body()
        row = laptop.settled(1)[0]
    chunks += answer.chunks
    assert b"".join(chunk for chunk in chunks if chunk != PING) == reply.body
    assert (answer.is_whole, row.outcome, row.usage.output_tokens) == (True, Outcome.FINISHED, 50)


def test_a_whole_answer_waits_in_silence(tmp_path: Path) -> None:
    gate = Gate()
    reply = json_message(usage=REPORTED)
    held = replace(reply, pieces=(reply.body[:9], gate, reply.body[9:]), length=len(reply.body))
    settings = replace(QUICK, ping_ms=1)
    with (
        ScriptedUpstream([held]) as upstream,
        Laptop(tmp_path, a_policy(upstream), settings=settings) as laptop,
        laptop.open(asking()) as client,
    ):
        upstream.wait_until(lambda upstream: any(seen.bytes_sent for seen in upstream.requests))
        gate.open()
        answer = client.read_answer()
        assert (answer.body, laptop.settled(1)[0].outcome) == (reply.body, Outcome.FINISHED)


@dataclass
class FakeSource:
    """Gives what it was told to, then the proper end."""

    steps: deque[bytes | Exception]
    status: int = 200
    headers: Headers = field(default_factory=list)
    closed_times: int = 0

    async def receive(self) -> bytes:
        step = self.steps.popleft() if self.steps else b""
        if isinstance(step, bytes):
            return step
        raise step

    def abort(self) -> None:
        raise AssertionError("closing is enough")

    async def aclose(self) -> None:
        self.closed_times += 1


async def test_a_whole_answer_is_read_over_silences_and_its_connection_given_back() -> None:
    source = FakeSource(deque([b"one", Silence(), Silence(), b" two"]))
    assert (await read_whole(source), source.closed_times) == (b"one two", 1)


async def test_a_whole_answer_that_breaks_off_gives_its_connection_back() -> None:
    source = FakeSource(deque([b"one", UpstreamCut("host", "reset")]))
    with pytest.raises(UpstreamCut):
        await read_whole(source)
    assert source.closed_times == 1


async def test_a_whole_answer_that_never_ends_is_given_up() -> None:
    pieces = ANSWER_BYTES_MAX // len(MEGABYTE)
    source = FakeSource(deque([MEGABYTE] * (pieces + 2)))
    with pytest.raises(UpstreamCut, match="larger than"):
        await read_whole(source)
    assert (len(source.steps), source.closed_times) == (1, 1)
