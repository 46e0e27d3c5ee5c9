"""Who reaches which provider and model: every way to name one, in their order, and every narrowing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from msgspec.structs import replace

from farebox.domain.config import Policy, ProviderSpec, Workspace
from farebox.domain.errors import (
    ConfigInvalid,
    FareboxError,
    PolicyRefused,
    ProviderUnresolved,
    RequestMalformed,
)
from farebox.domain.identity import GatewayKey
from farebox.domain.plan import Caller
from farebox.domain.routing.saved import RoutingConfig
from farebox.gateway.incoming import IncomingRequest
from farebox.gateway.routing.targets import find_targets, first_leaf
from farebox.wire.messages import read_head
from tests.support.builders import a_key

OPUS, HAIKU = "claude-opus-5-5", "claude-haiku-5-5"
PROD = ProviderSpec("prod", "anthropic", "env:PROD", models=("claude-*",))
SPARE = ProviderSpec("spare", "anthropic", "env:SPARE")
MINE = ProviderSpec("mine", "anthropic", "caller")
DEMO = ProviderSpec("demo", "demo")
ALL = (PROD, SPARE, MINE, DEMO)


async def no_body() -> bytes:
    return b""


def a_policy(
    *providers: ProviderSpec,
    configs: Mapping[str, Mapping[str, object]] | None = None,
    workspace: Workspace | None = None,
) -> Policy:
    saved = {slug: RoutingConfig(slug, document) for slug, document in (configs or {}).items()}
    workspace = workspace or Workspace("platform")
    return Policy(1, providers or ALL, {workspace.slug: workspace}, saved, ())


def chosen(
    model: str = OPUS, *, policy: Policy | None = None, key: GatewayKey | None = None, **headers: str
) -> tuple[str, str, str]:
    """Give provider, model and option path."""
    sent = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    request = IncomingRequest("req_1", "messages", b"", sent, no_body)
    caller = Caller(key or a_key(), None, {}, None, None, "trace")
    head = read_head(json.dumps({"model": model}).encode())
    targets = find_targets(request, head, caller, policy or a_policy())
    leaf = first_leaf(targets.tree)
    target = targets.target(leaf)
    return target.provider.slug, target.model, leaf.path


def refused(kind: type[FareboxError], **asked: Any) -> str:
    with pytest.raises(kind) as error:
        chosen(**asked)
    return error.value.message


def test_without_a_name_the_first_provider_that_admits_the_model_serves_it() -> None:
    assert chosen() == ("prod", OPUS, "config")
    assert chosen("gpt-5") == ("spare", "gpt-5", "config")
    assert chosen(policy=a_policy(SPARE, PROD)) == ("spare", OPUS, "config")


@pytest.mark.parametrize("header", ["x_farebox_provider", "x_portkey_provider"])
@pytest.mark.parametrize("name", ["@spare", "spare"])
def test_a_header_names_the_provider(header: str, name: str) -> None:
    asked: dict[str, Any] = {header: name}
    assert chosen(**asked) == ("spare", OPUS, "config")


def test_the_model_names_the_provider_and_travels_on_without_it() -> None:
    assert chosen(f"@spare/{OPUS}") == ("spare", OPUS, "config")
    assert chosen("@spare/models/claude-x") == ("spare", "models/claude-x", "config")


def test_the_model_wins_over_the_header_and_the_header_over_the_config() -> None:
    policy = a_policy(configs={"spare": {"provider": "@spare"}})
    key = a_key(config="spare")
    assert chosen(policy=policy, key=key)[0] == "spare"
    assert chosen(policy=policy, key=key, x_farebox_provider="@mine")[0] == "mine"
    assert chosen(f"@demo/{OPUS}", policy=policy, key=key, x_farebox_provider="@mine")[0] == "demo"
    assert chosen(x_farebox_provider="@mine", x_portkey_provider="@spare")[0] == "mine"


def test_the_config_that_a_request_brings_wins_over_its_header_and_the_model_over_both() -> None:
    """Portkey's users may have both headers in their settings, and rely on the config's fallback."""
    policy = a_policy(configs={"spare": {"provider": "@spare"}, "open": {"retry": {"attempts": 1}}})
    for config in (
        "spare",
        json.dumps({"provider": "@spare"}),
        json.dumps({"targets": [{"provider": "@spare"}]}),
    ):
        both: dict[str, Any] = {"x_portkey_config": config, "x_portkey_provider": "@mine"}
        assert chosen(policy=policy, **both)[0] == "spare"
        assert chosen(f"@demo/{OPUS}", policy=policy, **both)[0] == "demo"
    for config in (
        "open",
        json.dumps({"cache": "simple"}),
        json.dumps({"override_params": {"model": HAIKU}}),
    ):
        assert chosen(policy=policy, x_portkey_config=config, x_portkey_provider="@mine")[0] == "mine"


def test_a_bare_name_is_a_slug_first_and_then_a_type_with_the_callers_credential() -> None:
    named_as_type = ProviderSpec("anthropic", "anthropic", "env:OWN")
    assert chosen(x_farebox_provider="anthropic") == ("mine", OPUS, "config")
    assert (
        chosen(policy=a_policy(PROD, MINE, named_as_type), x_farebox_provider="anthropic")[0] == "anthropic"
    )
    told = refused(PolicyRefused, policy=a_policy(PROD, SPARE), x_farebox_provider="anthropic")
    assert told == "There is no provider 'anthropic' that you may use (yours: @prod, @spare)."
    assert "@anthropic" in refused(PolicyRefused, x_farebox_provider="@anthropic")


@pytest.mark.parametrize(
    ("name", "kind"),
    [("vertex-ai", "vertex"), ("azure-ai", "foundry"), ("google", "gemini"), ("mistral-ai", "mistral")],
)
def test_a_type_may_go_by_portkeys_name(name: str, kind: str) -> None:
    policy = a_policy(PROD, ProviderSpec("cloud", kind, "caller"))
    assert chosen(policy=policy, x_portkey_provider=name)[0] == "cloud"
    assert chosen(policy=policy, x_portkey_config=json.dumps({"provider": name}))[0] == "cloud"


@pytest.mark.parametrize("name", ["@nobody", "nobody", "@", "@prod/x", "PROD"])
def test_an_unknown_provider_is_refused_with_those_one_has(name: str) -> None:
    told = f"There is no provider '{name}' that you may use (yours: @prod, @spare, @mine, @demo)."
    assert refused(PolicyRefused, x_farebox_provider=name) == told


def test_a_provider_named_without_a_model_is_malformed() -> None:
    for model in ("@spare", "@spare/"):
        assert refused(RequestMalformed, model=model) == f"model: '{model}' should read @provider/model."


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"provider": "@spare"}, ("spare", OPUS, "config")),
        ({"provider": "spare"}, ("spare", OPUS, "config")),
        ({"targets": [{"provider": "@spare"}]}, ("spare", OPUS, "config.targets[0]")),
        (
            {"strategy": {"mode": "single"}, "targets": [{"provider": "@mine"}]},
            ("mine", OPUS, "config.targets[0]"),
        ),
        (
            {"strategy": {"mode": "fallback"}, "targets": [{"provider": "@spare"}, {"provider": "@mine"}]},
            ("spare", OPUS, "config.targets[0]"),
        ),
        ({"provider": "@spare", "override_params": {"model": HAIKU}}, ("spare", HAIKU, "config")),
        ({"override_params": {"model": f"@mine/{HAIKU}"}}, ("mine", HAIKU, "config")),
        ({"retry": {"attempts": 2}}, ("prod", OPUS, "config")),
    ],
)
def test_a_config_says_the_same_from_every_place(
    config: dict[str, object], expected: tuple[str, str, str]
) -> None:
    policy = a_policy(configs={"c": config})
    assert chosen(policy=policy, key=a_key(config="c")) == expected
    in_workspace = a_policy(configs={"c": config}, workspace=Workspace("platform", config="c"))
    assert chosen(policy=in_workspace) == expected
    for header in ("x_farebox_config", "x_portkey_config"):
        for value in ("c", json.dumps(config)):
            asked: dict[str, Any] = {header: value}
            assert chosen(policy=policy, **asked) == expected


def test_the_requests_config_wins_over_the_keys_and_that_over_the_workspaces() -> None:
    configs = {slug: {"provider": f"@{slug}"} for slug in ("prod", "spare", "mine")}
    policy = a_policy(configs=configs, workspace=Workspace("platform", config="mine"))
    assert chosen(policy=policy)[0] == "mine"
    assert chosen(policy=policy, key=a_key(config="spare"))[0] == "spare"
    assert chosen(policy=policy, key=a_key(config="spare"), x_farebox_config="prod")[0] == "prod"


FIXED_BY_KEY = (a_key(config="spare", allow_config_override=False), Workspace("platform"))
FIXED_BY_WORKSPACE = (a_key(), Workspace("platform", config="spare", allow_config_override=False))


@pytest.mark.parametrize(("key", "workspace"), [FIXED_BY_KEY, FIXED_BY_WORKSPACE])
def test_a_fixed_config_cannot_be_left(key: GatewayKey, workspace: Workspace) -> None:
    configs = {"spare": {"provider": "@spare"}, "mine": {"provider": "@mine"}}
    fixed: dict[str, Any] = {"policy": a_policy(configs=configs, workspace=workspace), "key": key}
    assert chosen(**fixed)[0] == "spare"
    for config in ("mine", "spare", '{"provider": "@mine"}', "{"):
        told = refused(PolicyRefused, **fixed, x_portkey_config=config)
        assert told == "This key uses a fixed config; x-farebox-config is not allowed with it."
    told = "This key uses a fixed config; no other provider may be named with it."
    assert refused(PolicyRefused, **fixed, x_farebox_provider="@mine") == told
    assert refused(PolicyRefused, **fixed, model=f"@mine/{OPUS}") == told


def test_a_fixed_config_that_names_no_provider_leaves_the_choice_open() -> None:
    policy = a_policy(configs={"c": {"retry": {"attempts": 2}}})
    key = a_key(config="c", allow_config_override=False)
    assert chosen(policy=policy, key=key, x_farebox_provider="@mine")[0] == "mine"
    assert chosen(f"@demo/{OPUS}", policy=policy, key=key)[0] == "demo"


def test_a_fixed_config_that_decides_the_model_cannot_be_shaken_off() -> None:
    policy = a_policy(configs={"c": {"override_params": {"model": "claude-haiku-5-5"}}})
    key = a_key(config="c", allow_config_override=False)
    for asked in ({"x_farebox_provider": "@mine"}, {"model": f"@mine/{OPUS}"}):
        assert "fixed config" in refused(PolicyRefused, policy=policy, key=key, **asked)
    assert chosen(policy=policy, key=key)[1] == "claude-haiku-5-5"


@pytest.mark.parametrize(
    "named", [{"fallbacks": [{"model": OPUS}]}, {"tools": [{"type": "advisor_20260301", "model": OPUS}]}]
)
def test_a_model_that_the_body_lets_the_provider_use_is_narrowed_too(named: dict[str, Any]) -> None:
    request = IncomingRequest("req_1", "messages", b"", [], no_body)
    caller = Caller(a_key(models=("claude-haiku-*",)), None, {}, None, None, "trace")
    head = read_head(json.dumps({"model": "claude-haiku-5-5", **named}).encode())
    targets = find_targets(request, head, caller, a_policy())
    with pytest.raises(PolicyRefused, match=f"Model '{OPUS}' is not allowed for this key"):
        targets.target(first_leaf(targets.tree))


def test_where_overriding_is_forbidden_and_nothing_is_fixed_a_provider_may_still_be_named() -> None:
    key = a_key(allow_config_override=False)
    assert chosen(key=key, x_farebox_provider="@mine")[0] == "mine"


@pytest.mark.parametrize("config", ["{", "{]", '{"a":', "{" * 5000])
def test_a_broken_inline_config_is_malformed(config: str) -> None:
    told = "x-farebox-config: is neither a config's slug nor a JSON object."
    assert refused(RequestMalformed, x_farebox_config=config) == told


def test_an_unknown_config_is_refused_by_name() -> None:
    assert refused(PolicyRefused, x_farebox_config="gone") == "There is no config 'gone'."


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"retry": {"attemps": 2}}, "config.retry.attemps: unknown field; did you mean 'attempts'?"),
        ({"targets": [{"api_key": "x"}]}, "config.targets[0].api_key: a config holds no secrets"),
        ({"strategy": {"mode": 7}, "targets": [{}]}, "config.strategy.mode: must be one of single, fallback"),
    ],
)
def test_what_is_wrong_in_an_inline_config_is_told_at_its_place(config: dict[str, Any], told: str) -> None:
    assert refused(ConfigInvalid, x_farebox_config=json.dumps(config)).startswith(told)


def test_a_config_is_served_as_one_of_its_versions_had_it() -> None:
    older: dict[int, Mapping[str, object]] = {1: {"provider": "@spare"}, 2: {"colour": "red"}}
    saved = RoutingConfig("c", {"provider": "@mine"}, 3, older)
    policy = replace(a_policy(), configs={"c": saved})
    assert [chosen(policy=policy, x_portkey_config=name)[0] for name in ("c", "c@3", "c@1")] == [
        "mine",
        "mine",
        "spare",
    ]
    assert chosen(policy=policy, key=a_key(config="c@1"))[0] == "spare"
    for name, told in (
        ("c@4", "The config 'c' has no version 4."),
        ("c@0", "The config 'c' has no version 0."),
        ("c@x", "There is no config 'c@x'."),
        ("c@-1", "There is no config 'c@-1'."),
        ("d@1", "There is no config 'd@1'."),
    ):
        assert refused(PolicyRefused, policy=policy, x_portkey_config=name) == told


def test_a_saved_config_that_cannot_be_read_refuses_its_own_requests_alone() -> None:
    policy = a_policy(configs={"broken": {"colour": "red"}})
    assert refused(PolicyRefused, policy=policy, x_farebox_config="broken") == (
        "The saved config 'broken' cannot be used: config.colour: unknown field. "
        "Ask your farebox administrator to mend it."
    )
    assert chosen(policy=policy)[0] == "prod"


WAYS: list[dict[str, str]] = [
    {"model": f"@mine/{OPUS}"},
    {"x_farebox_provider": "@mine"},
    {"x_farebox_provider": "mine"},
    {"x_portkey_provider": "anthropic"},
    {"x_farebox_config": "mine"},
    {"x_farebox_config": '{"provider": "@mine"}'},
    {"x_farebox_config": '{"targets": [{"provider": "@mine"}]}'},
    {"x_farebox_config": f'{{"override_params": {{"model": "@mine/{OPUS}"}}}}'},
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("key", "workspace"),
    [
        (a_key(providers=("prod", "sp*")), Workspace("platform")),
        (a_key(), Workspace("platform", providers=("prod", "sp*"))),
        (a_key(providers=("prod", "spare", "mine")), Workspace("platform", providers=("prod", "sp*"))),
        (a_key(providers=("prod", "sp*")), Workspace("platform", providers=("*",))),
        (a_key(config="mine", providers=("prod", "sp*")), Workspace("platform", config="mine")),
    ],
)
def test_nobody_reaches_a_provider_that_nobody_gave_them(
    way: dict[str, str], key: GatewayKey, workspace: Workspace
) -> None:
    policy = a_policy(configs={"mine": {"provider": "@mine"}}, workspace=workspace)
    told = refused(PolicyRefused, policy=policy, key=key, **way)
    assert told.endswith("that you may use (yours: @prod, @spare).")


def test_narrowing_decides_who_serves_when_nobody_is_named() -> None:
    assert chosen(key=a_key(providers=("m*",)))[0] == "mine"
    narrow = a_policy(workspace=Workspace("platform", providers=("spare", "mine")))
    assert chosen(policy=narrow, key=a_key(providers=("prod", "mine")))[0] == "mine"
    assert refused(PolicyRefused, key=a_key(providers=("x",)), x_farebox_provider="@prod").endswith(
        "(yours: none)."
    )


def test_when_no_provider_is_left_the_ways_are_named() -> None:
    told = refused(ProviderUnresolved, model="gpt-5", policy=a_policy(PROD))
    assert told == (
        "No provider you may use serves model 'gpt-5'. Name one with the header x-farebox-provider: @slug "
        "or as @slug/model, use a config, or ask your administrator to add the model to a provider."
    )


@pytest.mark.parametrize(
    ("owner", "key", "workspace"),
    [
        ("key", a_key(models=("claude-haiku-*", "claude-sonnet-*")), Workspace("platform")),
        ("workspace", a_key(), Workspace("platform", models=("claude-haiku-*", "claude-sonnet-*"))),
        (
            "key",
            a_key(models=("claude-haiku-*", "claude-sonnet-*")),
            Workspace("platform", models=("claude-*",)),
        ),
    ],
)
def test_a_model_outside_the_allow_list_is_refused_however_it_is_asked_for(
    owner: str, key: GatewayKey, workspace: Workspace
) -> None:
    policy = a_policy(workspace=workspace)
    told = f"Model '{OPUS}' is not allowed for this {owner} (allowed: claude-haiku-*, claude-sonnet-*)."
    override = json.dumps({"provider": "@spare", "override_params": {"model": OPUS}})
    for asked in (
        {"model": OPUS},
        {"model": f"@spare/{OPUS}"},
        {"model": HAIKU, "x_farebox_config": override},
    ):
        assert refused(PolicyRefused, policy=policy, key=key, **asked) == told
    assert chosen(HAIKU, policy=policy, key=key) == ("prod", HAIKU, "config")


def test_a_named_provider_must_serve_the_model() -> None:
    told = refused(PolicyRefused, model="gpt-5", x_farebox_provider="@prod")
    assert told == "Model 'gpt-5' is not allowed at provider 'prod' (allowed: claude-*)."


def test_allow_lists_tell_capital_letters_apart() -> None:
    assert refused(PolicyRefused, model="Claude-Opus-5-5", key=a_key(models=("claude-*",))).startswith(
        "Model"
    )


def test_a_key_whose_workspace_is_gone_opens_nothing_since_the_narrowing_is_gone_too() -> None:
    told = refused(PolicyRefused, key=replace(a_key(), workspace="elsewhere"))
    assert told == "The workspace 'elsewhere' of this key does not exist any more."
