"""How many budgets one request could touch is never told too low."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.adapters.aws.width import MAX_TOUCHES, most_touched, refuse_too_wide
from farebox.domain.budget import Scope, touches
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
    assert len(touches(budgets, subject, NOON)) <= most_touched(budgets)


def test_budgets_of_different_values_are_not_added_up() -> None:
    budgets = [a_budget(scope=a_scope(workspace=f"w{number}")) for number in range(500)]
    budgets += [a_budget(scope=a_scope(user=f"u{number}", model="*")) for number in range(500)]
    budgets += [a_budget(scope=a_scope(key="*")), a_budget()]
    assert most_touched(budgets) == 4


def test_more_than_a_transaction_takes_is_refused() -> None:
    refuse_too_wide(a_budget(name=f"b{number}") for number in range(MAX_TOUCHES))
    with pytest.raises(ConfigInvalid, match="could touch 91 of them; at most 90"):
        refuse_too_wide(a_budget(name=f"b{number}") for number in range(MAX_TOUCHES + 1))
