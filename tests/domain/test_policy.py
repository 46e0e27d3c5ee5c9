"""The policy as pieces: what a snapshot holds, and what a document changes."""

import pytest

from farebox.domain.budget import Budget, OnExhausted, Scope, Unit
from farebox.domain.budget.rate_limit import LimitUnit, RateLimit
from farebox.domain.config import Policy, ProviderSpec, Workspace
from farebox.domain.errors import ConfigInvalid
from farebox.domain.policy import (
    BUILTIN_PROVIDERS,
    Action,
    Change,
    Changes,
    FieldChange,
    Piece,
    build_policy,
    plan_changes,
)
from farebox.domain.price import read_override
from farebox.domain.routing.saved import RoutingConfig


def test_nothing_stored_serves_the_callers_own_login_and_the_demo_model() -> None:
    assert build_policy(0, []) == Policy(
        version=0,
        providers=(
            ProviderSpec("anthropic", "anthropic", "caller", "https://api.anthropic.com"),
            ProviderSpec("demo", "demo"),
        ),
        workspaces={"default": Workspace("default")},
        configs={},
        budgets=(),
    )


def test_every_kind_of_piece_is_read() -> None:
    prices = {"multiplier": "0.9", "models": {"claude-x": {"input": "1", "output": "2"}}}
    policy = build_policy(
        7,
        [
            ("setting", "organisation", {"value": "acme"}),
            ("setting", "contact", {"value": "#claude-help"}),
            (
                "provider",
                "prod",
                {
                    "slug": "prod",
                    "type": "bedrock",
                    "credential": "aws",
                    "base_url": "https://bedrock.example.com",
                    "region": "eu-west-1",
                    "models": ["claude-*"],
                    "prices": prices,
                },
            ),
            ("config", "main", {"slug": "main", "config": {"provider": "@prod"}}),
            (
                "workspace",
                "platform",
                {
                    "slug": "platform",
                    "config": "main",
                    "providers": ["prod"],
                    "models": ["claude-*"],
                    "allow_config_override": False,
                },
            ),
            ("key", "platform/alice", {"name": "alice"}),
            ("budget", "all", {"name": "all", "usd": "12.5", "period": "month"}),
            ("rate_limit", "rpm", {"name": "rpm", "requests": 5, "per": "minute"}),
        ],
    )
    assert policy == Policy(
        version=7,
        providers=(
            ProviderSpec(
                "prod",
                "bedrock",
                "aws",
                "https://bedrock.example.com",
                ("claude-*",),
                "eu-west-1",
                read_override(prices, "prices"),
            ),
        ),
        workspaces={
            "default": Workspace("default"),
            "platform": Workspace("platform", "main", ("prod",), ("claude-*",), False),
        },
        configs={"main": RoutingConfig("main", {"provider": "@prod"})},
        budgets=(Budget("all", Scope(), Unit.USD, 12_500_000_000_000, "month", contact="#claude-help"),),
        organisation="acme",
        contact="#claude-help",
        rate_limits=(RateLimit("rpm", Scope(), LimitUnit.REQUESTS, 5, "minute", contact="#claude-help"),),
    )


def test_a_budget_with_every_field_is_read() -> None:
    document = {
        "name": "b",
        "scope": {"workspace": ["platform", "data-*"], "key": ["*"]},
        "tokens": 1_000,
        "count": ["input", "output"],
        "period": "week",
        "timezone": "Europe/Berlin",
        "week_starts": "sunday",
        "on_exhausted": "alert",
        "include_subscription": True,
        "alerts": [90],
        "contact": "bob",
    }
    (budget,) = build_policy(1, [("budget", "b", document)]).budgets
    assert budget == Budget(
        name="b",
        scope=Scope((("workspace", ("platform", "data-*")), ("key", ("*",)))),
        unit=Unit.TOKENS,
        limit=1_000,
        period="week",
        timezone="Europe/Berlin",
        week_starts="sunday",
        on_exhausted=OnExhausted.ALERT,
        include_subscription=True,
        count=("input", "output"),
        alerts=(90,),
        contact="bob",
    )


def test_a_stored_default_workspace_narrows_the_default_workspace() -> None:
    policy = build_policy(1, [("workspace", "default", {"slug": "default", "models": ["claude-h*"]})])
    assert policy.workspaces == {"default": Workspace("default", models=("claude-h*",))}


