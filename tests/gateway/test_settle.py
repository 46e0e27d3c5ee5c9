"""Every request is booked once, whatever fails: the store, the provider, the process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from farebox.domain.budget import Touch
from farebox.domain.errors import (
    CredentialUnavailable,
    KeyRefused,
    StoreFault,
    UpstreamCut,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from farebox.domain.record import Outcome, RequestRecord
from farebox.domain.usage import CostStatus
from farebox.gateway.incoming import ClientLeft
from farebox.gateway.reserve import HoldTerms
from farebox.gateway.settle import CLIENT_GONE, outcome_of
from farebox.jobs.sweep import Sweeper
from farebox.wire.http import HttpRequest
from tests.gateway.peers import USED, ScriptedAnswer
from tests.gateway.stage import Stage, a_file, a_stage, asking, read_out
from tests.support.builders import a_budget
from tests.support.upstream import error_reply, json_message, sse_message, usage

IN, OUT = 4_000_000, 20_000_000
SPENT = 100 * IN + 50 * OUT
BUDGETED = a_file(budgets=[{"name": "b", "scope": {}, "period": "day", "usd": 1}])
BOUND = len(asking()) * 10 // 13 + 1
EXPECTED = len(asking()) // 4 + 1
HELD = BOUND * IN + 1000 * OUT


def sweeper(stage: Stage) -> Sweeper:
    return Sweeper(stage.store.ledger, stage.store.policies, stage.events, stage.clock)


async def test_a_settlement_that_the_store_refuses_is_logged_whole_and_swept_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with a_stage(tmp_path, BUDGETED) as stage:
        stage.ledger.failing = {"settle"}
        told = await stage.ask(asking())
        assert (told.status, told.is_whole) == (200, True)
        stage.ledger.failing = set()
        [line] = [record.getMessage() for record in caplog.records if record.name == "farebox.settle"]
        logged = msgspec.json.decode(line.partition("record: ")[2], type=RequestRecord)
        assert (logged.outcome, logged.charged_picodollars, logged.key) == (Outcome.FINISHED, SPENT, "alice")
        assert (await stage.rows(), await stage.held()) == ([], HELD)

        await stage.leases.renew()
        stage.clock.advance(timedelta(seconds=60))
        assert [await sweeper(stage).sweep() for _ in range(2)] == [1, 0]
        [row] = await stage.rows()
        assert (row.id, row.outcome, row.charged_picodollars) == (logged.id, Outcome.EXPIRED, HELD)
        assert (await stage.settled(), await stage.held()) == ({("b", ""): HELD}, 0)

        # What was really used is booked as a correction of the same request, once.
        touch = stage_touch(stage, SPENT)
        for _ in range(2):
            await stage.store.ledger.settle(logged.id, logged, [touch])
        assert await stage.settled() == {("b", ""): SPENT}


def stage_touch(stage: Stage, amount: int) -> Touch:
    budget = a_budget(usd=1, name="b")
    return Touch(budget, "", budget.window_at(stage.clock.now()), amount)


async def test_a_settlement_whose_answer_was_lost_is_not_booked_twice(tmp_path: Path) -> None:
    async with a_stage(tmp_path, BUDGETED) as stage:
        stage.ledger.lost = {"settle"}
        assert (await stage.ask(asking())).status == 200
        stage.clock.advance(timedelta(days=1))
        assert await sweeper(stage).sweep() == 0
        stage.clock.advance(timedelta(days=-1))
        assert await stage.settled() == {("b", ""): SPENT}
        assert [row.outcome for row in await stage.rows()] == [Outcome.FINISHED]


async def test_a_reservation_whose_answer_was_lost_is_given_back(tmp_path: Path) -> None:
    async with a_stage(tmp_path, BUDGETED) as stage:
        stage.ledger.lost = {"reserve"}
        assert (await stage.ask(asking())).status == 503
        assert (stage.upstream.sent, await stage.holds(), await stage.settled()) == ([], [], {})


async def test_a_store_that_fails_before_and_after_loses_no_money(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with a_stage(tmp_path, BUDGETED) as stage:
        stage.ledger.lost, stage.ledger.failing = {"reserve"}, {"settle"}
        assert (await stage.ask(asking())).status == 503
        assert stage.upstream.sent == []
        stage.ledger.failing = set()
        stage.clock.advance(timedelta(seconds=60))
        # Nobody can tell any more that nothing was sent, so the hold is charged, not forgiven.
        assert await sweeper(stage).sweep() == 1
        assert await stage.settled() == {("b", ""): HELD}


async def test_what_a_row_cannot_hold_is_swept_and_not_held_for_ever(tmp_path: Path) -> None:
    async with a_stage(tmp_path, BUDGETED) as stage:
        absurd = usage(input_tokens=2**53 - 1, output_tokens=2**53 - 1)
        stage.upstream.script = lambda _: json_message(usage=absurd)
        await stage.ask(asking(stream=False))
        assert stage.ledger.calls.count("settle") == 1
        for _ in range(3):
            stage.clock.advance(timedelta(seconds=20))
            await stage.leases.renew()
        await sweeper(stage).sweep()
        assert await stage.holds() == []
        [row] = await stage.rows()
        assert row.charged_picodollars >= HELD


async def test_leases_are_renewed_while_a_stream_is_open_and_no_longer(tmp_path: Path) -> None:
    async with a_stage(tmp_path, BUDGETED) as stage:
        stream = await stage.begin(asking())
        for _ in range(5):
            stage.clock.advance(timedelta(seconds=50))
            await stage.leases.renew()
            assert await sweeper(stage).sweep() == 0
        await read_out(stream)
        stage.ledger.calls.clear()
        await stage.leases.renew()
        assert (stage.ledger.calls, await stage.settled()) == ([], {("b", ""): SPENT})


async def test_the_timer_renews_and_ends_when_it_is_cancelled(tmp_path: Path) -> None:
    terms = HoldTerms(lease_ms=3, wait_ms=0)
    async with a_stage(tmp_path, BUDGETED, terms=terms) as stage:
        stream = await stage.begin(asking())
        renewing = asyncio.create_task(stage.leases.run())
        async with asyncio.timeout(10):
            while stage.ledger.calls.count("renew") < 2:
                await asyncio.sleep(0)
        renewing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await renewing
        await read_out(stream)


async def test_a_lease_that_cannot_be_renewed_is_tried_again_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with a_stage(tmp_path, BUDGETED) as stage:
        stream = await stage.begin(asking())
        stage.ledger.failing = {"renew"}
        stage.clock.advance(timedelta(seconds=50))
        await stage.leases.renew()
        assert "lease of req_1 not renewed" in caplog.text
        stage.ledger.failing = set()
        await stage.leases.renew()
        stage.clock.advance(timedelta(seconds=50))
        assert await sweeper(stage).sweep() == 0
        await read_out(stream)


async def test_a_request_that_was_swept_and_lives_is_corrected_to_what_it_used(tmp_path: Path) -> None:
    async with a_stage(tmp_path, BUDGETED) as stage:
        stream = await stage.begin(asking())
        stage.clock.advance(timedelta(seconds=61))
        assert await sweeper(stage).sweep() == 1
        assert await stage.settled() == {("b", ""): HELD}
        await read_out(stream)
        assert await stage.settled() == {("b", ""): SPENT}
        rows = [(row.outcome, row.charged_picodollars) for row in await stage.rows()]
        assert rows == [(Outcome.FINISHED, SPENT)]


async def test_the_row_of_a_dead_process_says_what_was_held_and_for_whom(tmp_path: Path) -> None:
    async with a_stage(tmp_path, BUDGETED) as stage:
        await stage.begin(asking(), x_claude_code_session_id="s-1")
        stage.clock.advance(timedelta(seconds=60))
        await sweeper(stage).sweep()
        [row] = await stage.rows()
        assert (row.outcome, row.status, row.cost_status) == (Outcome.EXPIRED, 500, CostStatus.ESTIMATED)
        assert (row.cost_picodollars, row.charged_picodollars, row.overrun_picodollars) == (HELD, HELD, 0)
        assert (row.key, row.user, row.session_id) == ("alice", "alice@example.com", "s-1")
        assert (row.model, row.provider) == ("claude-opus-5-5", "anthropic")


def raising(error: BaseException) -> Callable[[HttpRequest], ScriptedAnswer]:
    def script(_: HttpRequest) -> ScriptedAnswer:
        raise error

    return script


async def test_a_provider_that_was_not_reached_costs_nothing(tmp_path: Path) -> None:
    async with a_stage(tmp_path, BUDGETED) as stage:
        stage.upstream.script = raising(UpstreamUnreachable("anthropic.example", "refused"))
        assert (await stage.ask(asking())).error[:2] == (502, "api_error")
        [row] = await stage.rows()
        assert (row.outcome, row.status, row.charged_picodollars) == (Outcome.UPSTREAM_ERROR, 502, 0)
        assert [(attempt.status, attempt.charged_picodollars) for attempt in row.attempts] == [(None, 0)]
        assert (await stage.settled(), await stage.held()) == ({}, 0)


@pytest.mark.parametrize(
    ("error", "outcome", "status"),
    [
        (UpstreamTimeout("anthropic.example", "first_byte", 1), Outcome.UPSTREAM_ERROR, 504),
        (UpstreamCut("anthropic.example", "reset"), Outcome.UPSTREAM_CUT, 502),
        (RuntimeError("ours"), Outcome.REFUSED, 500),
    ],
)
async def test_what_may_have_been_read_by_the_provider_is_charged_at_its_likely_input(
    error: Exception, outcome: Outcome, status: int, tmp_path: Path
) -> None:
    async with a_stage(tmp_path, BUDGETED) as stage:
        stage.upstream.script = raising(error)
        assert (await stage.ask(asking())).status == status
        [row] = await stage.rows()
        assert (row.outcome, row.status, row.error_type) == (outcome, status, type(error).__name__)
        assert (row.charged_picodollars, row.cost_status) == (EXPECTED * IN, CostStatus.ESTIMATED)
        assert await stage.settled() == {("b", ""): EXPECTED * IN}


@pytest.mark.parametrize("status", [400, 401, 429, 500, 529])
async def test_an_error_of_the_provider_costs_nothing_and_is_relayed(status: int, tmp_path: Path) -> None:
    async with a_stage(tmp_path, BUDGETED) as stage:
        reply = error_reply(status, "some_error", "As the provider says.")
        stage.upstream.script = lambda _: reply
        told = await stage.ask(asking())
        assert (told.status, told.body) == (status, reply.body)
        [row] = await stage.rows()
        assert (row.outcome, row.status, row.charged_picodollars) == (Outcome.UPSTREAM_ERROR, status, 0)
        assert (await stage.settled(), await stage.held()) == ({}, 0)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_finished_request_is_one_row_with_everything(stream: bool, tmp_path: Path) -> None:
    async with a_stage(tmp_path, BUDGETED) as stage:
        stage.upstream.script = lambda _: (sse_message if stream else json_message)(usage=USED)
        await stage.ask(asking(stream=stream), x_claude_code_agent_id="a-1", x_farebox_trace_id="t-1")
        [row] = await stage.rows()
        assert (row.outcome, row.status, row.cost_status) == (Outcome.FINISHED, 200, CostStatus.PRICED)
        assert (row.cost_picodollars, row.charged_picodollars, row.overrun_picodollars) == (SPENT, SPENT, 0)
        assert (row.agent_id, row.trace_id, row.upstream_request_id) == ("a-1", "t-1", "req_011CScripted")
        assert (row.organisation, row.workspace, row.key, row.user) == (
            "default",
            "default",
            "alice",
            "alice@example.com",
        )
        assert (row.usage.input_tokens, row.usage.output_tokens, row.ttft_ms) == (100, 50, 0)
        assert row.rates["output"] == str(OUT)
        [attempt] = row.attempts
        assert (attempt.provider, attempt.status, attempt.charged_picodollars) == ("anthropic", 200, SPENT)
        await stage.events.drain()
        assert stage.finished == [row]


async def test_an_overrun_is_booked_whole_and_recorded(tmp_path: Path) -> None:
    async with a_stage(tmp_path, BUDGETED) as stage:
        stage.upstream.script = lambda _: sse_message(usage=usage(input_tokens=10_000, output_tokens=1000))
        await stage.ask(asking())
        [row] = await stage.rows()
        cost = 10_000 * IN + 1000 * OUT
        assert (row.charged_picodollars, row.overrun_picodollars) == (cost, cost - HELD)
        assert await stage.settled() == {("b", ""): cost}


@pytest.mark.parametrize("stops", [1, 3])
async def test_a_stop_while_the_booking_is_under_way_waits_for_it(stops: int, tmp_path: Path) -> None:
    async with a_stage(tmp_path, BUDGETED) as stage:
        stage.ledger.may_settle.clear()
        reading = asyncio.ensure_future(read_out(await stage.begin(asking())))
        while "settle" not in stage.ledger.calls:
            await asyncio.sleep(0)
        for _ in range(stops):
            reading.cancel()
            for _ in range(5):
                await asyncio.sleep(0)
        assert not reading.done()
        stage.ledger.may_settle.set()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert [row.outcome for row in await stage.rows()] == [Outcome.FINISHED]
        assert (await stage.settled(), await stage.held()) == ({("b", ""): SPENT}, 0)


@pytest.mark.parametrize(
    ("ending", "outcome"),
    [
        (ClientLeft(), Outcome.CLIENT_GONE),
        (asyncio.CancelledError(CLIENT_GONE), Outcome.CLIENT_GONE),
        (asyncio.CancelledError(), Outcome.STOPPED),
        (UpstreamCut("h", "d"), Outcome.UPSTREAM_CUT),
        (UpstreamTimeout("h", "idle", 1), Outcome.UPSTREAM_ERROR),
        (KeyRefused(), Outcome.REFUSED),
        (StoreFault("d"), Outcome.REFUSED),
        (CredentialUnavailable("p", "d"), Outcome.REFUSED),
        (ValueError(), Outcome.REFUSED),
    ],
)
def test_each_way_to_end_before_an_answer_has_its_name(ending: BaseException, outcome: Outcome) -> None:
    assert outcome_of(ending) is outcome
