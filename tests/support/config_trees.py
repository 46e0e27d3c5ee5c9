"""Configs for tests: trees of any shape, and how each would be written as Portkey's JSON."""

from __future__ import annotations

from collections.abc import Callable
from math import gcd

from hypothesis import strategies as st
from msgspec.structs import replace

from farebox.domain.routing.query import Query, read_path
from farebox.domain.routing.query.terms import All, Any, Not, Path, PatternTest, Test
from farebox.domain.routing.tree import (
    BreakerRule,
    CacheRule,
    Condition,
    Conditional,
    Fallback,
    Leaf,
    LoadBalance,
    Node,
    Params,
    Retry,
    Sticky,
)
from tests.support.queries import queries

Json = dict[str, object]

statuses = st.frozensets(st.integers(100, 599), max_size=4)
words = st.text("abcdefgh", min_size=1, max_size=6)
scalars = st.none() | st.booleans() | st.integers(-5, 5) | words
params = st.dictionaries(words.map("x_".__add__), scalars, max_size=3)

leaves = st.builds(
    Leaf,
    path=st.just(""),
    provider=st.none() | words.map("@".__add__) | words,
    model=st.none() | words | words.map("@a/".__add__),
    retry=st.builds(Retry, st.integers(0, 5), statuses, st.booleans()),
    timeout_ms=st.none() | st.integers(1, 1_800_000),
    cache=st.none()
    | st.builds(
        CacheRule, st.sampled_from(["simple", "semantic"]), st.none() | st.integers(1, 99), st.booleans()
    ),
    params=st.builds(Params, params, params, st.lists(words, max_size=2).map(tuple)),
    forward_headers=st.lists(words, max_size=2).map(tuple),
    breaker=st.none()
    | st.builds(
        BreakerRule,
        st.integers(1, 9),
        st.none() | st.integers(1, 100),
        st.integers(1, 9),
        st.integers(1_000, 99_999),
        st.none() | statuses,
    ),
)


def _with_host(leaf: Leaf, host: str | None) -> Leaf:
    return leaf if leaf.provider is None else replace(leaf, custom_host=host)


