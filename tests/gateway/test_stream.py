"""A stream on its way, against a scripted source: pings, cuts, leaving, and the one settlement at its end."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.domain.errors import UpstreamCut, UpstreamFault, UpstreamTimeout
from farebox.domain.record import Outcome
from farebox.gateway.charging.meter import StreamMeter
from farebox.gateway.stream import PING, MeteredStream
from farebox.wire.http import Headers, Silence
from tests.support.upstream import message_events, sse, usage

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
EVENTS = message_events("one two", usage=usage(input_tokens=3, output_tokens=2))
WHOLE = b"".join(EVENTS)
ERROR = sse("error", {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})

Step = bytes | Exception


@dataclass
class FakeSource:
    """Gives what it was told to, then the proper end for ever."""

    steps: deque[Step]
    status: int = 200
    headers: Headers = field(default_factory=list)
    is_aborted: bool = False
    closed_times: int = 0

    async def receive(self) -> bytes:
        if self.is_aborted:
            raise UpstreamCut("the provider", "given up by farebox")
        step = self.steps.popleft() if self.steps else b""
        if isinstance(step, bytes):
            return step
        raise step

    def abort(self) -> None:
        self.is_aborted = True

    async def aclose(self) -> None:
        self.closed_times += 1


class EndlessQuota:
    """Never asks for more."""

    ask_at_bytes: int | None = None


@dataclass
class Scene:
    """A stream over a script, and the outcomes it was settled with."""

    source: FakeSource
    stream: MeteredStream
    meter: StreamMeter
    outcomes: list[Outcome]
    received: list[bytes] = field(default_factory=list)

    async def read(self, at_most: int = 1000) -> list[bytes]:
        """Read on until the end, a fault or `at_most` pieces."""
        while len(self.received) < at_most and (piece := await self.stream.receive()):
            self.received.append(piece)
        return self.received


def a_stream(steps: Iterable[Step], *, cancel_stops_billing: bool = True) -> Scene:
    source, meter, outcomes = FakeSource(deque(steps)), StreamMeter(), list[Outcome]()

    async def finish(outcome: Outcome) -> None:
        outcomes.append(outcome)

    async def exhaust(shortage: object) -> None:
        raise AssertionError("nothing here runs out")

    stream = MeteredStream(
        source,
        meter,
        EndlessQuota(),  # type: ignore[arg-type]  # the only field that is read while it never runs out
        finish=finish,
        exhaust=exhaust,
        cancel_stops_billing=cancel_stops_billing,
    )
    return Scene(source, stream, meter, outcomes)


async def test_silence_between_events_is_filled_with_a_ping() -> None:
    scene = a_stream([EVENTS[0], Silence(), Silence(), b"".join(EVENTS[1:])])
    assert await scene.read() == [EVENTS[0], PING, PING, b"".join(EVENTS[1:])]
    assert scene.outcomes == [Outcome.FINISHED]


async def test_silence_before_the_first_event_is_filled_with_a_ping() -> None:
    scene = a_stream([Silence(), WHOLE])
    assert await scene.read() == [PING, WHOLE]


@pytest.mark.parametrize("cut", [1, 10, len(EVENTS[0]) - 2, len(EVENTS[0]) - 1])
async def test_silence_within_an_event_stays_silence(cut: int) -> None:
    scene = a_stream([WHOLE[:cut], Silence(), Silence(), WHOLE[cut:], Silence()])
    assert (await scene.read())[:2] == [WHOLE[:cut], WHOLE[cut:]]


async def test_silence_within_a_gzipped_answer_stays_silence() -> None:
    scene = a_stream([b"\x1f\x8b", Silence(), b"\x08"])
    scene.meter.read_as(b"gzip")
    with pytest.raises(UpstreamCut):
        await scene.read()
    assert scene.received == [b"\x1f\x8b", b"\x08"]


LINE_ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])


@given(line_end=LINE_ENDS, data=st.data())
async def test_pings_stand_between_events_only_wherever_silence_falls(
    line_end: bytes, data: st.DataObject
) -> None:
    body = WHOLE.replace(b"\n", line_end)
    ends = {0}
    for event in EVENTS:
        ends.add(max(ends) + len(event.replace(b"\n", line_end)))
    anywhere = st.sets(st.integers(1, len(body) - 1), max_size=10)
    between = st.sets(st.sampled_from(sorted(ends - {0, len(body)})), max_size=4)
    cuts = sorted(data.draw(anywhere) | data.draw(between))
    steps: list[Step] = []
    for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True):
        steps += [Silence(), body[start:end]]
    pieces = await a_stream(steps).read()
    place = 0
    pinged = []
    for piece in pieces:
        if piece is PING:
            pinged.append(place)
        else:
            place += len(piece)
    assert b"".join(piece for piece in pieces if piece is not PING) == body
    # A CR ends the empty line of an event by itself; the LF behind it may come after the ping.
    assert set(pinged) <= ends | ({end - 1 for end in ends} if line_end == b"\r\n" else set())
    assert set(pinged) >= ({0, *cuts} & ends)


async def test_the_end_is_settled_before_it_is_told() -> None:
    scene = a_stream([WHOLE])
    assert await scene.stream.receive() == WHOLE
    assert scene.outcomes == []
    assert await scene.stream.receive() == b""
    assert (scene.outcomes, scene.source.closed_times) == ([Outcome.FINISHED], 1)


@pytest.mark.parametrize("leaves", [False, True])
async def test_a_proper_end_that_is_booked_last_is_told_first(leaves: bool) -> None:
    scene = a_stream([WHOLE])
    scene.stream.book_last()
    assert await scene.read() == [WHOLE]
    assert await scene.stream.receive() == b""
    assert (scene.outcomes, scene.source.closed_times) == ([], 0)
    if leaves:
        scene.stream.leave()
    await scene.stream.aclose()
    await scene.stream.aclose()
    assert (scene.outcomes, scene.source.closed_times) == ([Outcome.FINISHED], 1)


async def test_a_cut_is_booked_before_it_is_told_even_where_a_proper_end_is_booked_last() -> None:
    scene = a_stream([EVENTS[0]])
    scene.stream.book_last()
    with pytest.raises(UpstreamCut):
        await scene.read()
    assert scene.outcomes == [Outcome.UPSTREAM_CUT]


async def test_an_error_event_ends_the_stream_cleanly_and_is_the_providers() -> None:
    scene = a_stream([EVENTS[0], ERROR])
    assert await scene.read() == [EVENTS[0], ERROR]
    assert (scene.outcomes, scene.meter.error_type) == ([Outcome.UPSTREAM_ERROR], "overloaded_error")


@pytest.mark.parametrize("pieces", [[], [EVENTS[0]], [WHOLE[:-60]]])
async def test_an_end_without_message_stop_is_a_cut(pieces: list[bytes]) -> None:
    scene = a_stream(pieces)
    with pytest.raises(UpstreamCut):
        await scene.read()
    assert (scene.received, scene.outcomes) == (pieces, [Outcome.UPSTREAM_CUT])


async def test_a_message_stop_whose_empty_line_is_missing_is_an_end() -> None:
    scene = a_stream([WHOLE[:-1]])
    assert await scene.read() == [WHOLE[:-1]]
    assert scene.outcomes == [Outcome.FINISHED]


@pytest.mark.parametrize(
    "fault",
    [UpstreamCut("host", "reset"), UpstreamTimeout("host", "idle", 5), UpstreamTimeout("host", "total", 9)],
)
async def test_a_fault_midway_is_a_cut_and_is_raised(fault: UpstreamFault) -> None:
    scene = a_stream([EVENTS[0], fault])
    with pytest.raises(type(fault)):
        await scene.read()
    assert (scene.outcomes, scene.source.closed_times) == ([Outcome.UPSTREAM_CUT], 1)


async def test_a_client_that_leaves_cancels_the_provider_where_that_stops_the_bill() -> None:
    scene = a_stream([EVENTS[0], b"".join(EVENTS[1:])])
    assert await scene.stream.receive() == EVENTS[0]
    scene.stream.leave()
    with pytest.raises(UpstreamCut):
        await scene.stream.receive()
    assert (scene.source.is_aborted, scene.outcomes) == (True, [Outcome.CLIENT_GONE])


async def test_an_answer_is_read_to_its_end_for_a_client_that_left_where_cancelling_saves_nothing() -> None:
    scene = a_stream([EVENTS[0], b"".join(EVENTS[1:])], cancel_stops_billing=False)
    assert await scene.stream.receive() == EVENTS[0]
    scene.stream.leave()
    await scene.read()
    assert (scene.source.is_aborted, scene.outcomes) == (False, [Outcome.CLIENT_GONE])
    assert scene.meter.is_stopped


@pytest.mark.parametrize(("left", "outcome"), [(True, Outcome.CLIENT_GONE), (False, Outcome.STOPPED)])
async def test_closing_an_open_stream_settles_it(left: bool, outcome: Outcome) -> None:
    scene = a_stream([EVENTS[0], EVENTS[1]])
    await scene.stream.receive()
    if left:
        scene.stream.leave()
    await scene.stream.aclose()
    assert (scene.outcomes, scene.source.closed_times) == ([outcome], 1)


async def test_whatever_comes_after_the_end_changes_nothing() -> None:
    scene = a_stream([WHOLE])
    await scene.read()
    scene.stream.leave()
    await scene.stream.aclose()
    await scene.stream.aclose()
    assert await scene.stream.receive() == b""
    assert scene.outcomes == [Outcome.FINISHED]


@given(st.lists(st.binary(max_size=40) | st.sampled_from(EVENTS) | st.builds(Silence), max_size=12))
async def test_no_bytes_upset_the_meter_or_are_changed(steps: list[Step]) -> None:
    scene = a_stream([step for step in steps if step != b""])
    try:
        await scene.read()
    except UpstreamCut:
        assert scene.outcomes == [Outcome.UPSTREAM_CUT]
    assert len(scene.outcomes) == 1
    sent = b"".join(step for step in steps if isinstance(step, bytes))
    assert b"".join(piece for piece in scene.received if piece is not PING) == sent


async def test_a_provider_that_says_all_and_does_not_close_has_said_all() -> None:
    scene = a_stream([WHOLE, UpstreamTimeout("host", "idle", 5)])
    await scene.read()
    assert (b"".join(scene.received), scene.outcomes) == (WHOLE, [Outcome.FINISHED])
