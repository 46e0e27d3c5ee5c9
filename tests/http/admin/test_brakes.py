"""Brakes over the admin plane: what they stopped, and lifting them for a session."""

from datetime import timedelta

import pytest

from farebox.domain.budget import Touch
from tests.http.admin.plane import Plane
from tests.support.builders import NOON, a_record

BRAKE = {
    "name": "runaway",
    "scope": {"workspace": "platform"},
    "session_usd": 20,
    "agent_usd": "0.5",
    "agents_per_session": 25,
}
ROW = {
    "name": "runaway",
    "scope": "workspace=platform",
    "session_usd": "20",
    "agent_usd": "0.5",
    "session_requests_per_minute": None,
    "agents_per_session": 25,
    "include_subscription": False,
}
LIFT = {"session": "s/1", "until": "2026-11-23T14:00:00Z", "reason": "a long migration"}


async def spend(plane: Plane, session: str, agent: str, picodollars: int) -> None:
    """Book a request on every cap of every brake."""
    subject = {"session": session, "agent": agent, "workspace": "platform"}
    booked = []
    for brake in (await plane.store.policies.current()).brakes:
        for budget in brake.budgets():
            bucket = budget.scope.bucket(subject)
            assert bucket is not None
            booked.append(Touch(budget, bucket, budget.window_at(NOON), picodollars))
    await plane.store.ledger.settle(session, a_record(session, session_id=session), booked)


async def test_without_brakes_there_is_nothing_to_list(plane: Plane) -> None:
    assert await plane.ask("GET", "/v1/brakes") == {"rows": [], "next": None, "stopped": [], "lifts": []}


async def test_a_brake_is_listed_with_what_it_stopped(plane: Plane) -> None:
    await plane.ask("POST", "/v1/policies/brakes", 201, json=BRAKE)
    await spend(plane, "s|1", "a-1", 6 * 10**11)
    await spend(plane, "s-2", "a-1", 4 * 10**11)
    assert await plane.ask("GET", "/v1/brakes") == {
        "rows": [ROW],
        "next": None,
        "stopped": [
            {
                "brake": "runaway",
                "cap": "agent_usd",
                "session": "s|1",
                "bucket": "s|1|a-1",
                "settled_usd": "0.6",
                "limit_usd": "0.5",
            }
        ],
        "lifts": [],
    }


async def test_a_lift_is_stored_listed_audited_and_over_when_its_time_is(plane: Plane) -> None:
    assert await plane.ask("POST", "/v1/brakes/lifts", 201, json={**LIFT, "until": "2h"}) == LIFT
    assert (await plane.store.policies.current()).lifts == {"s/1": NOON + timedelta(hours=2)}
    assert (await plane.ask("GET", "/v1/brakes"))["lifts"] == [LIFT]
    assert (await plane.ask("GET", "/v1/audit-logs"))["rows"][0] == {
        "at": "2026-11-23T12:00:00Z",
        "actor": "admin:root",
        "action": "create",
        "kind": "brake_lift",
        "name": "s/1",
        "before": None,
        "after": LIFT,
    }
    plane.clock.advance(timedelta(hours=2))
    assert (await plane.ask("GET", "/v1/brakes"))["lifts"] == []


async def test_a_lift_takes_the_place_of_an_earlier_one_and_clears_away_what_is_over(plane: Plane) -> None:
    for session in ("s/1", "s-2"):
        await plane.ask("POST", "/v1/brakes/lifts", 201, json={**LIFT, "session": session, "until": "2h"})
    plane.clock.advance(timedelta(hours=3))
    told = await plane.ask("POST", "/v1/brakes/lifts", 201, json={"session": "s/1", "reason": "again"})
    assert told["until"] == "2026-11-24T15:00:00Z"
    assert (await plane.store.policies.current()).lifts == {"s/1": NOON + timedelta(hours=27)}


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"until": "tomorrow"}, "until"),
        ({"until": "2026-11-23T12:00:00Z"}, "until"),
        ({"session": ""}, "session"),
        ({"reason": ""}, "reason"),
        ({"cap": "session_usd"}, "cap"),
    ],
)
async def test_a_lift_that_makes_no_sense_is_refused(
    plane: Plane, changes: dict[str, str], path: str
) -> None:
    _, told = await plane.refused("POST", "/v1/brakes/lifts", 400, json={**LIFT, **changes})
    assert told == path


async def test_an_apply_that_prunes_leaves_lifts_alone(plane: Plane) -> None:
    await plane.ask("POST", "/v1/brakes/lifts", 201, json=LIFT)
    await plane.ask("POST", "/v1/apply?prune=true", content=b"{}")
    assert (await plane.ask("GET", "/v1/brakes"))["lifts"] == [LIFT]