def _branches(nodes: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    children = st.lists(nodes, min_size=1, max_size=3).map(tuple)
    return st.one_of(
        st.builds(Fallback, st.just(""), children, st.none() | statuses),
        children.flatmap(_balances),
        children.flatmap(_conditionals),
    )


def _balances(children: tuple[Node, ...]) -> st.SearchStrategy[Node]:
    weights = st.lists(st.integers(0, 9), min_size=len(children), max_size=len(children))
    fields = st.lists(words.map("metadata.".__add__).map(read_path), max_size=2).map(tuple)
    return st.builds(
        LoadBalance,
        st.just(""),
        st.just(children),
        weights.filter(any).map(tuple),
        st.none() | st.builds(Sticky, fields, st.integers(1, 999)),
    )


def _conditionals(children: tuple[Node, ...]) -> st.SearchStrategy[Node]:
    index = st.integers(0, len(children) - 1)
    conditions = st.lists(st.builds(Condition, queries, index), min_size=1, max_size=2).map(tuple)
    return st.builds(Conditional, st.just(""), st.just(children), conditions, st.none() | index)


hosts = st.sampled_from([None, "https://models.example.com/v1", "http://10.1.2.3:8080"])
trees: st.SearchStrategy[Node] = st.recursive(st.builds(_with_host, leaves, hosts), _branches, max_leaves=8)


def placed(node: Node, path: str = "config") -> Node:
    """Give a tree with the paths, names and smallest weights that a reader would give it."""
    if isinstance(node, Leaf):
        return replace(node, path=path)
    children = tuple(placed(child, f"{path}.targets[{index}]") for index, child in enumerate(node.children))
    if isinstance(node, Conditional):
        children = tuple(
            replace(child, name=f"t{index}") if isinstance(child, Leaf) else child
            for index, child in enumerate(children)
        )
    if isinstance(node, LoadBalance):
        weights = tuple(weight // gcd(*node.weights) for weight in node.weights)
        return replace(node, path=path, children=children, weights=weights)
    return replace(node, path=path, children=children)


def written(node: Node) -> Json:
    """Write a tree as a config, every setting in the target itself."""
    match node:
        case Leaf():
            return _written_leaf(node)
        case Fallback():
            strategy: Json = {"mode": "fallback"}
            if node.statuses is not None:
                strategy["on_status_codes"] = sorted(node.statuses)
            return {"strategy": strategy, "targets": [written(child) for child in node.children]}
        case LoadBalance():
            strategy = {"mode": "loadbalance"}
            if node.sticky is not None:
                strategy["sticky"] = {
                    "enabled": True,
                    "hash_fields": [written_path(path) for path in node.sticky.fields],
                    "ttl": node.sticky.ttl_s,
                }
            pairs = zip(node.children, node.weights, strict=True)
            return {
                "strategy": strategy,
                "targets": [{**written(child), "weight": weight} for child, weight in pairs],
            }
        case Conditional():
            conditions: list[Json] = [
                {"query": written_query(condition.query), "then": f"t{condition.child}"}
                for condition in node.conditions
            ]
            strategy = {"mode": "conditional", "conditions": conditions}
            if node.default is not None:
                strategy["default"] = f"t{node.default}"
            targets = [{**written(child), "name": f"t{index}"} for index, child in enumerate(node.children)]
            return {"strategy": strategy, "targets": targets}


def written_query(query: Query) -> Json:
    """Write a query as the JSON that it would be read from."""
    match query:
        case All(parts):
            return {"$and": [written_query(part) for part in parts]} if parts else {}
        case Any(parts):
            return {"$or": [written_query(part) for part in parts]}
        case Not(part):
            return {"$not": written_query(part)}
        case PatternTest(path, pattern):
            options = {"$options": "i"} if pattern.ignores_case else {}
            return {written_path(path): {"$regex": pattern.source, **options}}
        case Test(path, operator, operand):
            value = list(operand) if isinstance(operand, tuple) else operand
            return {written_path(path): {operator: value}}


def written_path(path: Path) -> str:
    """Write where a value is found."""
    text = path.area
    for step in path.steps:
        text += f"[{step}]" if isinstance(step, int) else f".{step}"
    return text


def _written_leaf(leaf: Leaf) -> Json:
    overrides = {**leaf.params.override, **({"model": leaf.model} if leaf.model else {})}
    document: Json = {
        "provider": leaf.provider,
        "retry": {
            "attempts": leaf.retry.attempts,
            "on_status_codes": sorted(leaf.retry.statuses),
            "use_retry_after_headers": leaf.retry.heeds_retry_after,
        },
        "request_timeout": leaf.timeout_ms,
        "default_params": dict(leaf.params.default),
        "override_params": overrides,
        "drop_params": list(leaf.params.drop),
        "forward_headers": list(leaf.forward_headers),
        "custom_host": leaf.custom_host,
    }
    if leaf.cache is not None:
        rule = leaf.cache
        document["cache"] = {
            "mode": rule.mode,
            "max_age": rule.max_age_s,
            "across_workspaces": rule.is_shared,
        }
    if leaf.breaker is not None:
        document["cb_config"] = _written_breaker(leaf.breaker)
    return document


def _written_breaker(rule: BreakerRule) -> Json:
    return {
        "failure_threshold": rule.failure_threshold,
        "failure_threshold_percentage": rule.failure_threshold_percent,
        "minimum_requests": rule.minimum_requests,
        "cooldown_interval": rule.cooldown_ms,
        "failure_status_codes": None if rule.failure_statuses is None else sorted(rule.failure_statuses),
    }


SETTINGS: dict[str, Callable[[Leaf], object]] = {
    "retry": lambda leaf: leaf.retry,
    "request_timeout": lambda leaf: leaf.timeout_ms,
    "cache": lambda leaf: leaf.cache,
    "cb_config": lambda leaf: leaf.breaker,
    "forward_headers": lambda leaf: leaf.forward_headers,
}
"""The settings of which the nearest wins whole."""
