"""Picks LiteLLM's numbers for Claude out of its catalogue, so that a test can hold our rows against them."""

from __future__ import annotations

import json
from collections.abc import Mapping

from tools.prices.columns import usd_per_mtok
from tools.prices.litellm_source import Model, cost_columns

_PROVIDERS = {
    "anthropic": "anthropic",
    "azure_ai": "foundry",
    "bedrock": "bedrock",
    "bedrock_converse": "bedrock",
    "bedrock_mantle": "bedrock",
    "vertex_ai-anthropic_models": "vertex",
}


def crosscheck_json(version: str, as_of: str, catalogue: Mapping[str, Model]) -> str:
    """Write one row for each Claude id on our platforms: its bands, its batch prices and its factors."""
    rows: list[str] = []
    for key in sorted(catalogue):
        provider = _PROVIDERS.get(str(catalogue[key].get("litellm_provider")))
        if "/claude_platform/" in key:
            provider = "anthropic-aws"
        if provider is not None and "claude" in key:
            row = {"key": key, "provider": provider, **_numbers(catalogue[key])}
            rows.append(json.dumps(row, separators=(",", ":")))
    lines = ",\n".join(rows)
    return f'{{"source":"LiteLLM {version}","as_of":"{as_of}","rows":[\n{lines}\n]}}\n'


def _numbers(model: Model) -> dict[str, object]:
    numbers: dict[str, object] = {}
    for name, suffix in (("standard", ""), ("above_100k", "_above_100k_tokens"), ("batch", "_batches")):
        found = {
            column: usd_per_mtok(value)
            for column, value in cost_columns(model, suffix).items()
            if value is not None
        }
        if found:
            numbers[name] = found
    uplift = model.get("regional_endpoint_uplift_multiplier")
    entry = model.get("provider_specific_entry")
    factors = {"regional": uplift} | (dict(entry) if isinstance(entry, Mapping) else {})
    numbers["factors"] = {name: str(factor) for name, factor in factors.items() if factor is not None}
    return numbers
