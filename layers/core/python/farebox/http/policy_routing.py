"""What a config (Portkey's JSON) may hold today: which fields are served, which wait, which are refused."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal

MODES_SERVED = ("single", "fallback")
MODES = (*MODES_SERVED, "loadbalance", "conditional")
TARGETS_MAX = 100

_SERVED = ("strategy", "targets", "provider", "override_params", "name", "weight")
# Leaving these out changes how fast or how often something is asked, not what may be asked.
_NOT_YET = ("cache", "retry", "request_timeout", "default_params", "drop_params", "strict_open_ai_compliance")
# Leaving these out would answer from the wrong place or without a check that somebody relies on.
_REFUSED = (
    "custom_host",
    "forward_headers",
    "passthrough",
    "input_guardrails",
    "output_guardrails",
    "before_request_hooks",
    "after_request_hooks",
    "input_mutators",
    "output_mutators",
)
_STRATEGY_FIELDS = ("mode", "on_status_codes", "conditions", "default", "sticky", "cb_config")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about one place of a document; without `is_error` the document can be taken all the same."""

    path: str
    detail: str
    is_error: bool = True


def read_routing(value: object) -> dict[str, object]:
    """Take a config as an object or as JSON text. Raises `ValueError`."""
    if isinstance(value, str):
        try:
            value = json.loads(value, parse_float=Decimal)
        except (ValueError, RecursionError):
            raise ValueError("must be an object, or its JSON text") from None
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise ValueError("must be an object, or its JSON text")
    return value


def check_routing(document: Mapping[str, object]) -> Iterator[Finding]:
    """Find what is wrong with a config, with paths inside it."""
    targets = document.get("targets")
    strategy = document.get("strategy")
    if strategy is not None:
        yield from _check_strategy(strategy)
    if targets is None:
        yield from _check_node(document, "")
        if strategy is not None and not isinstance(document.get("provider"), str):
            yield Finding("targets", "is required beside a strategy")
        return
    yield from _check_fields(document, "")
    if not isinstance(targets, list) or not 0 < len(targets) <= TARGETS_MAX:
        yield Finding("targets", f"must be a list of 1 to {TARGETS_MAX} targets")
        return
    for index, target in enumerate(targets):
        path = f"targets[{index}]"
        if not isinstance(target, Mapping):
            yield Finding(path, "must be an object")
        elif "targets" in target or "strategy" in target:
            yield Finding(path, "is a config of its own; nested configs are not served by this version")
        else:
            yield from _check_node(target, path)


def named_providers(document: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Give (path, name) of each provider that a valid config names: `provider`, or a model '@slug/model'."""
    targets = document.get("targets")
    nodes = [("", document)]
    if isinstance(targets, list):
        nodes = [(f"targets[{index}].", target) for index, target in enumerate(targets)]
    for path, node in nodes:
        provider = node.get("provider")
        if isinstance(provider, str):
            yield f"{path}provider", provider
        overrides = node.get("override_params")
        model = overrides.get("model") if isinstance(overrides, Mapping) else None
        if isinstance(model, str) and model.startswith("@"):
            yield f"{path}override_params.model", model.partition("/")[0]


def _check_strategy(strategy: object) -> Iterator[Finding]:
    if not isinstance(strategy, Mapping):
        yield Finding("strategy", "must be an object")
        return
    mode = strategy.get("mode")
    if mode not in MODES:
        yield Finding("strategy.mode", f"must be one of {', '.join(MODES)}")
    elif mode not in MODES_SERVED:
        yield Finding(
            "strategy.mode", f"'{mode}' is not served by this version ({' and '.join(MODES_SERVED)} are)"
        )
    elif mode == "fallback":
        yield Finding(
            "strategy.mode", "this version asks the first target only and does not fall back", is_error=False
        )
    for name in strategy:
        if name not in _STRATEGY_FIELDS:
            yield Finding(f"strategy.{name}", "unknown field")


def _check_node(node: Mapping[str, object], path: str) -> Iterator[Finding]:
    yield from _check_fields(node, path)
    provider = node.get("provider")
    if provider is not None and not (isinstance(provider, str) and provider.strip("@")):
        yield Finding(_join(path, "provider"), "must be @slug, or a provider type")
    overrides = node.get("override_params", {})
    if not isinstance(overrides, Mapping):
        yield Finding(_join(path, "override_params"), "must be an object")
        return
    model = overrides.get("model")
    if model is not None and not (isinstance(model, str) and model):
        yield Finding(_join(path, "override_params.model"), "must be a model's name")
    for name in overrides:
        if name != "model":
            yield Finding(
                _join(path, f"override_params.{name}"), "is not applied by this version", is_error=False
            )


def _check_fields(node: Mapping[str, object], path: str) -> Iterator[Finding]:
    for name in node:
        place = _join(path, name)
        if name in _NOT_YET:
            yield Finding(place, "is not applied by this version", is_error=False)
        elif name in _REFUSED:
            yield Finding(place, "is not served by this version")
        elif name == "api_key":
            yield Finding(place, "a config holds no secrets; name a provider that has a credential")
        elif name not in _SERVED:
            yield Finding(place, "unknown field")


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
