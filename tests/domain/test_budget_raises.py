"""A raised limit is a pure function of policy and time."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.domain.budget import Budget, Raise, Unit, touches
from farebox.domain.policy import Piece, build_policy, limit_of, plan_changes, raise_name
from tests.support.builders import NOON, a_budget, a_resource, a_scope

HOUR = timedelta(hours=1)
PER_KEY = a_budget(tokens=10, scope=a_scope(key="*"))


def raised(limit: int, *, hours: int = 1, bucket: str | None = None) -> Raise:
    return Raise(limit, NOON + hours * HOUR, "release week", bucket)


def with_raises(*raises: Raise) -> Budget:
    return a_budget(tokens=10, scope=PER_KEY.scope, raises=raises)


def test_a_budget_without_raises_is_in_force_as_it_is() -> None:
    assert PER_KEY.in_force("platform/alice", NOON) is PER_KEY


@pytest.mark.parametrize(
    ("moment", "limit"),
    [(NOON, 20), (NOON + HOUR - timedelta.resolution, 20), (NOON + HOUR, 10)],
)
def test_a_raise_counts_up_to_its_end_and_not_at_it(moment: datetime, limit: int) -> None:
    assert with_raises(raised(20)).in_force("platform/alice", moment) == a_budget(
        tokens=limit, scope=PER_KEY.scope
    )


def test_a_raise_of_one_bucket_leaves_the_others_alone() -> None:
    budget = with_raises(raised(20, bucket="platform/alice"))
    limits = {bucket: budget.in_force(bucket, NOON).limit for bucket in ("platform/alice", "platform/bob")}
    assert limits == {"platform/alice": 20, "platform/bob": 10}


def test_the_highest_raise_counts_and_a_lower_one_never_lowers() -> None:
    budget = with_raises(raised(20, hours=5), raised(30), raised(9, bucket="platform/alice"))
    assert budget.raise_at("platform/alice", NOON) == raised(30)
    assert budget.raise_at("platform/alice", NOON + HOUR) == raised(20, hours=5)
    assert with_raises(raised(10), raised(9)).raise_at("platform/alice", NOON) is None


def test_what_a_request_touches_has_the_limit_of_its_moment() -> None:
    budget = with_raises(raised(20))
    subject = {"key": "platform/alice"}
    limits = [
        (touch.budget.limit, touch.budget.raises)
        for at in (NOON, NOON + HOUR)
        for touch in touches([budget], subject, at)
    ]
    assert limits == [(20, ()), (10, ())]


RAISES = st.builds(
    raised, st.integers(0, 30), hours=st.integers(-3, 3), bucket=st.sampled_from([None, "a", "b"])
)


@given(st.lists(RAISES), st.integers(-4, 4), st.sampled_from(["a", "b", "c"]))
def test_the_limit_in_force_is_the_largest_that_counts(raises: list[Raise], hours: int, bucket: str) -> None:
    moment = NOON + hours * HOUR
    counting = [each.limit for each in raises if moment < each.until and each.bucket in (None, bucket)]
    assert with_raises(*raises).in_force(bucket, moment).limit == max([10, *counting])


def a_raise_document(**fields: object) -> dict[str, object]:
    return {
        "budget": "b",
        "usd": "20",
        "until": "2026-11-23T13:00:00Z",
        "reason": "release week",
        **fields,
    }


BUDGET = {"name": "b", "usd": "10", "period": "day"}


def built(*raises: dict[str, object], budget: dict[str, object] | None = None) -> Budget:
    pieces = [("budget", "b", budget or BUDGET), *(("raise", f"r{n}", each) for n, each in enumerate(raises))]
    (only,) = build_policy(1, pieces).budgets
    return only


def test_stored_raises_belong_to_their_budget() -> None:
    budget = built(
        a_raise_document(), a_raise_document(budget="other"), a_raise_document(bucket="x", usd="5")
    )
    assert budget.raises == (
        Raise(20 * 10**12, NOON + HOUR, "release week"),
        Raise(5 * 10**12, NOON + HOUR, "release week", "x"),
    )


def test_a_raise_in_another_unit_than_its_budget_has_by_now_counts_for_nothing() -> None:
    assert built(a_raise_document(), budget={"name": "b", "tokens": 10, "period": "day"}).raises == ()


def test_limits_are_read_in_their_unit() -> None:
    assert limit_of({"usd": "0.5"}) == (Unit.USD, 500_000_000_000)
    assert limit_of({"tokens": 7}) == (Unit.TOKENS, 7)


def test_a_pruned_budget_takes_its_raises_along() -> None:
    stored = [
        a_resource("budget", "gone"),
        a_resource("budget", "kept", origin="admin"),
        a_resource("raise", "gone", document=a_raise_document(budget="gone"), origin="admin"),
        a_resource("raise", "gone/x", document=a_raise_document(budget="gone", bucket="x"), origin="admin"),
        a_resource("raise", "kept", document=a_raise_document(budget="kept"), origin="admin"),
    ]
    assert plan_changes(stored, [], prune=True).deletes == (
        ("budget", "gone"),
        ("raise", "gone"),
        ("raise", "gone/x"),
    )
    wanted = [Piece("budget", "gone", dict(stored[0].document))]
    assert plan_changes(stored, wanted, prune=True).deletes == ()


def test_a_raise_is_named_after_its_budget_and_bucket() -> None:
    assert (raise_name("b", None), raise_name("b", "platform/alice")) == ("b", "b/platform/alice")
