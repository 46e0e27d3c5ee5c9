"""A config of the policy file: an object or its JSON text, and the providers that it names."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from decimal import Decimal

from farebox.domain.routing.finding import Finding
from farebox.domain.routing.reading import read_config


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
    """Find what is wrong with a config, and what is worth knowing; paths begin with 'config'."""
    yield from read_config(document).findings


def named_providers(document: Mapping[str, object], path: str = "config") -> Iterator[tuple[str, str]]:
    """Give (path, name) of each provider that a valid config names, as the targets do it: by `provider`,
    `virtual_key`, or a model '@slug/model'.
    """
    targets = document.get("targets")
    if isinstance(targets, list):
        for index, target in enumerate(targets):
            if isinstance(target, Mapping):
                yield from named_providers(target, f"{path}.targets[{index}]")
    else:
        older = document.get("virtual_key")
        provider = document.get("provider")
        if isinstance(older, str):
            yield f"{path}.virtual_key", "@" + older.removeprefix("@")
        elif isinstance(provider, str):
            yield f"{path}.provider", provider
    overrides = document.get("override_params")
    model = overrides.get("model") if isinstance(overrides, Mapping) else None
    if isinstance(model, str) and model.startswith("@"):
        yield f"{path}.override_params.model", model.partition("/")[0]
