"""Every field of a config, what it is read as, and what is said where it cannot be."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import pytest

from farebox.domain.errors import ConfigInvalid
from farebox.domain.routing.query import read_path, read_query
from farebox.domain.routing.reading import config_tree, read_config
from farebox.domain.routing.tree import (
    RETRIED_STATUSES,
    BreakerRule,
    CacheRule,
    Condition,
    Conditional,
    Fallback,
    Leaf,
    LoadBalance,
    Params,
    Retry,
    Sticky,
)

Json = dict[str, object]


def errors(document: object) -> dict[str, str]:
    return {finding.path: finding.detail for finding in read_config(document).errors}


def warnings(document: object) -> dict[str, str]:
    reading = read_config(document)
    assert reading.tree is not None
    return {finding.path: finding.detail for finding in reading.findings}


def a_leaf(document: Mapping[str, object]) -> Leaf:
    tree = config_tree(document)
    assert isinstance(tree, Leaf)
    return tree


def test_an_empty_config_is_one_target_that_the_request_decides() -> None:
    assert config_tree({}) == Leaf("config")


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"provider": "@a"}, Leaf("config", provider="@a")),
        ({"provider": "anthropic"}, Leaf("config", provider="anthropic")),
        ({"virtual_key": "a"}, Leaf("config", provider="@a")),
        ({"virtual_key": "@a"}, Leaf("config", provider="@a")),
        ({"provider": "anthropic", "virtual_key": "a"}, Leaf("config", provider="@a")),
        ({"provider": "@a", "virtual_key": "a"}, Leaf("config", provider="@a")),
        ({"passthrough": True}, Leaf("config")),
        ({"name": "x", "weight": 3, "provider": "@a", "api_key": None}, Leaf("config", "@a", name="x")),
        ({"override_params": {"model": "@a/m"}}, Leaf("config", model="@a/m")),
        ({"request_timeout": 1500}, Leaf("config", timeout_ms=1500)),
        ({"request_timeout": 1500.0}, Leaf("config", timeout_ms=1500)),
        ({"request_timeout": Decimal("1500")}, Leaf("config", timeout_ms=1500)),
        (
            {"provider": "@a", "custom_host": "https://models.example.com/v1"},
            Leaf("config", "@a", custom_host="https://models.example.com/v1"),
        ),
        ({"forward_headers": ["X-Team", "a"]}, Leaf("config", forward_headers=("x-team", "a"))),
        ({"retry": None, "cache": None, "input_guardrails": []}, Leaf("config")),
    ],
)
def test_one_target_is_read(document: Json, expected: Leaf) -> None:
    assert config_tree(document) == expected


@pytest.mark.parametrize("spelling", ["use_retry_after_header", "use_retry_after_headers"])
def test_retry_after_is_read_in_both_spellings(spelling: str) -> None:
    for flag in (True, False):
        assert a_leaf({"retry": {"attempts": 2, spelling: flag}}).retry == Retry(2, RETRIED_STATUSES, flag)
    both = {"attempts": 2, "use_retry_after_header": True, "use_retry_after_headers": True}
    assert a_leaf({"retry": both}).retry == Retry(2)


def test_a_retry_names_the_statuses_that_are_tried_again() -> None:
    assert a_leaf({"retry": {"attempts": 5, "on_status_codes": [429, 408.0]}}).retry == Retry(
        5, frozenset((429, 408))
    )


@pytest.mark.parametrize(
    ("cache", "expected"),
    [
        ("simple", CacheRule()),
        ("semantic", CacheRule("semantic")),
        ({"mode": "simple"}, CacheRule()),
        ({"mode": "semantic", "max_age": 60}, CacheRule("semantic", 60)),
        ({"mode": "simple", "across_workspaces": True}, CacheRule(is_shared=True)),
    ],
)
def test_a_cache_is_a_word_or_an_object(cache: object, expected: CacheRule) -> None:
    assert a_leaf({"cache": cache}).cache == expected


def test_params_are_read_apart_from_the_model() -> None:
    leaf = a_leaf(
        {
            "default_params": {"temperature": 0.5},
            "override_params": {"model": "m", "top_k": 5},
            "drop_params": ["metadata.user_id", "tools[*].strict", "stop_sequences[0]"],
        }
    )
    assert leaf.model == "m"
    assert leaf.params == Params(
        {"temperature": 0.5}, {"top_k": 5}, ("metadata.user_id", "tools[*].strict", "stop_sequences[0]")
    )


def test_a_circuit_breaker_is_read_from_the_node_or_its_strategy() -> None:
    rule = {
        "failure_threshold": 3,
        "failure_threshold_percentage": 50,
        "cooldown_interval": 60_000,
        "minimum_requests": 10,
        "failure_status_codes": [500, 529],
    }
    expected = BreakerRule(3, 50, 10, 60_000, frozenset((500, 529)))
    assert a_leaf({"cb_config": rule}).breaker == expected
    in_strategy = {"strategy": {"mode": "single", "cb_config": rule}, "targets": [{"provider": "@a"}]}
    assert a_leaf(in_strategy).breaker == expected
    assert a_leaf({"cb_config": {"failure_threshold": 1}}).breaker == BreakerRule(1)


def test_every_strategy_is_read_with_its_own_fields() -> None:
    tree = config_tree(
        {
            "strategy": {"mode": "fallback", "on_status_codes": [429, 529]},
            "targets": [
                {
                    "strategy": {
                        "mode": "loadbalance",
                        "sticky": {"enabled": True, "hash_fields": ["metadata.team"], "ttl": 60},
                    },
                    "targets": [{"provider": "@a", "weight": 0.75}, {"provider": "@b", "weight": 0.25}],
                },
                {
                    "strategy": {
                        "mode": "conditional",
                        "conditions": [{"query": {"metadata.plan": {"$eq": "paid"}}, "then": "big"}],
                        "default": "small",
                    },
                    "targets": [{"name": "small", "provider": "@c"}, {"name": "big", "provider": "@d"}],
                },
            ],
        }
    )
    first, second = "config.targets[0]", "config.targets[1]"
    balance = LoadBalance(
        first,
        (Leaf(f"{first}.targets[0]", "@a"), Leaf(f"{first}.targets[1]", "@b")),
        (3, 1),
        Sticky((read_path("metadata.team"),), 60),
    )
    conditional = Conditional(
        second,
        (Leaf(f"{second}.targets[0]", "@c", name="small"), Leaf(f"{second}.targets[1]", "@d", name="big")),
        (Condition(read_query({"metadata.plan": "paid"}), 1),),
        0,
    )
    assert tree == Fallback("config", (balance, conditional), frozenset((429, 529)))


@pytest.mark.parametrize("strategy", [{}, {"strategy": {"mode": "single"}}, {"strategy": {}}])
def test_single_is_the_first_target(strategy: Json) -> None:
    document = {**strategy, "targets": [{"provider": "@a"}, {"provider": "@b"}]}
    assert config_tree(document) == Leaf("config.targets[0]", "@a")
    assert warnings(document) == {"config.targets": "are several, of which mode single asks the first alone"}


@pytest.mark.parametrize(
    ("weights", "proportions"),
    [
        ((None, None), (1, 1)),
        ((2, 4), (1, 2)),
        ((0, 1), (0, 1)),
        ((0.1, 0.2), (1, 2)),
        ((Decimal("0.7"), 0.3), (7, 3)),
        ((1e-12, 1), (1, 1_000_000)),
    ],
)
def test_weights_are_whole_numbers_in_proportion(weights: tuple[object, ...], proportions: object) -> None:
    targets = [{"provider": "@a", "weight": weight} for weight in weights]
    tree = config_tree({"strategy": {"mode": "loadbalance"}, "targets": targets})
    assert isinstance(tree, LoadBalance)
    assert tree.weights == proportions


def test_stickiness_may_be_switched_off_or_be_by_session() -> None:
    def sticky(value: Json) -> Sticky | None:
        strategy = {"mode": "loadbalance", "sticky": value}
        tree = config_tree({"strategy": strategy, "targets": [{"provider": "@a"}]})
        assert isinstance(tree, LoadBalance)
        return tree.sticky

    assert sticky({"enabled": False, "hash_fields": ["metadata.x"]}) is None
    assert sticky({"enabled": True}) == Sticky()


def test_a_target_takes_over_what_stands_above_it() -> None:
    above: Json = {
        "retry": {"attempts": 3},
        "cache": "simple",
        "request_timeout": 9,
        "forward_headers": ["x-a"],
        "cb_config": {"failure_threshold": 2},
        "override_params": {"model": "m", "top_k": 1, "top_p": 1},
        "default_params": {"temperature": 1, "speed": "fast"},
        "drop_params": ["metadata"],
        "strategy": {"mode": "fallback"},
    }
    own: Json = {
        "provider": "@b",
        "retry": {"attempts": 1, "on_status_codes": [500]},
        "cache": {"mode": "simple", "max_age": 9},
        "request_timeout": 10,
        "forward_headers": ["x-b"],
        "cb_config": {"failure_threshold": 9},
        "override_params": {"model": "n", "top_k": 2},
        "default_params": {"temperature": 0},
        "drop_params": ["service_tier"],
    }
    tree = config_tree({**above, "targets": [{"provider": "@a"}, own]})
    assert tree == Fallback(
        "config",
        (
            Leaf(
                "config.targets[0]",
                "@a",
                "m",
                retry=Retry(3),
                timeout_ms=9,
                cache=CacheRule(),
                params=Params({"temperature": 1, "speed": "fast"}, {"top_k": 1, "top_p": 1}, ("metadata",)),
                forward_headers=("x-a",),
                breaker=BreakerRule(2),
            ),
            Leaf(
                "config.targets[1]",
                "@b",
                "n",
                retry=Retry(1, frozenset((500,))),
                timeout_ms=10,
                cache=CacheRule(max_age_s=9),
                params=Params(
                    {"temperature": 0, "speed": "fast"}, {"top_k": 2, "top_p": 1}, ("service_tier",)
                ),
                forward_headers=("x-b",),
                breaker=BreakerRule(9),
            ),
        ),
    )


def test_an_unknown_field_is_told_with_the_one_that_was_meant() -> None:
    document = {
        "strategy": {"mode": "fallback", "on_status_code": [429]},
        "targets": [{"provider": "@a", "retry": {"attempts": 1, "use_retry_after": True}}, {"zzz": 1}],
    }
    assert errors(document) == {
        "config.targets[0].retry.use_retry_after": ("unknown field; did you mean 'use_retry_after_header'?"),
        "config.targets[1].zzz": "unknown field",
        "config.strategy.on_status_code": "unknown field; did you mean 'on_status_codes'?",
    }


@pytest.mark.parametrize(
    ("document", "path", "said"),
    [
        ([], "config", "must be an object"),
        ({"provider": 7}, "config.provider", "printable"),
        ({"provider": "@"}, "config.provider", "must be @slug"),
        ({"provider": "@a", "virtual_key": "b"}, "config.virtual_key", "says otherwise"),
        ({"provider": "@a", "passthrough": True}, "config.passthrough", "leaves the provider to the request"),
        ({"api_key": "sk-ant-secret"}, "config.api_key", "no secrets"),
        ({"aws_secret_access_key": "x"}, "config.aws_secret_access_key", "belongs to a provider"),
        ({"vertex_region": "x"}, "config.vertex_region", "belongs to a provider"),
        ({"input_guardrails": ["x"]}, "config.input_guardrails", "not served"),
        ({"prompt_id": "x"}, "config.prompt_id", "not served"),
        ({"strategy": {"mode": "fallback"}, "provider": "@a"}, "config.targets", "is required"),
        ({"strategy": 1, "targets": [{}]}, "config.strategy", "must be an object"),
        ({"strategy": {"mode": "random"}, "targets": [{}]}, "config.strategy.mode", "single, fallback"),
        ({"targets": []}, "config.targets", "1 to 1000"),
        ({"targets": {}}, "config.targets", "must be a list"),
        ({"targets": [3]}, "config.targets[0]", "must be an object"),
        ({"retry": {"attempts": 6}}, "config.retry.attempts", "from 0 to 5"),
        ({"retry": {"attempts": True}}, "config.retry.attempts", "whole number"),
        ({"retry": {"attempts": 10**400}}, "config.retry.attempts", "whole number"),
        ({"retry": {}}, "config.retry.attempts", "is required"),
        ({"retry": {"attempts": 1, "on_status_codes": [42]}}, "config.retry.on_status_codes", "statuses"),
        ({"retry": {"attempts": 1, "on_status_codes": 500}}, "config.retry.on_status_codes", "a list"),
        (
            {"retry": {"attempts": 1, "use_retry_after_header": True, "use_retry_after_headers": False}},
            "config.retry.use_retry_after_header",
            "says otherwise",
        ),
        ({"cache": "always"}, "config.cache", "simple, semantic"),
        ({"cache": True}, "config.cache", "must be an object"),
        ({"cache": {"max_age": 5}}, "config.cache.mode", "simple, semantic"),
        ({"cache": {"mode": "simple", "max_age": 0}}, "config.cache.max_age", "from 1 to 7776000"),
        ({"request_timeout": 0}, "config.request_timeout", "from 1 to"),
        ({"request_timeout": "5s"}, "config.request_timeout", "whole number"),
        ({"override_params": []}, "config.override_params", "must be an object"),
        ({"override_params": {"model": ""}}, "config.override_params.model", "model's name"),
        ({"override_params": {"model": "@a"}}, "config.override_params.model", "@provider/model"),
        ({"override_params": {"stream": True}}, "config.override_params.stream", "caller's to say"),
        ({"default_params": {"messages": []}}, "config.default_params.messages", "caller's to say"),
        ({"override_params": {"max_tokens": 0}}, "config.override_params.max_tokens", "above 0"),
        ({"drop_params": ["messages"]}, "config.drop_params[0]", "needed by every request"),
        ({"drop_params": ["a..b"]}, "config.drop_params[0]", "must be a path"),
        ({"drop_params": "metadata"}, "config.drop_params", "must be a list"),
        ({"custom_host": "https://a.example"}, "config.custom_host", "needs a provider beside it"),
        ({"provider": "@a", "custom_host": "ftp://a"}, "config.custom_host", "http or https"),
        ({"provider": "@a", "custom_host": "https://u@a.example"}, "config.custom_host", "no user name"),
        ({"forward_headers": ["authorization"]}, "config.forward_headers[0]", "may hold a secret"),
        ({"forward_headers": ["X-Api-Key"]}, "config.forward_headers[0]", "may hold a secret"),
        ({"forward_headers": ["x-portkey-api-key"]}, "config.forward_headers[0]", "may hold a secret"),
        ({"forward_headers": ["Metadata-Flavor"]}, "config.forward_headers[0]", "metadata service"),
        ({"forward_headers": ["a b"]}, "config.forward_headers[0]", "not the name of a header"),
        ({"forward_headers": [{"from": "a", "to": "b"}]}, "config.forward_headers", "renaming"),
        ({"cb_config": {}}, "config.cb_config", "needs failure_threshold"),
        (
            {"cb_config": {"failure_threshold": 1, "cooldown_interval": 1}},
            "config.cb_config.cooldown_interval",
            "from 1000",
        ),
        (
            {"strategy": {"mode": "loadbalance"}, "targets": [{"weight": 0}]},
            "config.targets",
            "no weight above 0",
        ),
        (
            {"strategy": {"mode": "loadbalance"}, "targets": [{"weight": -1}]},
            "config.targets[0].weight",
            "from 0 to",
        ),
        ({"override_params": {"x": float("nan")}}, "config", "that JSON does not have"),
        ({"override_params": {"x": float("inf")}}, "config", "that JSON does not have"),
        ({"override_params": {"x": "\ud800"}}, "config", "that JSON does not have"),
        ({"override_params": {"x": b"bytes"}}, "config", "that JSON does not have"),
        ({"override_params": {"\udfff": 1}}, "config", "whose name is not text"),
        (
            {"strategy": {"mode": "loadbalance", "sticky": {"hash_fields": ["team"]}}, "targets": [{}]},
            "config.strategy.sticky.hash_fields[0]",
            "metadata.NAME",
        ),
        (
            {"strategy": {"mode": "single", "on_status_codes": [500]}, "targets": [{}]},
            "config.strategy.on_status_codes",
            "goes with mode fallback",
        ),
        (
            {"strategy": {"mode": "fallback", "default": "x"}, "targets": [{"name": "x"}]},
            "config.strategy.default",
            "goes with mode conditional",
        ),
        (
            {"strategy": {"mode": "conditional"}, "targets": [{"name": "x"}]},
            "config.strategy.conditions",
            "at least one condition",
        ),
    ],
)
def test_what_is_wrong_is_told_at_its_place(document: object, path: str, said: str) -> None:
    found = errors(document)
    assert said in found.get(path, f"nothing at {path}: {found}")


@pytest.mark.parametrize(
    ("condition", "default", "path", "said"),
    [
        ({"query": {}, "then": "smal"}, None, "conditions[0].then", "did you mean 'small'?"),
        ({"query": {}, "then": "zzz"}, None, "conditions[0].then", "named are small, big"),
        ({"query": {}}, None, "conditions[0].then", "is required"),
        (
            {"query": {"metadata.x": {"$like": 1}}, "then": "big"},
            None,
            "conditions[0].query.metadata.x.$like",
            "no op",
        ),
        ({"query": "x", "then": "big"}, None, "conditions[0].query", "must be an object"),
        ({"query": {}, "then": "big", "else": 1}, None, "conditions[0].else", "unknown field"),
        (5, None, "conditions[0]", "must be an object with query and then"),
        ({"query": {}, "then": "big"}, "gone", "default", "there is no target named 'gone'"),
    ],
)
def test_a_condition_that_leads_nowhere_is_told(
    condition: object, default: str | None, path: str, said: str
) -> None:
    strategy = {"mode": "conditional", "conditions": [condition], "default": default}
    document = {"strategy": strategy, "targets": [{"name": "small"}, {"name": "big"}]}
    assert said in errors(document)[f"config.strategy.{path}"]


def test_a_condition_cannot_mean_two_targets() -> None:
    strategy = {"mode": "conditional", "conditions": [{"query": {}, "then": "x"}]}
    document = {"strategy": strategy, "targets": [{"name": "x"}, {"name": "x"}]}
    assert "several targets are named 'x'" in errors(document)["config.strategy.conditions[0].then"]


def test_all_that_is_wrong_is_in_one_refusal() -> None:
    with pytest.raises(ConfigInvalid) as refused:
        config_tree({"retry": {"attempts": 9}, "colour": "red"})
    assert refused.value.path == "config.retry.attempts"
    assert refused.value.detail == "must be a whole number from 0 to 5\nconfig.colour: unknown field"


def test_a_secret_in_the_wrong_place_is_not_repeated() -> None:
    secret = "sk-ant-api03-canary"
    document = {"api_key": secret, "provider": secret + "\n", "cache": secret, "forward_headers": secret}
    assert secret not in " ".join(errors(document).values())


def test_what_has_no_effect_is_a_warning() -> None:
    assert warnings({"strict_open_ai_compliance": False, "provider": "@a"}) == {
        "config.strict_open_ai_compliance": "has no effect on /v1/messages"
    }
    document = {"provider": "@a", "strategy": {"mode": "fallback"}, "targets": [{"provider": "@b"}]}
    assert warnings(document) == {"config.provider": "has no effect beside targets; write it in each target"}


def nested(depth: int) -> Json:
    document: Json = {"provider": "@a"}
    for _ in range(depth):
        document = {"strategy": {"mode": "fallback"}, "targets": [document]}
    return document


def test_nesting_is_bounded() -> None:
    assert read_config(nested(11)).tree is not None
    assert "deeper than 12 levels" in " ".join(errors(nested(12)).values())
    assert errors(nested(5_000)) == {"config": "is nested deeper than 40 levels"}


def test_size_is_bounded() -> None:
    assert errors({"override_params": {"a": [0] * 30_000}}) == {"config": "has more than 20000 entries"}
    wide = {"strategy": {"mode": "fallback"}, "targets": [{}] * 600}
    document = {"strategy": {"mode": "fallback"}, "targets": [wide, wide]}
    assert errors(document)["config.targets[1].targets"] == "are more than 1000 in the whole config"
