"""How much one request could touch is never told too low."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from farebox.adapters.aws.width import MAX_TOUCHES, most_touched, refuse_too_wide
from farebox.domain.budget import Budget, Scope, touches
from farebox.domain.budget.brake import Brake
from farebox.domain.budget.rate_limit import LimitUnit, RateLimit
from farebox.domain.config import Policy
from farebox.domain.errors import ConfigInvalid
from tests.support.builders import NOON, a_budget, a_scope

patterns = st.lists(st.sampled_from(["a", "b", "c", "*", "a*", "[ab]"]), min_size=1, max_size=2).map(tuple)
scopes = st.dictionaries(st.sampled_from(["workspace", "user", "model"]), patterns, max_size=3).map(
    lambda terms: Scope(tuple(terms.items()))
)
subjects = st.fixed_dictionaries(
    {dimension: st.sampled_from(["a", "b", "c", "ab"]) for dimension in ("workspace", "user", "model")}
)


@given(st.lists(scopes, max_size=12), subjects)
def test_no_request_touches_more_than_the_bound(found: list[Scope], subject: dict[str, str]) -> None:
    budgets = [a_budget(name=f"b{number}", scope=scope) for number, scope in enumerate(found)]
    assert len(touches(budgets, subject, NOON)) <= most_touched(found)


def test_scopes_of_different_values_are_not_added_up() -> None:
    found = [a_scope(workspace=f"w{number}") for number in range(500)]
    found += [a_scope(user=f"u{number}", model="*") for number in range(500)]
    found += [a_scope(key="*"), a_scope()]
    assert most_touched(found) == 4


def a_policy(**sections: tuple[object, ...]) -> Policy:
    empty = Policy(version=1, providers=(), workspaces={}, configs={}, budgets=())
    return replace(empty, **sections)


def budgets(count: int) -> tuple[Budget, ...]:
    return tuple(a_budget(name=f"b{number}") for number in range(count))


def limits(count: int, scopes: int) -> tuple[RateLimit, ...]:
    """Give limits of so many scopes, all of which cover a request from a workspace 'a'."""
    wanted = [a_scope(workspace=("a", f"w{number}")) for number in range(scopes)]
    return tuple(
        RateLimit(f"l{number}", wanted[number % scopes], LimitUnit.REQUESTS, 9, "minute")
        for number in range(count)
    )


def test_more_than_a_transaction_takes_is_refused() -> None:
    brake = Brake("b", a_scope(), session_picodollars=1, agents_per_session=1)
    refuse_too_wide(a_policy(budgets=budgets(MAX_TOUCHES - 1), brakes=(brake,)))
    with pytest.raises(ConfigInvalid, match="budgets: one request could touch 91 of them; at most 90"):
        refuse_too_wide(a_policy(budgets=budgets(MAX_TOUCHES), brakes=(brake,)))


def test_limits_of_more_scopes_than_a_transaction_takes_are_refused() -> None:
    brake = Brake("b", a_scope(), agents_per_session=1)
    refuse_too_wide(a_policy(rate_limits=limits(500, MAX_TOUCHES - 1), brakes=(brake,)))
    with pytest.raises(ConfigInvalid, match="rate_limits: one request could touch 91 of them"):
        refuse_too_wide(a_policy(rate_limits=limits(500, MAX_TOUCHES), brakes=(brake,)))
