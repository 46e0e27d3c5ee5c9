"""Reads the model rows of LiteLLM's catalogue out of its wheel, which is never installed or imported."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
import venv
import zipfile
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path

from tools.prices.columns import Columns, Entry, Row, columns

_CATALOGUE = "litellm/model_prices_and_context_window_backup.json"
_MODES = {"chat": False, "responses": False, "completion": False, "embedding": True, "rerank": True}
_COLUMNS = {
    "input": ("input_cost_per_token", ""),
    "output": ("output_cost_per_token", ""),
    "cache_read": ("cache_read_input_token_cost", ""),
    "cache_write_5m": ("cache_creation_input_token_cost", ""),
    "cache_write_1h": ("cache_creation_input_token_cost", "_above_1hr"),
}
_TIERS = {"batches": "batch", "flex": "flex", "priority": "priority"}
_ABOVE = re.compile(r"_above_(\d+)k_tokens")

Model = Mapping[str, object]


def fetch_wheel(folder: Path) -> Path:
    """Download the newest wheel with the ordinary client, out of the project's own environment."""
    venv.create(folder / "pip", with_pip=True)
    pip = folder / "pip" / "bin" / "pip"
    subprocess.run([pip, "download", "--quiet", "--no-deps", "litellm", "-d", folder], check=True)
    return next(folder.glob("litellm-*.whl"))


def read_catalogue(wheel: Path | None) -> tuple[str, dict[str, Model]]:
    """Give the version and the catalogue by model key, numbers as decimals."""
    if wheel is None:
        with tempfile.TemporaryDirectory() as folder:
            return read_catalogue(fetch_wheel(Path(folder)))
    with zipfile.ZipFile(wheel) as archive:
        catalogue = json.loads(archive.read(_CATALOGUE), parse_float=Decimal, parse_int=Decimal)
    return wheel.name.split("-")[1], {key: model for key, model in catalogue.items() if key != "sample_spec"}


def read_litellm(version: str, catalogue: Mapping[str, Model]) -> Iterator[tuple[str, Row]]:
    """Give each model that can be priced by tokens alone, with LiteLLM's name of its provider."""
    for key, model in catalogue.items():
        provider, mode = model.get("litellm_provider"), model.get("mode")
        if not isinstance(provider, str) or mode not in _MODES or "tiered_pricing" in model:
            continue
        reasoning = model.get("output_cost_per_reasoning_token", model.get("output_cost_per_token"))
        if reasoning != model.get("output_cost_per_token"):
            continue
        entry = _entry(model, is_embedding=_MODES[str(mode)])
        if entry is not None:
            yield provider, Row(_name(key, provider), f"LiteLLM {version}", [entry])


def _name(key: str, provider: str) -> str:
    first, _, rest = key.lower().partition("/")
    known = (provider, provider.removesuffix("_converse"), provider.partition("-")[0])
    return rest if rest and first in known else key.lower()


def _entry(model: Model, *, is_embedding: bool) -> Entry | None:
    plain = _columns(model, "", is_embedding)
    if plain is None or Decimal(plain["input"]) + Decimal(plain["output"]) == 0:
        return None
    entry: Entry = dict(plain)
    bands = _bands(model, "", is_embedding)
    if bands:
        entry["above"] = bands
    tiers = {
        name: tier for word, name in _TIERS.items() if (tier := _tier(model, f"_{word}", plain, is_embedding))
    }
    if tiers:
        entry["tiers"] = tiers
    return entry


def _tier(model: Model, suffix: str, plain: Columns, is_embedding: bool) -> Entry | None:
    """A tier that prices only some classes keeps the standard price for the others."""
    own = _columns(model, suffix, is_embedding)
    if own is None:
        return None
    bands = _bands(model, suffix, is_embedding)
    if not bands and _bands(model, "", is_embedding):
        return None
    return {**plain, **own, **({"above": bands} if bands else {})}


def _bands(model: Model, suffix: str, is_embedding: bool) -> list[Entry]:
    thousands = {int(found[1]) for key in model if (found := _ABOVE.search(key))}
    bands: list[Entry] = []
    for count in sorted(thousands):
        band = _columns(model, f"_above_{count}k_tokens{suffix}", is_embedding)
        if band is not None:
            bands.append({"tokens": count * 1000, **band})
    return bands


def cost_columns(model: Model, suffix: str) -> dict[str, Decimal | None]:
    """Give a model's five columns, USD per million tokens, for the tier or band that `suffix` names."""
    return {
        name: _per_mtok(model.get(f"{stem}{lifetime}{suffix}")) for name, (stem, lifetime) in _COLUMNS.items()
    }


def _columns(model: Model, suffix: str, is_embedding: bool) -> Columns | None:
    prices = cost_columns(model, suffix)
    if is_embedding and prices["output"] is None:
        prices["output"] = Decimal(0)
    return columns(prices)


def _per_mtok(value: object) -> Decimal | None:
    return value * 10**6 if isinstance(value, Decimal) else None