@pytest.mark.parametrize(
    ("kind", "document"),
    [
        ("provider", {"slug": "p", "credential": "aws"}),
        ("provider", {"slug": "p", "type": "demo", "credential": "caller", "models": "claude"}),
        ("provider", {"slug": "p", "type": "demo", "credential": "caller", "models": [1]}),
        ("budget", {"name": "b", "tokens": True, "period": "day"}),
        ("budget", {"name": "b", "tokens": "5", "period": "day"}),
        ("config", {"slug": "c", "config": "text"}),
        ("setting", {}),
    ],
)
def test_a_stored_document_that_cannot_be_read_is_refused(kind: str, document: dict[str, object]) -> None:
    with pytest.raises(ConfigInvalid):
        build_policy(1, [(kind, "x", document)])


def piece(kind: str, name: str, position: int = 0, origin: str = "apply", **fields: object) -> Piece:
    return Piece(kind, name, {"name": name, **fields}, position, origin)


def test_a_new_piece_is_created_with_each_of_its_fields() -> None:
    wanted = piece("budget", "b", usd="5")
    assert plan_changes([], [wanted], prune=True) == Changes(
        changes=(
            Change(
                "budget",
                "b",
                Action.CREATED,
                (FieldChange("name", None, "b"), FieldChange("usd", None, "5")),
            ),
        ),
        writes=(wanted,),
        deletes=(),
    )


def test_the_same_document_changes_nothing() -> None:
    stored = [piece("budget", "b", usd="5"), piece("provider", "p")]
    assert plan_changes(stored, stored, prune=True) == Changes(
        changes=(
            Change("budget", "b", Action.UNCHANGED),
            Change("provider", "p", Action.UNCHANGED),
        ),
        writes=(),
        deletes=(),
    )


def test_a_change_is_told_field_by_field_down_to_the_leaf() -> None:
    before = piece("budget", "b", scope={"workspace": ["a"], "key": ["*"]}, usd="5", contact="bob")
    after = piece("budget", "b", scope={"workspace": ["c"], "user": ["x"]}, usd="6")
    plan = plan_changes([before], [after], prune=False)
    assert plan.changes == (
        Change(
            "budget",
            "b",
            Action.CHANGED,
            (
                FieldChange("scope.workspace", ["a"], ["c"]),
                FieldChange("scope.key", ["*"], None),
                FieldChange("scope.user", None, ["x"]),
                FieldChange("usd", "5", "6"),
                FieldChange("contact", "bob", None),
            ),
        ),
    )
    assert plan.writes == (after,)


def test_what_the_document_does_not_mention_stays_without_prune() -> None:
    assert plan_changes([piece("config", "c")], [], prune=False) == Changes((), (), ())


def test_prune_removes_only_what_came_from_a_document() -> None:
    stored = [piece("config", "ours"), piece("config", "theirs", origin="admin")]
    assert plan_changes(stored, [], prune=True) == Changes(
        changes=(Change("config", "ours", Action.PRUNED),), writes=(), deletes=(("config", "ours"),)
    )


def test_a_piece_keeps_the_origin_it_was_first_stored_with() -> None:
    stored = piece("budget", "b", origin="admin", usd="1")
    plan = plan_changes([stored], [piece("budget", "b", usd="2")], prune=True)
    assert plan.writes == (piece("budget", "b", origin="admin", usd="2"),)


def test_another_order_of_providers_is_a_change() -> None:
    stored = [piece("provider", "a", 0), piece("provider", "b", 1)]
    plan = plan_changes(stored, [piece("provider", "b", 0), piece("provider", "a", 1)], prune=False)
    assert plan.changes == (
        Change("provider", "b", Action.CHANGED, (FieldChange("position", 1, 0),)),
        Change("provider", "a", Action.CHANGED, (FieldChange("position", 0, 1),)),
    )


def test_the_order_of_keys_means_nothing() -> None:
    plan = plan_changes([piece("key", "w/a", 0)], [piece("key", "w/a", 3)], prune=False)
    assert plan == Changes((Change("key", "w/a", Action.UNCHANGED),), (), ())


def test_providers_that_stay_move_behind_those_of_the_document_in_their_order() -> None:
    stored = [piece("provider", name, place) for place, name in enumerate(("a", "b", "c", "far"))]
    stored[3] = piece("provider", "far", 9)
    plan = plan_changes(stored, [piece("provider", "new", 0), piece("provider", "b", 1)], prune=False)
    places = {each.name: each.position for each in (*stored, *plan.writes)}
    assert places == {"new": 0, "b": 1, "a": 2, "c": 3, "far": 9}


def test_the_builtin_providers_go_once_one_is_stored() -> None:
    stored = ("provider", "d", {"slug": "d", "type": "demo", "credential": "caller"})
    assert build_policy(1, [stored]).providers == (ProviderSpec("d", "demo"),)
    assert BUILTIN_PROVIDERS[1] == ProviderSpec("demo", "demo")
