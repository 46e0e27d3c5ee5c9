"""A brake is budgets and rate limits on every session, until it is lifted for one."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from farebox.domain.budget import Budget, OnExhausted, Unit
from farebox.domain.budget.brake import Brake, brake_and_cap, session_of
from farebox.domain.budget.rate_limit import LimitUnit, RateLimit
from farebox.domain.config import Policy
from farebox.domain.policy import build_policy
from tests.support.builders import NOON, a_budget, a_scope

USD = 10**12
BRAKE = Brake(
    "runaway",
    a_scope(workspace="platform"),
    session_picodollars=20 * USD,
    agent_picodollars=5 * USD,
    session_requests_per_minute=60,
    agents_per_session=25,
    contact="#help",
)
OF_SESSION = a_scope(session="*", workspace="platform")


def budgets(**changes: object) -> list[Budget]:
    usual = Budget(
        "brake/runaway/session_usd", OF_SESSION, Unit.USD, 20 * USD, "total", alerts=(100,), contact="#help"
    )
    agent = replace(
        usual,
        name="brake/runaway/agent_usd",
        scope=a_scope(session="*", agent="*", workspace="platform"),
        limit=5 * USD,
    )
    return [replace(each, **changes) for each in (usual, agent)]


LIMITS = [
    RateLimit(
        "brake/runaway/session_requests_per_minute",
        OF_SESSION,
        LimitUnit.REQUESTS,
        60,
        "minute",
        contact="#help",
    ),
    RateLimit(
        "brake/runaway/agents_per_session",
        a_scope(session="*", agent="?*", workspace="platform"),
        LimitUnit.AGENTS,
        25,
        contact="#help",
    ),
]


def a_policy(**changes: object) -> Policy:
    policy = Policy(1, (), {}, {}, (a_budget(name="own"),), brakes=(BRAKE,))
    return replace(policy, **changes)


def test_a_brake_is_budgets_on_sessions_and_agents_and_limits_on_pace_and_number() -> None:
    assert list(BRAKE.budgets()) == budgets()
    assert list(BRAKE.rate_limits()) == LIMITS


def test_caps_that_are_not_given_are_not_in_force() -> None:
    bare = Brake("b", a_scope())
    assert (list(bare.budgets()), list(bare.rate_limits())) == ([], [])


def test_a_brake_counts_for_requests_of_a_session_only() -> None:
    policy = a_policy()
    own = a_budget(name="own")
    assert policy.budgets_of("s", NOON) == (own, *budgets())
    assert policy.budgets_of(None, NOON) == (own,)
    assert policy.rate_limits_of("s", NOON) == tuple(LIMITS)
    assert policy.rate_limits_of(None, NOON) == ()


def test_a_lifted_brake_goes_on_counting_and_stops_nothing_until_the_lift_is_over() -> None:
    until = NOON + timedelta(hours=2)
    policy = a_policy(lifts={"s": until})
    assert policy.budgets_of("s", NOON)[1:] == tuple(budgets(on_exhausted=OnExhausted.ALERT))
    assert policy.rate_limits_of("s", NOON) == ()
    assert policy.budgets_of("s", until)[1:] == tuple(budgets())
    assert policy.rate_limits_of("s", until) == tuple(LIMITS)
    assert policy.rate_limits_of("other", NOON) == tuple(LIMITS)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("brake/runaway/session_usd", ("runaway", "session_usd")),
        ("brake/a b:c/agent_usd", ("a b:c", "agent_usd")),
        ("brake", None),
        ("brake-x", None),
        ("platform-month", None),
    ],
)
def test_a_brakes_budget_is_told_from_an_administrators_own(name: str, told: tuple[str, str] | None) -> None:
    assert brake_and_cap(name) == told


@pytest.mark.parametrize("session", ["s", "a|b", "100%", "%7C"])
def test_the_session_of_a_bucket_is_found_again(session: str) -> None:
    subject = {"session": session, "agent": "a|1", "workspace": "platform"}
    for budget in BRAKE.budgets():
        bucket = budget.scope.bucket(subject)
        assert bucket is not None
        assert session_of(budget.scope, bucket) == session


def test_stored_brakes_rate_limits_and_lifts_are_read() -> None:
    brake = {
        "name": "runaway",
        "scope": {"workspace": ["platform"]},
        "session_usd": "20",
        "agent_usd": "5",
        "session_requests_per_minute": 60,
        "agents_per_session": 25,
    }
    tokens = {"name": "t", "scope": {"key": ["*"]}, "tokens": 5, "per": "hour", "count": ["output"]}
    policy = build_policy(
        3,
        [
            ("setting", "contact", {"value": "#help"}),
            ("rate_limit", "t", tokens),
            ("rate_limit", "c", {"name": "c", "concurrent": 0}),
            ("brake", "runaway", brake),
            ("brake_lift", "s", {"session": "s", "until": "2026-11-23T14:00:00Z", "reason": "wanted"}),
        ],
    )
    assert policy.brakes == (BRAKE,)
    assert policy.lifts == {"s": NOON + timedelta(hours=2)}
    assert policy.rate_limits == (
        RateLimit("t", a_scope(key="*"), LimitUnit.TOKENS, 5, "hour", ("output",), "#help"),
        RateLimit("c", a_scope(), LimitUnit.CONCURRENT, 0, contact="#help"),
    )
