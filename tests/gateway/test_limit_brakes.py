"""Runaway brakes through the whole gateway: what stops a session or an agent, and how it goes on."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from farebox.domain.record import Outcome
from farebox.ports import Resource
from tests.gateway.stage import Stage, Told, a_file, a_stage, asking
from tests.support.upstream import sse_message, usage

HOUR = timedelta(hours=1)
# With claude-opus-5-5 at 4 and 20 USD per million tokens: 0.25 USD an answer.
QUARTER = usage(input_tokens=62_500, output_tokens=0)


def braked(**caps: object) -> dict[str, object]:
    return a_file(brakes=[{"name": "runaway", **caps}], contact="#claude-help")


async def ask(stage: Stage, session: str | None = "s-1", agent: str | None = None) -> Told:
    headers = {"x_claude_code_session_id": session, "x_claude_code_agent_id": agent}
    return await stage.ask(asking(), **{name: value for name, value in headers.items() if value is not None})


async def lift(stage: Stage, session: str, until: str) -> None:
    document = {"session": session, "until": until, "reason": "wanted"}
    version, _ = await stage.store.policies.resources()
    resource = Resource("brake_lift", session, document, 0, "admin", stage.clock.now())
    await stage.store.policies.write(upserts=[resource], deletes=[], expected_version=version, actor="test")


def of_a_quarter(stage: Stage) -> None:
    stage.upstream.script = lambda _: sse_message(usage=QUARTER)


async def cost_of_one(stage: Stage) -> int:
    return (await stage.rows())[-1].charged_picodollars


async def test_a_session_that_has_spent_its_dollars_is_stopped_and_others_are_not(tmp_path: Path) -> None:
    async with a_stage(tmp_path, braked(session_usd="0.3")) as stage:
        of_a_quarter(stage)
        assert (await ask(stage)).status == 200
        spent = await cost_of_one(stage)
        assert 2 * 10**11 < spent < 3 * 10**11
        stage.upstream.script = lambda _: sse_message(usage=usage(input_tokens=10, output_tokens=5_000))
        assert (await ask(stage)).status == 200
        told = await ask(stage)
        assert (told.status, told.error[1], told.header("x-should-retry")) == (402, "billing_error", "false")
        assert told.error[2].startswith("The runaway brake 'runaway' stopped this session: $0.")
        assert told.error[2].endswith(
            " of $0.30 spent (session_usd). If the work is wanted, ask #claude-help to lift it: "
            "farebox brakes lift s-1 --for 2h --reason '...'"
        )
        refused = (await stage.rows())[-1]
        assert (refused.outcome, refused.error_type) == (Outcome.REFUSED, "BrakeSpent")
        assert (await ask(stage, "s-2")).status == 200
        assert (await ask(stage, None)).status == 200


async def test_an_agent_that_has_spent_its_dollars_is_stopped_and_its_session_goes_on(tmp_path: Path) -> None:
    async with a_stage(tmp_path, braked(agent_usd="0.2")) as stage:
        of_a_quarter(stage)
        assert (await ask(stage, agent="a-1")).status == 200
        told = await ask(stage, agent="a-1")
        assert told.status == 402
        assert "of $0.20 spent (agent_usd)" in told.error[2]
        assert "farebox brakes lift s-1 " in told.error[2]
        assert (await ask(stage, agent="a-2")).status == 200
        assert [(await ask(stage)).status for _ in range(3)] == [200, 200, 200]


async def test_a_session_that_asks_too_fast_is_stopped_without_a_retry(tmp_path: Path) -> None:
    async with a_stage(tmp_path, braked(session_requests_per_minute=2)) as stage:
        assert [(await ask(stage)).status for _ in range(2)] == [200, 200]
        told = await ask(stage)
        assert told.error == (
            429,
            "rate_limit_error",
            "The runaway brake 'runaway' stopped this session: 2 of 2 requests a minute "
            "(session_requests_per_minute). If the work is wanted, ask #claude-help to lift it: "
            "farebox brakes lift s-1 --for 2h --reason '...'",
        )
        assert told.header("x-should-retry") == "false"
        assert (await ask(stage, "s-2")).status == 200


async def test_a_session_has_so_many_agents_and_no_more(tmp_path: Path) -> None:
    async with a_stage(tmp_path, braked(agents_per_session=2)) as stage:
        assert [(await ask(stage, agent=name)).status for name in ("a", "b", "a", "b")] == [200] * 4
        told = await ask(stage, agent="c")
        assert (told.status, told.header("x-should-retry")) == (429, "false")
        assert "stopped this session: 2 of 2 agents in a session (agents_per_session)." in told.error[2]
        assert [(await ask(stage, agent=name)).status for name in (None, "a")] == [200, 200]
        assert (await ask(stage, "s-2", agent="c")).status == 200
        stage.clock.advance(timedelta(days=7))
        assert (await ask(stage, agent="c")).status == 200


@pytest.mark.parametrize(
    "caps",
    [
        {"session_usd": 0},
        {"agent_usd": 0},
        {"session_requests_per_minute": 0},
        {"agents_per_session": 0},
    ],
)
async def test_a_lift_lets_one_session_go_on_until_it_is_over(
    tmp_path: Path, caps: dict[str, object]
) -> None:
    async with a_stage(tmp_path, braked(**caps)) as stage:
        stopped = 402 if "usd" in next(iter(caps)) else 429
        assert (await ask(stage, agent="a")).status == stopped
        await lift(stage, "s-1", "2026-11-23T14:00:00Z")
        assert (await ask(stage, agent="a")).status == 200
        assert (await ask(stage, "s-2", agent="a")).status == stopped
        stage.clock.advance(2 * HOUR)
        assert (await ask(stage, agent="a")).status == stopped


async def test_what_a_lifted_session_spends_counts(tmp_path: Path) -> None:
    async with a_stage(tmp_path, braked(session_usd="0.3")) as stage:
        of_a_quarter(stage)
        await lift(stage, "s-1", "2026-11-23T14:00:00Z")
        assert [(await ask(stage)).status for _ in range(3)] == [200, 200, 200]
        stage.clock.advance(2 * HOUR)
        told = await ask(stage)
        assert told.status == 402
        assert "$0.75 of $0.30 spent" in told.error[2]


async def test_a_brake_covers_whom_its_scope_covers(tmp_path: Path) -> None:
    brake = {"name": "b", "scope": {"user": "bob"}, "session_requests_per_minute": 0}
    keys = [{"name": name, "user": name} for name in ("alice", "bob")]
    async with a_stage(tmp_path, a_file(brakes=[brake], keys=keys)) as stage:
        session = {"x_claude_code_session_id": "s"}
        assert (await stage.ask(asking(), key="alice", **session)).status == 200
        assert (await stage.ask(asking(), key="bob", **session)).status == 429


async def test_a_session_with_an_odd_name_can_be_pasted_into_a_shell(tmp_path: Path) -> None:
    async with a_stage(tmp_path, braked(agent_usd=0)) as stage:
        told = await ask(stage, "a|b; echo 1", agent="x|y")
        assert "farebox brakes lift 'a|b; echo 1' --for 2h" in told.error[2]
