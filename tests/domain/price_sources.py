"""What genai-prices and LiteLLM say that Claude costs, in one shape, beside what farebox says."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from genai_prices import types
from genai_prices.data_snapshot import get_snapshot
from msgspec.structs import replace

from farebox.domain.usage import CostStatus, Usage
from tests.domain.price_cases import BOOK, NOW, served, usd_per_mtok

CROSSCHECK = Path(__file__).parents[2] / "layers/core/python/farebox/data/prices/crosscheck.json"
_GENAI_COLUMNS = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cache_read": "cache_read_mtok",
    "cache_write_5m": "cache_write_mtok",
    "cache_write_1h": "cache_write_1h_mtok",
}
_GENAI_PROVIDERS = {"anthropic": "anthropic", "aws": "bedrock", "google": "vertex"}
_LONG_PROMPT_TOKENS = 300_000


@dataclass(frozen=True, slots=True)
class Listed:
    """One price that a source lists. `variant` is standard, long, batch, fast, regional or residency."""

    source: str
    provider: str
    model: str
    variant: str
    column: str
    usd: Decimal

    def ours(self) -> Decimal | None:
        """Give our price for the same, if we have one: USD per million tokens, or per web search."""
        usage = Usage(input_tokens=_LONG_PROMPT_TOKENS if self.variant == "long" else 0)
        if self.variant == "fast":
            usage = replace(usage, speed="fast")
        if self.variant == "residency":
            usage = replace(usage, inference_geo="us")
        model, region = _without_path(self.model)
        if self.variant == "regional":
            region = "us-east5"
        batch = self.variant == "batch"
        cost = BOOK.cost(served(usage, provider=self.provider, model=model, region=region, batch=batch))
        if cost.status is CostStatus.UNPRICED:
            return None
        if self.column == "web_search":
            return Decimal(cost.rates["web_search"]).scaleb(-12)
        return usd_per_mtok(cost.rates)[self.column]


def _without_path(key: str) -> tuple[str, str | None]:
    """LiteLLM writes `platform/region/model`; our requests have the region beside the model."""
    *path, model = key.split("/")
    return model, path[-1] if len(path) == 2 else None


def genai_listed() -> Iterator[Listed]:
    """Give what genai-prices lists for Claude on its three platforms, at the prices of today."""
    for provider in get_snapshot().providers:
        ours = _GENAI_PROVIDERS.get(provider.id)
        for model in provider.models if ours else ():
            if ours and "claude" in model.id:
                for name in _genai_names(model):
                    yield from _genai_prices(ours, name, model)


def _genai_names(model: types.ModelInfo) -> list[str]:
    """A rule for all regions stands for one id of each kind of endpoint that it names."""
    if not model.id.startswith("regional."):
        return [model.id]
    bare = model.id.removeprefix("regional.")
    return [bare, f"us.{bare}", *([f"us-gov.{bare}"] if "us-gov." in str(model.match) else [])]


def _genai_prices(provider: str, name: str, model: types.ModelInfo) -> Iterator[Listed]:
    current = model.get_prices(NOW)
    variants = {"standard": current}
    for variant in model.price_variants or []:
        kind = {("processing", "batch"): "batch", ("speed", "fast"): "fast"}.get(
            next(iter(variant.when.items()))
        )
        if kind:
            variants[kind] = variant.prices
    for kind, prices in variants.items():
        for column, attribute in _GENAI_COLUMNS.items():
            price = getattr(prices, attribute)
            base = price.base if isinstance(price, types.TieredPrices) else price
            if isinstance(base, Decimal):
                yield Listed("genai-prices", provider, name, kind, column, base)
            if isinstance(price, types.TieredPrices) and kind == "standard":
                yield Listed("genai-prices", provider, name, "long", column, price.tiers[-1].price)
    searches = current.web_searches_kcount
    if isinstance(searches, Decimal):
        yield Listed("genai-prices", provider, name, "standard", "web_search", searches / 1000)


def litellm_listed() -> Iterator[Listed]:
    """Give what LiteLLM's catalogue listed for Claude when the data files were generated."""
    document = json.loads(CROSSCHECK.read_text())
    for row in document["rows"]:
        yield from _litellm_prices(row)


def _litellm_prices(row: Mapping[str, object]) -> Iterator[Listed]:
    provider, key = str(row["provider"]), str(row["key"])
    for variant, field in (("standard", "standard"), ("long", "above_100k"), ("batch", "batch")):
        listed = row.get(field)
        prices = listed if isinstance(listed, Mapping) else {}
        for column, price in prices.items():
            yield Listed("LiteLLM", provider, key, variant, column, Decimal(str(price)))
    standard, factors = row.get("standard"), row.get("factors")
    if isinstance(standard, Mapping) and isinstance(factors, Mapping):
        for name, variant in (("regional", "regional"), ("us", "residency"), ("fast", "fast")):
            if name in factors:
                for column, price in standard.items():
                    usd = Decimal(str(price)) * Decimal(str(factors[name]))
                    yield Listed("LiteLLM", provider, key, variant, str(column), usd)
