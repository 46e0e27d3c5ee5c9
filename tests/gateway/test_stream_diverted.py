"""A stream that writes to the client as bytes arrive: the same bytes, the same counts, no decision missed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.domain.budget import Shortage
from farebox.domain.record import Outcome
from farebox.gateway.charging.meter import StreamMeter
from farebox.gateway.stream import MeteredStream
from farebox.wire.http import Headers
from tests.support.upstream import message_events, usage

EVENTS = list(message_events("one two three four", usage=usage(input_tokens=3, output_tokens=4)))
WHOLE = b"".join(EVENTS)
DELTAS = [event for event in EVENTS if event.startswith(b"event: content_block_delta")]


@dataclass
class DivertingSource:
    """Offers each piece to its taker before `receive` gives it: a reader that always waits."""

    pieces: deque[bytes]
    status: int = 200
    headers: Headers = field(default_factory=list)
    take: Callable[[bytes], bool] | None = None

    def divert(self, take: Callable[[bytes], bool]) -> None:
        self.take = take

    async def receive(self) -> bytes:
        while self.pieces:
            piece = self.pieces.popleft()
            if self.take is None or not self.take(piece):
                return piece
        return b""

    def abort(self) -> None:
        self.pieces.clear()

    async def aclose(self) -> None:
        """Nothing to close."""


@dataclass
class CountingQuota:
    """Notes at how many delta bytes it was asked, and gives as many again."""

    ask_at_bytes: int | None = None
    asked_at: list[int] = field(default_factory=list)

    async def ask(self, meter: StreamMeter) -> Shortage | None:
        self.asked_at.append(meter.delta_bytes)
        self.ask_at_bytes = meter.delta_bytes + (self.ask_at_bytes or 0)
        return None


@dataclass
class Scene:
    """What the client got: by `write`, by `receive`, and in which order."""

    stream: MeteredStream
    meter: StreamMeter
    quota: CountingQuota
    outcomes: list[Outcome]
    written: list[bytes] = field(default_factory=list)
    received: list[bytes] = field(default_factory=list)
    all: list[bytes] = field(default_factory=list)

    async def read(self, is_writable: Callable[[], bool] = lambda: True) -> None:
        def write(piece: bytes) -> bool:
            if not is_writable():
                return False
            self.written.append(piece)
            self.all.append(piece)
            return True

        self.stream.divert(write)
        while piece := await self.stream.receive():
            self.received.append(piece)
            self.all.append(piece)


def a_stream(pieces: list[bytes], ask_at_bytes: int | None = None) -> Scene:
    meter, quota, outcomes = StreamMeter(), CountingQuota(ask_at_bytes), list[Outcome]()

    async def finish(outcome: Outcome) -> None:
        outcomes.append(outcome)

    async def exhaust(shortage: Shortage) -> None:
        raise AssertionError("money never runs out here")

    stream = MeteredStream(
        DivertingSource(deque(pieces)),
        meter,
        quota,  # type: ignore[arg-type]  # only `ask` and `ask_at_bytes` are used
        finish=finish,
        exhaust=exhaust,
        cancel_stops_billing=False,
    )
    return Scene(stream, meter, quota, outcomes)


async def test_whole_events_are_written_as_they_arrive_and_counted() -> None:
    scene = a_stream(EVENTS)
    await scene.read()
    assert (scene.written, scene.received) == (EVENTS, [])
    assert (scene.meter.delta_bytes, scene.outcomes) == (sum(map(len, DELTAS)), [Outcome.FINISHED])
    assert scene.meter.fold.usage is not None
    assert scene.meter.fold.usage.output_tokens == 4


async def test_what_ends_an_event_that_began_before_is_received() -> None:
    scene = a_stream([EVENTS[0][:9], EVENTS[0][9:], *EVENTS[1:]])
    await scene.read()
    assert scene.written == [EVENTS[0][:9], *EVENTS[1:]]
    assert scene.received == [EVENTS[0][9:]]


async def test_what_the_client_has_no_room_for_is_received_in_its_place() -> None:
    room = iter([True, False, True, *[False] * len(EVENTS)])
    scene = a_stream(EVENTS)
    await scene.read(lambda: next(room))
    assert (scene.written, scene.all) == ([EVENTS[0], EVENTS[2]], EVENTS)
    assert scene.meter.delta_bytes == sum(map(len, DELTAS))


async def test_nothing_is_written_to_a_client_that_left_and_all_is_counted() -> None:
    scene = a_stream(EVENTS)
    scene.stream.leave()
    await scene.read()
    assert (scene.written, scene.outcomes) == ([], [Outcome.CLIENT_GONE])
    assert scene.meter.delta_bytes == sum(map(len, DELTAS))


async def test_an_answer_that_cannot_be_read_is_never_written_past_the_reader() -> None:
    scene = a_stream([b"any", b"thing"])
    scene.meter.read_as(b"br")
    await scene.read()
    assert (scene.written, scene.received) == ([], [b"any", b"thing"])


@pytest.mark.parametrize("ask_at_bytes", [1, len(DELTAS[0]), len(DELTAS[0]) + 1, 3 * len(DELTAS[0])])
async def test_the_quota_is_asked_where_it_would_be_without_diverting(ask_at_bytes: int) -> None:
    diverted, pulled = a_stream(EVENTS, ask_at_bytes), a_stream(EVENTS, ask_at_bytes)
    await diverted.read()
    await pulled.read(lambda: False)
    assert diverted.quota.asked_at == pulled.quota.asked_at != []


@given(
    cuts=st.sets(st.integers(1, len(WHOLE) - 1), max_size=12),
    room=st.lists(st.booleans(), min_size=13, max_size=13),
    ask_at_bytes=st.none() | st.integers(1, 400),
)
async def test_however_bytes_fall_the_client_gets_them_and_the_counts_are_the_same(
    cuts: set[int], room: list[bool], ask_at_bytes: int | None
) -> None:
    places = [0, *sorted(cuts), len(WHOLE)]
    pieces = [WHOLE[start:end] for start, end in pairwise(places)]
    diverted, pulled = a_stream(list(pieces), ask_at_bytes), a_stream(list(pieces), ask_at_bytes)
    is_writable = iter(room)
    await diverted.read(lambda: next(is_writable))
    await pulled.read(lambda: False)
    assert diverted.all == pulled.all == pieces
    assert diverted.quota.asked_at == pulled.quota.asked_at
    assert diverted.meter.delta_bytes == pulled.meter.delta_bytes
    assert diverted.meter.fold.usage == pulled.meter.fold.usage
    assert diverted.outcomes == pulled.outcomes == [Outcome.FINISHED]
