"""What holds for every price: linear, monotonic, never below zero, never above its reservation."""

from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from farebox.domain.price import PriceOverride
from farebox.domain.usage import CostStatus, Iteration, Served, Usage
from tests.domain.price_cases import BOOK

CLASSES = (
    "input_tokens",
    "cache_read_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "output_tokens",
)
BANDED = {"claude-haiku-5-5", "claude-opus-4-6", "claude-sonnet-4-6", "claude-sonnet-4-5"}
MODELS = sorted(set(BOOK.claude.models) - {"claude-demo"})
ENDPOINTS = (
    ("anthropic", "", None),
    ("anthropic-aws", "", None),
    ("foundry", "", None),
    ("bedrock", "global.anthropic.", "us-east-1"),
    ("bedrock", "eu.anthropic.", "eu-west-1"),
    ("bedrock", "anthropic.", "us-east-1"),
    ("bedrock", "us-gov.anthropic.", "us-gov-west-1"),
    ("vertex", "", "global"),
    ("vertex", "", "us-east5"),
)

counts = st.integers(min_value=0, max_value=10**9)
times = st.datetimes(datetime(2026, 1, 1), datetime(2027, 6, 1)).map(lambda at: at.replace(tzinfo=UTC))
usages = st.builds(
    Usage,
    input_tokens=counts,
    cache_read_tokens=counts,
    cache_write_5m_tokens=counts,
    cache_write_1h_tokens=counts,
    output_tokens=counts,
    web_search_requests=st.integers(0, 20),
    speed=st.sampled_from([None, "standard", "fast"]),
    inference_geo=st.sampled_from([None, "us", "global"]),
    service_tier=st.sampled_from([None, "standard", "batch"]),
)


@st.composite
def attempts(draw: st.DrawFn, models: list[str] = MODELS) -> Served:
    provider, prefix, region = draw(st.sampled_from(ENDPOINTS))
    model = prefix + draw(st.sampled_from(models))
    return Served(provider, model, draw(times), draw(usages), region=region)


def amount(served: Served) -> int:
    cost = BOOK.cost(served)
    assert cost.status is CostStatus.PRICED
    assert cost.picodollars is not None
    return cost.picodollars


def used(served: Served) -> Usage:
    assert served.usage is not None
    return served.usage


FLAT = sorted(set(MODELS) - BANDED)


@given(attempts(FLAT), usages)
def test_costs_add_up_like_tokens_do(served: Served, more: Usage) -> None:
    """Claude's prices are whole picodollars even times every factor, so no rounding gets in the way."""
    usage = used(served)
    extra = replace(usage, **{name: getattr(more, name) for name in (*CLASSES, "web_search_requests")})
    both = {name: getattr(usage, name) + getattr(extra, name) for name in (*CLASSES, "web_search_requests")}
    total = amount(replace(served, usage=replace(usage, **both)))
    assert total == amount(served) + amount(replace(served, usage=extra))


@given(attempts(FLAT), st.sampled_from([*CLASSES, "web_search_requests"]), st.integers(1, 10**6))
def test_more_of_any_class_never_costs_less(served: Served, name: str, more: int) -> None:
    usage = used(served)
    assert amount(replace(served, usage=replace(usage, **{name: getattr(usage, name) + more}))) > amount(
        served
    )


@given(attempts(), st.sampled_from([*CLASSES, "web_search_requests"]), st.integers(1, 10**6))
def test_more_of_any_class_never_costs_less_across_bands_either(served: Served, name: str, more: int) -> None:
    usage = used(served)
    assert amount(replace(served, usage=replace(usage, **{name: getattr(usage, name) + more}))) >= amount(
        served
    )


@given(attempts())
def test_the_same_attempt_costs_the_same(served: Served) -> None:
    assert BOOK.cost(served) == BOOK.cost(replace(served))


@given(attempts())
def test_no_answer_costs_more_than_the_rates_it_was_reserved_at(served: Served) -> None:
    usage = used(served)
    rates = BOOK.rates(
        provider=served.provider,
        model=served.model,
        region=served.region,
        at=served.at,
        speed=usage.speed,
        inference_geo=usage.inference_geo,
    )
    bound = usage.web_search_requests * rates.web_search + sum(
        getattr(usage, name) * getattr(rates, name.removesuffix("_tokens")) for name in CLASSES
    )
    assert amount(served) <= bound


@given(attempts(), st.fractions(0, 2, max_denominator=10**6))
def test_a_multiplier_scales_and_rounds_up_once(served: Served, multiplier: Fraction) -> None:
    negotiated = BOOK.with_overrides(PriceOverride(multiplier=multiplier)).cost(served)
    exact = amount(served) * multiplier
    assert negotiated.picodollars == -(-exact.numerator // exact.denominator)


@given(attempts(), st.sampled_from(["compaction", "advisor_message"]), counts, counts)
def test_what_runs_beside_the_answer_adds_its_own_cost(
    served: Served, kind: str, given_: int, made: int
) -> None:
    model = "claude-sonnet-5-5" if kind == "advisor_message" else None
    beside = Iteration(kind, model, input_tokens=given_, output_tokens=made)
    alone = Usage(input_tokens=given_, output_tokens=made)
    alone = replace(alone, inference_geo=used(served).inference_geo, service_tier=used(served).service_tier)
    if kind == "compaction":
        alone = replace(alone, speed=used(served).speed)
    total = amount(replace(served, usage=replace(used(served), iterations=(beside,))))
    separate = amount(replace(served, usage=alone, response_model=model))
    assert total == amount(served) + separate


@given(st.text(max_size=40), st.text(max_size=20), usages)
def test_an_unknown_model_is_never_free(model: str, provider: str, usage: Usage) -> None:
    served = Served(provider, f"nobody/{model}", datetime(2026, 11, 23, tzinfo=UTC), usage)
    cost = BOOK.cost(served)
    assert (cost.picodollars, cost.status) == (None, CostStatus.UNPRICED)
    assert (cost.charged_picodollars > 0) == any(
        getattr(usage, name) for name in (*CLASSES, "web_search_requests")
    )


@pytest.mark.parametrize("model", MODELS)
def test_every_claude_row_is_priced_at_every_time(model: str) -> None:
    row_bounds = [row.start or row.end for row in BOOK.claude.models[model].rows]
    for at in (datetime(2025, 1, 1, tzinfo=UTC), *filter(None, row_bounds), datetime(2030, 1, 1, tzinfo=UTC)):
        assert amount(Served("anthropic", model, at, Usage(output_tokens=1))) > 0
