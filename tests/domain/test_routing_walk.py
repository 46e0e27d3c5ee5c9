"""Targets are tried in the order that the tree says, and no longer than it says."""

from collections.abc import Mapping, Set
from dataclasses import dataclass, field

import pytest

from farebox.domain.errors import PolicyRefused
from farebox.domain.routing.query import read_query
from farebox.domain.routing.tree import Condition, Conditional, Fallback, Leaf, LoadBalance, Node
from farebox.domain.routing.walk import LEFT_OUT, Course, falls_back, leaves, walk

A, B, C = (Leaf(f"config.targets[{index}]", name=name) for index, name in enumerate("abc"))


@dataclass
class Choices:
    """Fills `Chooser` with what a test has decided."""

    draws: Mapping[str, int] = field(default_factory=dict)
    matches: Mapping[str, int] = field(default_factory=dict)
    opened: Set[str] = frozenset()

    def draw(self, node: LoadBalance) -> int:
        return self.draws[node.path]

    def match(self, node: Conditional) -> int | None:
        return self.matches.get(node.path)

    def is_open(self, leaf: Leaf) -> bool:
        return leaf.path in self.opened


def tried(node: Node, statuses: Mapping[str, int], choices: Choices | None = None) -> tuple[list[Leaf], int]:
    """Give what is tried where each leaf ends as told, and the last status."""
    asked = []
    walking = walk(node, choices or Choices())
    try:
        leaf = next(walking)
        while True:
            asked.append(leaf)
            leaf = walking.send(statuses[str(leaf.name)])
    except StopIteration as end:
        return asked, end.value


@pytest.mark.parametrize(
    ("statuses", "order", "last"),
    [
        ({"a": 200, "b": 200, "c": 200}, [A], 200),
        ({"a": 500, "b": 200, "c": 200}, [A, B], 200),
        ({"a": 500, "b": 404, "c": 529}, [A, B, C], 529),
    ],
)
def test_a_fallback_moves_on_until_one_answers(
    statuses: Mapping[str, int], order: list[Leaf], last: int
) -> None:
    assert tried(Fallback("config", (A, B, C)), statuses) == (order, last)


def test_a_fallback_moves_on_at_the_statuses_it_names_alone() -> None:
    node = Fallback("config", (A, B), statuses=frozenset((429,)))
    assert tried(node, {"a": 500, "b": 200}) == ([A], 500)
    assert tried(node, {"a": 429, "b": 200}) == ([A, B], 200)


def test_a_node_within_a_fallback_counts_as_its_own_last_target_did() -> None:
    inner = LoadBalance("config.targets[0]", (A, B), (1, 1))
    choices = Choices(draws={"config.targets[0]": 1})
    assert tried(Fallback("config", (inner, C)), {"b": 503, "c": 200}, choices) == ([B, C], 200)


def test_what_a_breaker_leaves_out_is_passed_over_unless_nothing_else_is_left() -> None:
    node = Fallback("config", (A, B))
    statuses = {"a": 200, "b": 200}
    assert tried(node, statuses, Choices(opened={A.path})) == ([B], 200)
    assert tried(node, statuses, Choices(opened={A.path, B.path})) == ([A], 200)


def test_what_was_left_out_when_its_turn_came_is_passed_over_and_tried_only_where_nothing_is_left() -> None:
    inner = Fallback("config.targets[0]", (A,))
    statuses = {"a": LEFT_OUT, "b": 200, "c": 200}
    assert tried(Fallback("config", (inner, B)), statuses) == ([A, A, B], 200)
    asked, last = tried(Fallback("config", (A, C)), {"a": LEFT_OUT, "c": LEFT_OUT})
    assert (asked, last) == ([A, C, A, C], LEFT_OUT)


def test_a_walk_ends_where_no_condition_holds_later_on() -> None:
    nobody = Conditional("config.targets[1]", (C,), (Condition(read_query({"metadata.tier": "gold"}), 0),))
    course = Course(Fallback("config", (A, nobody)), Choices())
    assert course.leaf == A
    course.move(500)
    assert course.leaf is None
    course.move(500)
    assert course.leaf is None


def test_only_a_fallback_has_another_target() -> None:
    balance = LoadBalance("config", (A, B), (1, 1))
    assert [falls_back(node) for node in (A, balance)] == [False, False]
    assert falls_back(LoadBalance("config", (A, Fallback("config.targets[1]", (B, C))), (1, 1)))
    assert list(leaves(LoadBalance("config", (A, Fallback("x", (B, C))), (1, 1)))) == [A, B, C]


def test_a_condition_that_holds_decides_else_the_default_and_else_nothing() -> None:
    conditions = (Condition(read_query({"metadata.tier": "gold"}), 1),)
    node = Conditional("config", (A, B), conditions, default=0)
    statuses = {"a": 200, "b": 200}
    assert tried(node, statuses, Choices(matches={"config": 1})) == ([B], 200)
    assert tried(node, statuses) == ([A], 200)
    with pytest.raises(PolicyRefused, match="No condition of config holds"):
        tried(Conditional("config", (A, B), conditions), statuses)
