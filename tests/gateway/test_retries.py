"""A target is tried again as its config says and as long as it makes sense, and each try is an attempt."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from farebox.domain.errors import UpstreamUnreachable
from farebox.domain.record import Outcome
from farebox.gateway.settle import CLIENT_GONE
from tests.gateway.peers import USED
from tests.gateway.stage import Stage, Told, a_file, a_provider, a_stage, asking
from tests.gateway.test_fallback import COST, GOOD, PING, Answering, by_host, failing, stalling
from tests.support.builders import NOON, FixedClock
from tests.support.upstream import Reply, error_reply, sse_message, sse_reply

WAYS_TO_GO = [(CLIENT_GONE, Outcome.CLIENT_GONE), ("", Outcome.STOPPED)]


def patient(attempts: int = 2, **retry: object) -> dict[str, object]:
    return {"provider": "@first", "retry": {"attempts": attempts, **retry}}


def a_policy() -> dict[str, object]:
    return a_file(
        providers=[a_provider("first"), a_provider("second")],
        budgets=[{"name": "all", "scope": {}, "usd": 100, "period": "day"}],
    )


def one_after_another(*answers: Answering) -> Answering:
    left = list(answers)
    return lambda: left.pop(0)()


def no(status: int, *headers: tuple[str, str]) -> Answering:
    return lambda: error_reply(status, "some_error", "Not now.", *headers)


def good() -> Reply:
    return sse_message(usage=USED)


async def asked(stage: Stage, config: Mapping[str, object], *first: Answering) -> Told:
    stage.upstream.script = by_host(first=one_after_another(*first), second=good)
    return await stage.ask(asking(stream=True), x_farebox_config=json.dumps(config))


def waited_ms(clock: FixedClock) -> int:
    return (clock.moment - NOON) // timedelta(milliseconds=1)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 529])
async def test_what_may_pass_is_tried_again(status: int, tmp_path: Path) -> None:
    async with a_stage(tmp_path, a_policy()) as stage:
        told = await asked(stage, patient(), no(status), good)
        (row,) = await stage.rows()
    assert (told.status, told.body, told.header("x-portkey-retry-attempt-count")) == (200, GOOD.body, "1")
    assert [(each.status, each.charged_picodollars) for each in row.attempts] == [(status, 0), (200, COST)]
    assert (row.outcome, row.charged_picodollars) == (Outcome.FINISHED, COST)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413])
async def test_what_will_not_pass_is_not(status: int, tmp_path: Path) -> None:
    async with a_stage(tmp_path, a_policy()) as stage:
        told = await asked(stage, patient(), no(status))
        (row,) = await stage.rows()
    assert (told.status, told.header("x-farebox-retry-attempt-count")) == (status, "0")
    assert len(row.attempts) == 1


async def test_a_config_names_statuses_of_its_own(tmp_path: Path) -> None:
    async with a_stage(tmp_path, a_policy()) as stage:
        told = await asked(stage, patient(on_status_codes=[404]), no(404), no(503))
    assert (told.status, told.header("x-farebox-retry-attempt-count")) == (503, "1")


async def test_without_a_config_the_clients_own_retries_are_the_only_ones(tmp_path: Path) -> None:
    async with a_stage(tmp_path, a_policy()) as stage:
        stage.upstream.script = by_host(first=no(529))
        told = await stage.ask(asking(stream=True))
    assert (told.status, len(stage.upstream.sent)) == (529, 1)


async def test_the_provider_says_whether_to_try_again(tmp_path: Path) -> None:
    async with a_stage(tmp_path, a_policy()) as stage:
        told = await asked(stage, patient(), no(529, ("x-should-retry", "false")))
        assert (told.status, len(stage.upstream.sent)) == (529, 1)
        told = await asked(stage, patient(), no(409, ("x-should-retry", "true")), good)
        assert (told.status, len(stage.upstream.sent)) == (200, 3)


async def test_a_storm_of_529_is_given_up_and_told_verbatim(tmp_path: Path) -> None:
    async with a_stage(tmp_path, a_policy()) as stage:
        told = await asked(stage, patient(3), *[no(529)] * 4)
        (row,) = await stage.rows()
        assert 0.5 * 3500 <= waited_ms(stage.clock) <= 3500
    assert (told.status, told.error[2]) == (529, "Not now.")
    assert told.header("x-portkey-retry-attempt-count") == "-1"
    assert [attempt.status for attempt in row.attempts] == [529] * 4
    assert (row.status, row.outcome, row.charged_picodollars) == (529, Outcome.UPSTREAM_ERROR, 0)


@pytest.mark.parametrize(
    ("headers", "wait_ms"),
    [
        ([("retry-after", "7")], 7000),
        ([("retry-after", "0")], 0),
        ([("retry-after", "1.5")], 1500),
        ([("retry-after-ms", "40")], 40),
        ([("x-ms-retry-after-ms", "50")], 50),
        ([("retry-after", "7"), ("retry-after-ms", "60")], 60),
        ([("retry-after", "Mon, 23 Nov 2026 12:00:09 GMT")], 9000),
        ([("retry-after", "Monday, 23-Nov-26 12:00:09 GMT")], 9000),
        ([("retry-after", "Mon Nov 23 12:00:09 2026")], 9000),
        ([("retry-after", "Mon, 23 Nov 2026 11:00:00 GMT")], 0),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
async def test_a_retry_waits_as_long_as_the_provider_asks(
    status: int, headers: list[tuple[str, str]], wait_ms: int, tmp_path: Path
) -> None:
    async with a_stage(tmp_path, a_policy()) as stage:
        assert (await asked(stage, patient(), no(status, *headers), good)).status == 200
        assert waited_ms(stage.clock) == wait_ms


async def test_a_wait_that_cannot_be_read_is_ours_to_choose(tmp_path: Path) -> None:
    async with a_stage(tmp_path, a_policy()) as stage:
        for odd in ("soon", "-3", "1e9999", "٣", ""):
            assert (await asked(stage, patient(), no(429, ("retry-after", odd)), good)).status == 200
        assert 5 * 250 <= waited_ms(stage.clock) <= 5 * 500


async def test_a_provider_that_wants_to_rest_for_long_is_left_to_the_client(tmp_path: Path) -> None:
    """The client's own retries need room: it gets the answer with the provider's own retry-after."""
    async with a_stage(tmp_path, a_policy()) as stage:
        told = await asked(stage, patient(), no(429, ("Retry-After", "61")))
        assert (told.status, told.header("retry-after"), waited_ms(stage.clock)) == (429, "61", 0)
        config = {"strategy": {"mode": "fallback"}, "targets": [patient(), {"provider": "@second"}]}
        told = await asked(stage, config, no(429, ("Retry-After", "61")))
        assert (told.status, told.header("x-farebox-provider")) == (200, "second")
        assert waited_ms(stage.clock) == 0


async def test_all_waits_together_stay_below_a_minute(tmp_path: Path) -> None:
    async with a_stage(tmp_path, a_policy()) as stage:
        told = await asked(stage, patient(5), *[no(429, ("Retry-After", "25"))] * 3)
        assert waited_ms(stage.clock) == 50_000
        (row,) = await stage.rows()
    assert (told.status, len(row.attempts)) == (429, 3)


async def test_a_target_is_exhausted_before_the_next_one_gets_its_turn(tmp_path: Path) -> None:
    config = {"strategy": {"mode": "fallback"}, "targets": [patient(1), {"provider": "@second"}]}
    unreachable = failing(UpstreamUnreachable("first.example", "refused"))
    async with a_stage(tmp_path, a_policy()) as stage:
        told = await asked(stage, config, unreachable, lambda: sse_reply([]))
        (row,) = await stage.rows()
    assert (told.status, told.header("x-farebox-retry-attempt-count")) == (200, "0")
    assert [(each.provider, each.reason) for each in row.attempts] == [
        ("first", "not reached"),
        ("first", "empty"),
        ("second", None),
    ]


class PatientClock(FixedClock):
    """A clock whose sleep ends only when its sleeper is cancelled."""

    def __init__(self) -> None:
        super().__init__()
        self.sleeps = asyncio.Event()

    async def sleep_ms(self, duration_ms: int) -> None:
        self.sleeps.set()
        await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("message", "outcome"),
    [(CLIENT_GONE, Outcome.CLIENT_GONE), ("", Outcome.STOPPED)],
    ids=["left", "stopped"],
)
async def test_whoever_ends_a_request_during_the_wait_ends_it_once(
    message: str, outcome: Outcome, tmp_path: Path
) -> None:
    clock = PatientClock()
    async with a_stage(tmp_path, a_policy(), clock=clock) as stage:
        asking_it = asyncio.ensure_future(asked(stage, patient(), lambda: sse_reply([])))
        await clock.sleeps.wait()
        held = await stage.held()
        assert held > 0
        asking_it.cancel(*([message] if message else []))
        with pytest.raises(asyncio.CancelledError):
            await asking_it
        (row,) = await stage.rows()
        assert await stage.held() == 0
        assert (await stage.settled())["all", ""] == row.charged_picodollars
    assert (row.outcome, [each.reason for each in row.attempts]) == (outcome, ["empty"])
    assert row.charged_picodollars == row.attempts[0].charged_picodollars > 0


@pytest.mark.parametrize(
    ("message", "outcome"),
    [(CLIENT_GONE, Outcome.CLIENT_GONE), ("", Outcome.STOPPED)],
    ids=["left", "stopped"],
)
async def test_whoever_ends_a_request_while_its_beginning_is_held_back_ends_it_once(
    message: str, outcome: Outcome, tmp_path: Path
) -> None:
    async with a_stage(tmp_path, a_policy()) as stage:
        asking_it = asyncio.ensure_future(asked(stage, patient(), stalling(PING)))
        while not stage.upstream.answers or stage.upstream.answers[0].pieces:
            await asyncio.sleep(0)
        asking_it.cancel(*([message] if message else []))
        with pytest.raises(asyncio.CancelledError):
            await asking_it
        (row,) = await stage.rows()
        assert await stage.held() == 0
        assert stage.upstream.answers[0].is_aborted
    assert (row.outcome, len(row.attempts)) == (outcome, 1)
    assert row.charged_picodollars > 0


async def test_a_hold_covers_what_failed_tries_have_cost(tmp_path: Path) -> None:
    """Each try that may be billed is held on top; a limit that has no room for one more ends it."""
    async with a_stage(tmp_path, a_policy()) as stage:
        await asked(stage, patient(2), lambda: sse_reply([]), lambda: sse_reply([]), good)
        (row,) = await stage.rows()
        assert stage.ledger.calls == ["reserve", "top_up", "top_up", "settle"]
        assert row.overrun_picodollars == 0
        assert row.charged_picodollars == sum(each.charged_picodollars for each in row.attempts)
