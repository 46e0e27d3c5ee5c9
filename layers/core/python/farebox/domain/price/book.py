"""Exact cost: token counts times dated unit prices times published factors, rounded up once per request."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal, localcontext
from math import ceil

from msgspec import Struct, field
from msgspec.structs import replace

from farebox.domain.price.model_id import Endpoint, ModelRef, endpoint_of, normalise
from farebox.domain.price.override import PriceOverride
from farebox.domain.price.rules import Line, bill, model_answering
from farebox.domain.price.table import (
    TOKEN_CLASSES,
    Band,
    Bands,
    ClaudeTable,
    Factor,
    PricedModel,
    PriceRow,
    UnitPrices,
)
from farebox.domain.price.vendor_id import candidates
from farebox.domain.usage import Cost, CostStatus, Iteration, Served, Usage, prompt_tokens

ImportedModels = Callable[[str], Mapping[str, PricedModel]]
"""Gives the imported models of one provider, or none; loads a provider's data on first use only."""


class Rates(Struct, frozen=True):
    """The most that one token of each class, and one web search, can cost: picodollars, rounded up.

    `is_known` is False where no price is known and the stated ceiling stands in.
    """

    input: int
    cache_read: int
    cache_write_5m: int
    cache_write_1h: int
    output: int
    web_search: int
    is_known: bool


class ListedModel(Struct, frozen=True):
    """A model that has a price, as `GET /v1/models` shows it. An unknown release date is the epoch."""

    id: str
    display_name: str
    created_at: str
    is_deprecated: bool


class _Quote(Struct, frozen=True):
    """The prices of one model on one endpoint at one time, before the band is chosen."""

    bands: Bands
    factor: Factor
    web_search: Factor
    is_known: bool = True
    is_estimate: bool = False

    def unit(self, prompt: int) -> UnitPrices:
        unit = self.bands[0].unit
        for band in self.bands[1:]:
            if prompt > band.above_tokens:
                unit = band.unit
        return unit


class PriceBook(Struct, frozen=True):
    """All prices of one provider slug: the Claude table, the imported tables and the negotiated override.

    The same arguments give the same cost for as long as `version` is the same.
    """

    version: str
    claude: ClaudeTable
    imported: ImportedModels
    aliases: Mapping[str, str] = field(default_factory=dict)
    override: PriceOverride | None = None

    def provider_named(self, name: str) -> str:
        """Give the provider type or vendor behind any of its usual spellings."""
        plain = name.strip().lower().replace("_", "-")
        return self.aliases.get(plain, plain)

    def with_overrides(self, override: PriceOverride | None) -> PriceBook:
        """Give a book in which a provider's negotiated prices stand; its `version` names them too."""
        if override is None:
            return self
        return replace(self, override=override, version=f"{self.version}+{override.version}")

    def cost(self, served: Served) -> Cost:
        """Price one attempt exactly, or say that it cannot be.

        Without usage the cost is zero, as an estimate when `is_exact` is False. The sum of all exact
        products is rounded up to whole picodollars once.
        """
        if served.usage is None:
            status = CostStatus.PRICED if served.is_exact else CostStatus.ESTIMATED
            return Cost(0, status, 0, self.version)
        due = bill(served, self.claude.refusals)
        whole = Line(model_answering(served), served.usage, served.usage.speed == "fast")
        main = self._quote(served, whole)
        quotes = tuple([main if line == whole else self._quote(served, line) for line in due.lines])
        total = main.web_search * due.web_search_requests
        for line, quote in zip(due.lines, quotes, strict=True):
            total += _tokens_cost(line.counters, quote.unit(prompt_tokens(line.counters))) * quote.factor
        total += served.usage.unmetered_tokens * self.claude.ceiling.output
        return self._conclude(served, served.usage, quotes or (main,), main, total)

    def rates(
        self,
        *,
        provider: str,
        model: str,
        region: str | None,
        at: datetime,
        speed: str | None = None,
        inference_geo: str | None = None,
        profile_model: str | None = None,
        service_tier: str | None = None,
    ) -> Rates:
        """Give unit prices that no answer to such a request exceeds: highest band, dearest endpoint."""
        usage = Usage(speed=speed, inference_geo=inference_geo, service_tier=service_tier)
        if provider == "vertex" and not region:
            region = "unknown"
        served = Served(provider, model, at, usage, region=region, profile_model=profile_model)
        quote = self._quote(served, Line(model_answering(served), usage, speed == "fast"))
        highest = _highest(quote.bands)
        prices = {name: ceil(getattr(highest, name) * quote.factor) for name in TOKEN_CLASSES}
        return Rates(**prices, web_search=ceil(quote.web_search), is_known=quote.is_known)

    def models(self, provider: str | None = None) -> Iterator[ListedModel]:
        """List the models that have a price at a provider, Claude's own rows first and newest first."""
        wanted = provider or "anthropic"
        rows = [model for model in self.claude.models.values() if self._offers(model, wanted)]
        rows.sort(key=lambda model: (model.created_at, model.id), reverse=True)
        imported = self.imported(wanted)
        rows += [imported[name] for name in sorted(imported) if imported[name].id == name]
        for row in rows:
            yield ListedModel(row.id, row.display_name, row.created_at, row.is_deprecated)

    def _offers(self, model: PricedModel, provider: str) -> bool:
        return provider in (model.providers or self.claude.providers)

    def _conclude(
        self, served: Served, usage: Usage, quotes: tuple[_Quote, ...], main: _Quote, total: Factor
    ) -> Cost:
        rates = _rates_text(main, usage.prompt_tokens)
        charged = ceil(total)
        if usage.unmetered or not all(quote.is_known for quote in quotes):
            return Cost(None, CostStatus.UNPRICED, charged, self.version, rates)
        estimated = not served.is_exact or usage.credit_redeemed or bool(usage.unread)
        estimated = estimated or any(quote.is_estimate for quote in quotes)
        return Cost(
            charged, CostStatus.ESTIMATED if estimated else CostStatus.PRICED, charged, self.version, rates
        )

    def _ceiling(self) -> _Quote:
        return _Quote((Band(-1, self.claude.ceiling),), 1, self.claude.web_search_picodollars, False)

    def _quote(self, served: Served, line: Line) -> _Quote:
        """Find the price of a line's model at the request's endpoint, time and tier; the ceiling if none."""
        asked = normalise(served.profile_model or served.model)
        if asked.is_profile or not line.is_known:
            return self._ceiling()
        ref = normalise(line.model)
        claude = self.claude.models.get(ref.id)
        if claude is not None and self._offers(claude, served.provider):
            return self._claude_quote(served, line, claude, asked)
        row = self.override.row(line.model, ref.id, served.model) if self.override else None
        if row is not None:
            return _Quote((Band(-1, row.over(None)),), 1, self.claude.web_search_picodollars)
        if served.provider in self.claude.providers and ref.id.startswith("claude"):
            return self._ceiling()
        return self._imported_quote(served, line)

    def _claude_quote(self, served: Served, line: Line, model: PricedModel, asked: ModelRef) -> _Quote:
        row = model.row(served.at)
        if row is None:
            return self._ceiling()
        factor = self._claude_factor(served, line, model, asked)
        negotiated = self.override.row(line.model, model.id) if self.override else None
        web_search = self.claude.web_search_picodollars
        if negotiated is not None:
            return _Quote(
                tuple(replace(b, unit=negotiated.over(b.unit)) for b in row.bands), factor, web_search
            )
        multiplier = self._multiplier()
        return _Quote(row.bands, factor * multiplier, web_search * multiplier)

    def _claude_factor(self, served: Served, line: Line, model: PricedModel, asked: ModelRef) -> Factor:
        usage, table = served.usage or Usage(), self.claude
        factor: Factor = 1
        if served.batch or usage.service_tier == "batch":
            factor *= table.batch_factor
        if "residency" in model.factors and served.provider in table.residency_providers:
            factor *= table.residency_factors.get(usage.inference_geo or "", 1)
        if "endpoint" in model.factors:
            endpoint = endpoint_of(served.provider, asked, _endpoint_region(served))
            factor *= table.endpoint_factors.get(served.provider, {}).get(endpoint, 1)
        if line.is_fast:
            factor *= model.fast_factor(served.provider, served.at)
        return factor

    def _imported_quote(self, served: Served, line: Line) -> _Quote:
        models = self.imported(served.provider)
        model = next((models[name] for name in candidates(line.model) if name in models), None)
        row = model.row(served.at) if model else None
        if row is None:
            return self._ceiling()
        tier = "batch" if served.batch else _tier(served.usage or Usage())
        bands, is_estimate = _tier_bands(row, tier)
        multiplier = self._multiplier()
        if bands is None:
            return self._ceiling()
        search = self.claude.web_search_picodollars * multiplier
        return _Quote(bands, multiplier, search, is_estimate=is_estimate)

    def _multiplier(self) -> Factor:
        return self.override.multiplier if self.override and self.override.multiplier is not None else 1


