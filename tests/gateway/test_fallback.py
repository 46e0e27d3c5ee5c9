"""Whatever a provider does wrong before its first content moves on to the next target, and is booked."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from farebox.domain.errors import UpstreamCut, UpstreamFault, UpstreamTimeout, UpstreamUnreachable
from farebox.domain.record import Outcome, RequestRecord
from farebox.domain.usage import CostStatus
from farebox.gateway.routing.trying.opening import HELD_BACK_BYTES_MAX
from farebox.wire.http import HttpRequest
from tests.gateway.peers import USED, ScriptedAnswer, answer_of
from tests.gateway.stage import Stage, Told, a_file, a_provider, a_stage, asking
from tests.support.upstream import Reply, error_reply, json_message, json_reply, sse, sse_message, sse_reply

INPUT, OUTPUT = 4_000_000, 20_000_000
"""Picodollars a token of claude-opus-5-5."""
COST = 100 * INPUT + 50 * OUTPUT
ERROR = sse("error", {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})
PING = sse("ping", {"type": "ping"})
GOOD = sse_message(usage=USED)
HTML = Reply(headers=(("Content-Type", "text/html"),), pieces=(b"<html>Log in</html>",))

Answering = Callable[[], Reply | ScriptedAnswer]


def two(strategy: object = None, **first: object) -> dict[str, object]:
    """Write a policy whose config tries the provider `first`, then `second`."""
    config = {
        "strategy": strategy or {"mode": "fallback"},
        "targets": [{"provider": "@first", **first}, {"provider": "@second"}],
    }
    return a_file(
        providers=[a_provider("first"), a_provider("second")],
        configs=[{"slug": "both", "config": config}],
        keys=[{"name": "alice", "config": "both"}],
        budgets=[{"name": "all", "scope": {}, "usd": 100, "period": "day"}]
        + [
            {"name": f"of-{slug}", "scope": {"provider": slug}, "usd": 100, "period": "day"} for slug in SLUGS
        ],
    )


SLUGS = ("first", "second")


def by_host(**answers: Answering) -> Callable[[HttpRequest], Reply | ScriptedAnswer]:
    """Answer by the provider that is asked, every time anew."""

    def script(request: HttpRequest) -> Reply | ScriptedAnswer:
        return answers[request.origin.host.partition(".")[0]]()

    return script


def failing(fault: UpstreamFault) -> Answering:
    def fail() -> Reply:
        raise fault

    return fail


def stalling(*pieces: bytes) -> Answering:
    def stall() -> ScriptedAnswer:
        answer = answer_of(sse_reply(pieces))
        answer.pieces.append(None)
        return answer

    return stall


def broken(*pieces: bytes) -> Answering:
    """Begin a stream and cut it."""

    def begin() -> ScriptedAnswer:
        return CutAnswer(200, answer_of(sse_reply([])).headers, list(pieces))

    return begin


class CutAnswer(ScriptedAnswer):
    async def receive(self) -> bytes:
        if not self.pieces:
            raise UpstreamCut("first.example", "the connection was lost")
        return await super().receive()


@dataclass(frozen=True, slots=True)
class Fault:
    """What the first provider does, and its attempt: status, reason, whether it is charged for the likely
    input.
    """

    answering: Answering
    status: int | None
    reason: str
    is_charged: bool = False


def status(code: int) -> Fault:
    return Fault(lambda: error_reply(code, "some_error", "No."), code, f"status {code}")


FAULTS = {
    "429": status(429),
    "529": status(529),
    "500": status(500),
    "404": status(404),
    "error event first": Fault(lambda: sse_reply([ERROR]), 200, "error event overloaded_error"),
    "ping, then error event": Fault(lambda: sse_reply([PING, ERROR]), 200, "error event overloaded_error"),
    "empty 200": Fault(lambda: sse_reply([]), 200, "empty", is_charged=True),
    "wrong content type": Fault(lambda: HTML, 200, "content-type text/html", is_charged=True),
    "cut before its head": Fault(failing(UpstreamCut("first.example", "lost")), None, "cut", is_charged=True),
    "stall before its head": Fault(
        failing(UpstreamTimeout("first.example", "first_byte", 120_000)),
        None,
        "no answer: first_byte timeout",
        is_charged=True,
    ),
    "not reached": Fault(failing(UpstreamUnreachable("first.example", "refused")), None, "not reached"),
    "cut before content": Fault(broken(PING), 200, "cut before content", is_charged=True),
}


async def moved_on(stage: Stage, first: Answering, body: bytes | None = None) -> tuple[Told, RequestRecord]:
    stage.upstream.script = by_host(first=first, second=lambda: GOOD)
    told = await stage.ask(body or asking(stream=True))
    (row,) = await stage.rows()
    return told, row


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_the_next_target_answers_for_one_that_failed(fault: Fault, tmp_path: Path) -> None:
    async with a_stage(tmp_path, two()) as stage:
        told, row = await moved_on(stage, fault.answering)
        settled = await stage.settled()
        assert await stage.held() == 0
    assert (told.status, told.is_whole, told.body) == (200, True, GOOD.body)
    assert told.header("x-portkey-provider") == "second"
    assert told.header("x-portkey-last-used-option-index") == "config.targets[1]"
    first, second = row.attempts
    assert (first.provider, first.status, first.reason) == ("first", fault.status, fault.reason)
    assert (second.provider, second.status, second.reason) == ("second", 200, None)
    assert (second.option_path, second.charged_picodollars) == ("config.targets[1]", COST)
    assert (row.outcome, row.status, row.provider) == (Outcome.FINISHED, 200, "second")
    assert (first.charged_picodollars > 0) is fault.is_charged
    assert row.charged_picodollars == first.charged_picodollars + COST == settled["all", ""]
    assert settled["of-second", ""] == COST
    assert settled.get(("of-first", ""), 0) == first.charged_picodollars


async def test_a_stream_that_stalls_before_its_content_moves_on(tmp_path: Path) -> None:
    """What it told of its input is what it is charged."""
    events = GOOD.pieces[:1]
    start = b"".join(piece for piece in events if isinstance(piece, bytes))
    async with a_stage(tmp_path, two(request_timeout=20)) as stage:
        told, row = await moved_on(stage, stalling(start, PING))
        assert [answer.is_aborted for answer in stage.upstream.answers] == [True, False]
        assert await stage.held() == 0
    assert (told.status, told.body) == (200, GOOD.body)
    first, _ = row.attempts
    assert (first.status, first.reason, first.cost_status) == (
        200,
        "stalled before content",
        CostStatus.ESTIMATED,
    )
    assert first.charged_picodollars == 100 * INPUT + 1 * OUTPUT


@pytest.mark.parametrize(("timeout_ms", "answered"), [(700, 200), (20_000, 504)])
async def test_a_targets_own_timeout_bounds_the_connecting_too(
    timeout_ms: int, answered: int, tmp_path: Path
) -> None:
    """That it took longer than the target may counts as 408; longer than anybody may, as not reached."""
    strategy = {"mode": "fallback", "on_status_codes": [408]}
    async with a_stage(tmp_path, two(strategy, request_timeout=timeout_ms)) as stage:

        def blackhole() -> Reply:
            waited_ms = stage.upstream.timeouts[-1].connect_ms
            assert waited_ms == min(timeout_ms, 10_000)
            late = UpstreamTimeout("first.example", "connect", waited_ms)
            late.dispatched = False
            raise late

        told, row = await moved_on(stage, blackhole)
        assert (told.status, row.attempts[0].charged_picodollars) == (answered, 0)


async def test_a_whole_message_in_the_place_of_a_stream_is_charged_by_what_it_tells(tmp_path: Path) -> None:
    async with a_stage(tmp_path, two()) as stage:
        told, row = await moved_on(stage, lambda: json_message(usage=USED))
        assert (told.status, told.body) == (200, GOOD.body)
        assert [answer.is_closed for answer in stage.upstream.answers] == [True, True]
    first, _ = row.attempts
    assert (first.reason, first.cost_status) == ("content-type application/json", CostStatus.PRICED)
    assert first.charged_picodollars == COST


async def test_an_answer_of_another_type_that_never_ends_moves_on(tmp_path: Path) -> None:
    def html() -> ScriptedAnswer:
        answer = answer_of(HTML)
        answer.pieces.append(None)
        return answer

    async with a_stage(tmp_path, two(request_timeout=20)) as stage:
        told, row = await moved_on(stage, html)
        assert (told.status, told.body) == (200, GOOD.body)
        assert stage.upstream.answers[0].is_aborted
    assert row.attempts[0].reason == "content-type text/html"


async def test_an_answer_that_does_not_stream_falls_back_as_well(tmp_path: Path) -> None:
    good = json_message(usage=USED)
    body = good.body
    faults: list[tuple[Answering, str]] = [
        (lambda: error_reply(503, "api_error", "No."), "status 503"),
        (lambda: Reply(headers=(("Content-Type", "application/json"),)), "empty"),
        (lambda: HTML, "content-type text/html"),
        (lambda: Reply(headers=good.headers, pieces=(body[:40],)), "cut"),
    ]
    for number, (fault, reason) in enumerate(faults):
        async with a_stage(tmp_path / str(number), two()) as stage:
            stage.upstream.script = by_host(first=fault, second=lambda: good)
            told = await stage.ask(asking(stream=False))
            (row,) = await stage.rows()
        assert (told.status, told.body) == (200, body)
        assert [attempt.reason for attempt in row.attempts] == [reason, None]


async def test_what_moves_on_is_what_the_config_names(tmp_path: Path) -> None:
    strategy = {"mode": "fallback", "on_status_codes": [429, 502]}
    async with a_stage(tmp_path, two(strategy)) as stage:
        for code, answered in ((429, 200), (529, 529), (404, 404)):
            stage.upstream.script = by_host(
                first=lambda code=code: error_reply(code, "some_error", "No."),  # type: ignore[misc]
                second=lambda: GOOD,
            )
            assert (await stage.ask(asking(stream=True))).status == answered
        stage.upstream.script = by_host(first=lambda: sse_reply([]), second=lambda: GOOD)
        assert (await stage.ask(asking(stream=True))).status == 200
        rows = await stage.rows()
    assert [len(row.attempts) for row in rows] == [2, 1, 1, 2]


async def test_the_last_target_has_the_last_word_verbatim(tmp_path: Path) -> None:
    last = error_reply(529, "overloaded_error", "In its own words.", ("Retry-After", "7"))
    async with a_stage(tmp_path, two()) as stage:
        stage.upstream.script = by_host(first=lambda: json_reply({}, status=500), second=lambda: last)
        told = await stage.ask(asking(stream=True))
        (row,) = await stage.rows()
    assert (told.status, told.body, told.header("retry-after")) == (529, last.body, "7")
    assert (row.status, row.outcome) == (529, Outcome.UPSTREAM_ERROR)
    assert [attempt.status for attempt in row.attempts] == [500, 529]
    assert row.charged_picodollars == 0


async def test_an_error_event_of_the_last_target_passes_verbatim(tmp_path: Path) -> None:
    async with a_stage(tmp_path, two()) as stage:
        stage.upstream.script = by_host(first=lambda: sse_reply([]), second=lambda: sse_reply([PING, ERROR]))
        told = await stage.ask(asking(stream=True))
        (row,) = await stage.rows()
    assert (told.status, told.is_whole, told.body) == (200, True, PING + ERROR)
    assert (row.outcome, len(row.attempts), row.error_type) == (
        Outcome.UPSTREAM_ERROR,
        2,
        "overloaded_error",
    )


@pytest.mark.parametrize(
    ("last", "answered"),
    [(lambda: sse_reply([]), 502), (broken(PING), 502), (stalling(PING), 504)],
    ids=["empty", "cut", "stall"],
)
async def test_a_last_target_that_breaks_off_before_content_is_an_error_not_a_cut(
    last: Answering, answered: int, tmp_path: Path
) -> None:
    """Nothing has reached the client yet, so it can be told properly."""
    file = two(request_timeout=20)
    async with a_stage(tmp_path, file) as stage:
        stage.upstream.script = by_host(first=last, second=last)
        config = {"provider": "@first", "request_timeout": 20}
        told = await stage.ask(asking(stream=True), x_farebox_config=json.dumps(config))
        (row,) = await stage.rows()
        assert await stage.held() == 0
    assert told.error[0] == answered
    assert [attempt.status for attempt in row.attempts] == [200]
    assert row.charged_picodollars == row.attempts[0].charged_picodollars > 0


async def test_a_stream_that_breaks_after_its_first_content_is_a_cut_and_moves_nowhere(
    tmp_path: Path,
) -> None:
    pieces = [piece for piece in GOOD.pieces[:3] if isinstance(piece, bytes)]
    async with a_stage(tmp_path, two()) as stage:
        stage.upstream.script = by_host(first=broken(*pieces), second=lambda: GOOD)
        told = await stage.ask(asking(stream=True))
        (row,) = await stage.rows()
    assert (told.status, told.is_whole, told.body) == (200, False, b"".join(pieces))
    assert (row.outcome, [attempt.provider for attempt in row.attempts]) == (Outcome.UPSTREAM_CUT, ["first"])


async def test_content_reaches_the_client_before_the_answer_is_whole(tmp_path: Path) -> None:
    pieces = [piece for piece in GOOD.pieces if isinstance(piece, bytes)]
    async with a_stage(tmp_path, two()) as stage:
        answer = answer_of(GOOD)
        answer.pieces.insert(3, None)
        stage.upstream.script = by_host(first=lambda: answer)
        stream = await stage.begin(asking(stream=True))
        assert [await stream.receive() for _ in range(2)] == pieces[:2]
        answer.more.set()
        rest = b""
        while piece := await stream.receive():
            rest += piece
        await stream.aclose()
    assert rest == b"".join(pieces[2:])


async def test_no_target_is_turned_to_when_the_client_has_given_up(tmp_path: Path) -> None:
    async with a_stage(tmp_path, two()) as stage:

        def late() -> Reply:
            stage.clock.advance(timedelta(seconds=301))
            return error_reply(529, "overloaded_error", "Overloaded")

        told, row = await moved_on(stage, late)
    assert (told.status, len(row.attempts), row.outcome) == (529, 1, Outcome.UPSTREAM_ERROR)


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"{", "unreadable"), (b'{"error":"x"}', "unnamed"), (b'{"error":{"type":"new_error"}}', "new_error")],
)
async def test_an_error_event_that_nobody_knows_counts_as_500(
    data: bytes, reason: str, tmp_path: Path
) -> None:
    strategy = {"mode": "fallback", "on_status_codes": [500]}
    event = b"event: error\ndata: " + data + b"\n\n"
    async with a_stage(tmp_path, two(strategy)) as stage:
        told, row = await moved_on(stage, lambda: sse_reply([event]))
    assert (told.status, told.body) == (200, GOOD.body)
    assert row.attempts[0].reason == f"error event {reason}"


@pytest.mark.parametrize(
    "pieces",
    [
        (PING, b"event: content_block_delta\ndata: {}\n\n"),
        (b": " + b"x" * HELD_BACK_BYTES_MAX + b"\n\n", PING),
        GOOD.pieces[-2:],
    ],
    ids=["a delta", "much of nothing", "a message without content"],
)
async def test_what_is_content_ends_the_holding_back(pieces: tuple[bytes, ...], tmp_path: Path) -> None:
    """Whatever comes then is the answer, as it is."""
    async with a_stage(tmp_path, two()) as stage:
        told, row = await moved_on(stage, lambda: sse_reply(pieces))
    assert (told.status, told.body) == (200, b"".join(pieces))
    assert [attempt.provider for attempt in row.attempts] == ["first"]


async def test_a_stream_that_comes_packed_is_not_looked_into(tmp_path: Path) -> None:
    packed = sse_reply([gzip.compress(GOOD.body, mtime=0)]).with_headers(("Content-Encoding", "gzip"))
    async with a_stage(tmp_path, two()) as stage:
        told, row = await moved_on(stage, lambda: packed)
    assert (told.status, told.body, row.charged_picodollars) == (200, packed.body, COST)
