"""Budgets under concurrency: nobody gets past a limit together, and what others hold is waited for."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farebox.domain.errors import Refusal, StoreFault, UpstreamFault
from farebox.domain.money import usd_exact_text
from farebox.domain.record import Outcome
from farebox.gateway.reserve import HoldTerms
from farebox.gateway.stream import MeteredStream
from tests.gateway.peers import ScriptedAnswer, SteppingClock
from tests.gateway.stage import Stage, a_file, a_stage, asking, read_out
from tests.support.upstream import message_events, sse_message, usage

PARALLEL = 40
PATIENT = HoldTerms(wait_ms=60_000)


def a_budget(usd: object, **fields: object) -> dict[str, object]:
    return {"name": "b", "scope": {"key": "*"}, "period": "day", "usd": usd, **fields}


async def together(stage: Stage, count: int, body: bytes) -> list[int]:
    return [told.status for told in await asyncio.gather(*(stage.ask(body) for _ in range(count)))]


async def books(stage: Stage) -> tuple[int, int]:
    """Give what is settled, and by how much rows say that it went past what was held."""
    settled = sum((await stage.settled()).values())
    rows = await stage.rows()
    assert settled == sum(row.charged_picodollars for row in rows)
    assert await stage.held() == 0
    return settled, sum(row.overrun_picodollars for row in rows)


@pytest.mark.parametrize(("output_tokens", "served_at_most"), [(50, PARALLEL), (1000, 4), (5000, 4)])
async def test_the_first_requests_of_a_new_bucket_cannot_race_past_its_limit(
    output_tokens: int, served_at_most: int, tmp_path: Path
) -> None:
    async with a_stage(tmp_path, a_file(budgets=[a_budget("0.1")])) as stage:
        used = usage(input_tokens=30, output_tokens=output_tokens)
        stage.upstream.script = lambda _: sse_message(usage=used)
        statuses = await together(stage, PARALLEL, asking())
        settled, overrun = await books(stage)
        assert settled <= 10**11 + overrun
        assert overrun > 0 or output_tokens <= 1000
        assert set(statuses) <= {200, 402, 429}
        assert len(stage.upstream.sent) == statuses.count(200) > 0
        # One request holds some 0.0204 USD.
        assert statuses.count(200) <= served_at_most


async def test_at_no_moment_is_more_settled_and_held_than_the_limit(tmp_path: Path) -> None:
    async with a_stage(tmp_path, a_file(budgets=[a_budget("0.3")]), terms=PATIENT) as stage:
        stage.upstream.script = lambda _: sse_message(usage=usage(input_tokens=30, output_tokens=900))
        asking_all = asyncio.ensure_future(together(stage, PARALLEL, asking()))
        highest = 0
        while not asking_all.done():
            for standing in await stage.standings():
                highest = max(highest, standing.standing.settled + standing.standing.held)
            await asyncio.sleep(0)
        statuses = await asking_all
        settled, overrun = await books(stage)
        assert (overrun, highest <= 3 * 10**11, settled <= 3 * 10**11) == (0, True, True)
        # 900 tokens of output cost 0.018, so as many fit as leave one request its 0.0204 of hold.
        assert statuses.count(200) == (3 * 10**11 - 20_400_000_000) // settled_each(stage) + 1
        assert set(statuses) == {200, 402}


def settled_each(stage: Stage) -> int:
    return max(record.charged_picodollars for record in stage.finished)


async def test_whoever_waits_is_served_when_the_holds_before_it_were_too_high(tmp_path: Path) -> None:
    """Forty holds of 0.0204 do not fit into 0.1 at once, and forty costs of 0.0014 do."""
    async with a_stage(tmp_path, a_file(budgets=[a_budget("0.1")]), terms=PATIENT) as stage:
        assert await together(stage, PARALLEL, asking()) == [200] * PARALLEL
        assert await books(stage) == (PARALLEL * 1_400_000_000, 0)


async def test_two_processes_over_one_store_share_one_limit(tmp_path: Path) -> None:
    file = a_file(budgets=[a_budget("0.1")])
    async with a_stage(tmp_path, file) as one, a_stage(tmp_path, file) as two:
        two.keys.update(one.keys)
        for stage in (one, two):
            stage.upstream.script = lambda _: sse_message(usage=usage(input_tokens=30, output_tokens=1000))
        halves = await asyncio.gather(together(one, 20, asking()), together(two, 20, asking()))
        statuses = [*halves[0], *halves[1]]
        settled, overrun = await books(one)
        assert (settled <= 10**11, overrun, set(statuses)) == (True, 0, {200, 402, 429})
        assert len(one.upstream.sent) + len(two.upstream.sent) == statuses.count(200)


async def test_what_an_open_stream_holds_is_told_as_held_and_worth_a_retry(tmp_path: Path) -> None:
    terms = HoldTerms(wait_ms=30)
    file = a_file(budgets=[a_budget("0.03")])
    async with a_stage(tmp_path, file, terms=terms, clock=SteppingClock(20)) as stage:
        stream = await stage.begin(asking())
        told = await stage.ask(asking())
        held = await stage.held()
        assert told.error == (
            429,
            "rate_limit_error",
            f"Budget 'b' (alice) is in use: $0.00 of $0.03 spent and {usd_exact_text(held)} held by open "
            "requests. Try again in 2 s.",
        )
        assert (told.header("retry-after"), told.header("x-should-retry")) == ("2", None)
        assert len(stage.upstream.sent) == 1
        await read_out(stream)
        assert (await stage.ask(asking())).status == 200


async def test_a_waiting_request_goes_on_as_soon_as_the_hold_before_it_is_settled(tmp_path: Path) -> None:
    async with a_stage(tmp_path, a_file(budgets=[a_budget("0.03")]), terms=PATIENT) as stage:
        stream = await stage.begin(asking())
        waiting = asyncio.ensure_future(stage.ask(asking()))
        while stage.ledger.calls.count("reserve") < 3:
            await asyncio.sleep(0)
        await read_out(stream)
        assert (await waiting).status == 200


async def test_a_client_that_leaves_while_it_waits_holds_nothing(tmp_path: Path) -> None:
    async with a_stage(tmp_path, a_file(budgets=[a_budget("0.03")]), terms=PATIENT) as stage:
        stream = await stage.begin(asking())
        waiting = asyncio.ensure_future(stage.begin(asking()))
        while stage.ledger.calls.count("reserve") < 3:
            await asyncio.sleep(0)
        waiting.cancel("client gone")
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await read_out(stream)
        charged = {row.outcome: row.charged_picodollars for row in await stage.rows()}
        assert charged == {Outcome.FINISHED: 1_400_000_000, Outcome.CLIENT_GONE: 0}
        assert (await books(stage), await stage.holds()) == ((1_400_000_000, 0), [])


MOVES = st.lists(
    st.tuples(
        st.sampled_from(["begin", "read", "leave", "stop", "drain", "refuse", "outage", "recover"]),
        st.integers(0, 2**16),
    ),
    max_size=40,
)


@settings(max_examples=25)
@given(MOVES)
def test_the_books_balance_after_any_sequence_of_endings(
    tmp_path_factory: pytest.TempPathFactory, moves: list[tuple[str, int]]
) -> None:
    asyncio.run(play(tmp_path_factory.mktemp("books"), moves))


BUDGETS = [
    a_budget("0.5"),
    {"name": "org", "scope": {"organisation": "*"}, "period": "total", "usd": "0.7"},
    {"name": "tokens", "scope": {}, "period": "day", "tokens": 20_000, "count": ["output"]},
    {"name": "watch", "scope": {"model": "*"}, "period": "day", "usd": 0, "on_exhausted": "alert"},
]


async def play(folder: Path, moves: list[tuple[str, int]]) -> None:
    async with a_stage(folder, a_file(budgets=BUDGETS)) as stage:
        open_streams: list[MeteredStream] = []
        for move, number in moves:
            await _move(stage, open_streams, move, number)
        for stream in open_streams:
            await stream.aclose()
        stage.ledger.failing = set()
        # What was left by outages is swept like a dead process's.
        for hold in await stage.holds():
            await stage.store.ledger.settle(hold.request_id, hold.draft, hold.touches)
        rows = await stage.rows()
        charged = sum(row.charged_picodollars for row in rows)
        settled = await stage.settled()
        assert await stage.held() == 0
        assert sum(amount for (name, _), amount in settled.items() if name == "b") == charged
        assert settled.get(("org", "default"), 0) == charged
        assert len({row.id for row in rows}) == len(rows)


async def _move(stage: Stage, open_streams: list[MeteredStream], move: str, number: int) -> None:
    if move == "begin":
        pieces = message_events("word " * 30, usage=usage(input_tokens=number % 5000, output_tokens=number))
        stage.upstream.script = lambda _: ScriptedAnswer(
            200, [(b"content-type", b"text/event-stream")], list(pieces[: 1 + number % len(pieces)])
        )
        with suppress(Refusal, StoreFault):
            open_streams.append(await stage.begin(asking(max_tokens=1 + number)))
    elif move in ("outage", "recover"):
        methods = random.Random(number).sample(["reserve", "top_up", "settle", "exhaust"], 2)
        stage.ledger.failing = set(methods) if move == "outage" else set()
    elif move == "refuse":
        await stage.ask(asking(model="@nobody/x"))
    elif open_streams:
        stream = open_streams[number % len(open_streams)]
        if move == "leave":
            stream.leave()
        elif move == "stop":
            await stream.aclose()
        else:
            with suppress(UpstreamFault):
                await (read_out(stream) if move == "drain" else stream.receive())