def _endpoint_region(served: Served) -> str | None:
    """An application inference profile of a government partition keeps that endpoint class."""
    if served.profile_model and normalise(served.model).endpoint is Endpoint.GOVERNMENT:
        return "us-gov"
    return served.region


_STANDARD_TIERS = ("", "default", "auto", "standard", "scale", "on_demand")
_CHEAPER_TIERS = ("batch", "flex")


def _tier(usage: Usage) -> str:
    tier = (usage.service_tier or "").lower()
    return "" if tier in _STANDARD_TIERS else tier


def _tier_bands(row: PriceRow, tier: str) -> tuple[Bands | None, bool]:
    """A discounted tier without a price costs at most the standard one; a dearer one is unknown."""
    if not tier:
        return row.bands, False
    if tier in row.tiers:
        return row.tiers[tier], False
    return (row.bands, True) if tier in _CHEAPER_TIERS else (None, False)


def _tokens_cost(counters: Usage | Iteration, unit: UnitPrices) -> int:
    return (
        counters.input_tokens * unit.input
        + counters.output_tokens * unit.output
        + counters.cache_read_tokens * unit.cache_read
        + counters.cache_write_5m_tokens * unit.cache_write_5m
        + counters.cache_write_1h_tokens * unit.cache_write_1h
    )


def _highest(bands: Bands) -> UnitPrices:
    if len(bands) == 1:
        return bands[0].unit
    return UnitPrices(**{name: max(getattr(band.unit, name) for band in bands) for name in TOKEN_CLASSES})


def _rates_text(quote: _Quote, prompt: int) -> dict[str, str]:
    unit = quote.unit(prompt)
    rates = {name: _decimal_text(getattr(unit, name) * quote.factor) for name in TOKEN_CLASSES}
    rates["web_search"] = _decimal_text(quote.web_search)
    return rates


def _decimal_text(value: Factor) -> str:
    """Write a fraction whose denominator divides a power of ten, as every factor here is a decimal."""
    if value.denominator == 1:
        return str(value.numerator)
    with localcontext() as context:
        context.prec = 60
        return f"{Decimal(value.numerator) / Decimal(value.denominator):f}"
