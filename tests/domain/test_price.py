"""The price book: what is known, what is not, what is estimated, and what a reservation has to assume."""

from __future__ import annotations

from fractions import Fraction

import pytest
from msgspec.structs import replace

from farebox.domain.price import ListedModel, PriceOverride, Rates
from farebox.domain.price.override import OverrideRow
from farebox.domain.price.table import per_token, read_imported
from farebox.domain.usage import Cost, CostStatus, Iteration, Usage
from tests.domain.price_cases import BOOK, NOW, day, served

USAGE = Usage(
    input_tokens=1_000,
    cache_read_tokens=30_000,
    cache_write_5m_tokens=4_000,
    cache_write_1h_tokens=1_000,
    output_tokens=2_000,
)
OPUS_55_PICODOLLARS = (
    1_000 * 4_000_000 + 30_000 * 200_000 + 4_000 * 5_000_000 + 1_000 * 8_000_000 + 2_000 * 20_000_000
)


def test_a_cost_names_its_amount_its_rates_and_its_version() -> None:
    assert BOOK.cost(served(USAGE)) == Cost(
        picodollars=OPUS_55_PICODOLLARS,
        status=CostStatus.PRICED,
        charged_picodollars=OPUS_55_PICODOLLARS,
        price_version=BOOK.version,
        rates={
            "input": "4000000",
            "output": "20000000",
            "cache_read": "200000",
            "cache_write_5m": "5000000",
            "cache_write_1h": "8000000",
            "web_search": "10000000000",
        },
    )


@pytest.mark.parametrize(
    "model",
    [
        "claude-opus-9",
        "claude-fable-5-3",
        "claude-fable-5-2-pro",
        "claude-fable",
        "claude-mythos-preview",
        "claude-demo",
        "gpt-5.6",
        "",
        "arn:aws:bedrock:us-east-1:1:application-inference-profile/abc",
    ],
)
@pytest.mark.parametrize("provider", ["anthropic", "bedrock", "vertex", "foundry", "anthropic-aws"])
def test_an_unknown_model_is_unpriced_and_charged_at_the_ceiling(provider: str, model: str) -> None:
    cost = BOOK.cost(served(USAGE, provider=provider, model=model))
    ceiling = 31_000 * 10_000_000 + 4_000 * 12_500_000 + 1_000 * 20_000_000 + 2_000 * 50_000_000
    assert (cost.picodollars, cost.status, cost.charged_picodollars) == (None, CostStatus.UNPRICED, ceiling)


def test_an_unknown_response_model_does_not_borrow_the_requested_price() -> None:
    cost = BOOK.cost(served(USAGE, response_model="claude-opus-5-6"))
    assert cost.status is CostStatus.UNPRICED


def test_a_profile_without_its_model_stays_unpriced_whatever_the_response_says() -> None:
    profile = "arn:aws:bedrock:us-east-1:1:application-inference-profile/abc"
    unmapped = served(USAGE, provider="bedrock", model=profile, response_model="claude-opus-5-5")
    mapped = replace(unmapped, profile_model="anthropic.claude-opus-5-5")
    assert BOOK.cost(unmapped).status is CostStatus.UNPRICED
    assert BOOK.cost(mapped).picodollars == OPUS_55_PICODOLLARS * 11 // 10


def test_a_government_profile_keeps_its_premium() -> None:
    profile = "arn:aws-us-gov:bedrock:us-gov-west-1:1:application-inference-profile/abc"
    cost = BOOK.cost(
        served(USAGE, provider="bedrock", model=profile, profile_model="anthropic.claude-opus-5-5")
    )
    assert cost.picodollars == OPUS_55_PICODOLLARS * 12 // 10


def test_a_counter_of_an_unknown_kind_makes_the_cost_unpriced_and_is_charged() -> None:
    cost = BOOK.cost(served(replace(USAGE, unmetered=("audio_tokens",), unmetered_tokens=7)))
    assert (cost.picodollars, cost.status) == (None, CostStatus.UNPRICED)
    assert cost.charged_picodollars == OPUS_55_PICODOLLARS + 7 * 50_000_000


def test_an_iteration_of_an_unknown_kind_makes_the_cost_unpriced_and_is_charged() -> None:
    strange = Iteration("reflection", input_tokens=3, output_tokens=5)
    cost = BOOK.cost(served(replace(USAGE, iterations=(strange,))))
    assert (cost.picodollars, cost.status) == (None, CostStatus.UNPRICED)
    assert cost.charged_picodollars == OPUS_55_PICODOLLARS + 3 * 10_000_000 + 5 * 50_000_000


def test_an_unknown_advisor_makes_the_whole_request_unpriced() -> None:
    advisor = Iteration("advisor_message", "claude-sage-1", output_tokens=5)
    cost = BOOK.cost(served(replace(USAGE, iterations=(advisor,))))
    assert (cost.picodollars, cost.charged_picodollars) == (None, OPUS_55_PICODOLLARS + 5 * 50_000_000)


@pytest.mark.parametrize(
    "uncertain",
    [
        replace(served(USAGE), is_exact=False),
        served(replace(USAGE, credit_redeemed=True)),
        served(replace(USAGE, unread=("output_tokens",))),
    ],
)
def test_what_is_only_a_lower_bound_is_an_estimate(uncertain: object) -> None:
    cost = BOOK.cost(uncertain)  # type: ignore[arg-type]  # pytest's parameters are untyped
    assert (cost.picodollars, cost.status) == (OPUS_55_PICODOLLARS, CostStatus.ESTIMATED)


def test_an_attempt_without_usage_costs_nothing_and_says_how_sure_that_is() -> None:
    refused = replace(served(), usage=None)
    timed_out = replace(refused, is_exact=False)
    assert BOOK.cost(refused) == Cost(0, CostStatus.PRICED, 0, BOOK.version)
    assert BOOK.cost(timed_out) == Cost(0, CostStatus.ESTIMATED, 0, BOOK.version)


def test_rates_are_the_highest_band_at_the_endpoint_asked_for() -> None:
    rates = BOOK.rates(provider="bedrock", model="us.anthropic.claude-haiku-5-5", region="us-east-1", at=NOW)
    assert rates == Rates(
        input=550_000,
        cache_read=55_000,
        cache_write_5m=687_500,
        cache_write_1h=1_100_000,
        output=2_750_000,
        web_search=10_000_000_000,
        is_known=True,
    )


def test_rates_follow_what_the_request_asks_for() -> None:
    rates = BOOK.rates(
        provider="anthropic", model="claude-opus-5-5", region=None, at=NOW, speed="fast", inference_geo="us"
    )
    assert (rates.input, rates.output, rates.web_search) == (8_800_000, 44_000_000, 10_000_000_000)


def test_rates_for_vertex_without_a_region_assume_a_regional_endpoint() -> None:
    unknown, worldwide = (
        BOOK.rates(provider="vertex", model="claude-opus-5-5", region=region, at=NOW)
        for region in (None, "global")
    )
    assert (unknown.input, worldwide.input) == (4_400_000, 4_000_000)


def test_rates_for_an_unknown_model_are_the_ceiling() -> None:
    assert BOOK.rates(provider="anthropic", model="claude-opus-9", region=None, at=NOW) == Rates(
        input=10_000_000,
        cache_read=10_000_000,
        cache_write_5m=12_500_000,
        cache_write_1h=20_000_000,
        output=50_000_000,
        web_search=10_000_000_000,
        is_known=False,
    )


def test_rates_are_dated() -> None:
    before, since = (
        BOOK.rates(provider="anthropic", model="claude-sonnet-5-5", region=None, at=day(text)).cache_read
        for text in ("2026-10-06", "2026-10-07")
    )
    assert (before, since) == (200_000, 100_000)


def test_a_time_without_a_row_is_unpriced() -> None:
    model = BOOK.claude.models["claude-opus-5-5"]
    later = replace(model, rows=(replace(model.rows[0], start=day("2026-12-01")),))
    book = replace(BOOK, claude=replace(BOOK.claude, models={later.id: later}))
    costs = [book.cost(served(USAGE, at=at)).picodollars for at in (NOW, day("2026-12-01"))]
    assert costs == [None, OPUS_55_PICODOLLARS]


@pytest.mark.parametrize("usd", ["0.0000001", "-1", "one", "inf"])
def test_a_price_that_is_not_whole_picodollars_is_refused(usd: str) -> None:
    with pytest.raises(ValueError, match="USD"):
        per_token(usd)


@pytest.mark.parametrize(
    "models",
    [[], {"gpt": []}, {"gpt": {"source": "s", "prices": "1"}}, {"gpt": {"source": "s", "prices": [1]}}],
)
def test_a_document_of_another_shape_is_refused(models: object) -> None:
    with pytest.raises(ValueError, match="is not a"):
        read_imported({"as_of": "2026-11-23", "models": models})


def test_a_multiplier_is_exact_and_rounded_up_once() -> None:
    book = BOOK.with_overrides(PriceOverride(multiplier=Fraction("0.333333333")))
    cost = book.cost(served(Usage(input_tokens=1, output_tokens=1, web_search_requests=1)))
    exact = (4_000_000 + 20_000_000 + 10_000_000_000) * Fraction("0.333333333")
    assert cost.picodollars == -(-exact.numerator // exact.denominator)
    assert cost.rates["input"] == "1333333.332"


def test_a_negotiated_row_keeps_the_list_where_it_is_silent_and_the_factors_everywhere() -> None:
    row = OverrideRow(input=3_000_000, output=15_000_000)
    book = BOOK.with_overrides(PriceOverride(multiplier=Fraction(1, 2), rows={"claude-opus-5-5": row}))
    cost = book.cost(served(USAGE, batch=True))
    full = 1_000 * 3_000_000 + 30_000 * 200_000 + 4_000 * 5_000_000 + 1_000 * 8_000_000 + 2_000 * 15_000_000
    assert cost.picodollars == full // 2


def test_a_negotiated_row_prices_a_model_that_no_list_has() -> None:
    book = BOOK.with_overrides(
        PriceOverride(rows={"house-model": OverrideRow(input=2, output=3, cache_read=1)})
    )
    asked = served(USAGE, provider="openai-compatible", model="House-Model", response_model="house-model-q4")
    cost = book.cost(asked)
    assert cost.picodollars == 1_000 * 2 + 30_000 * 1 + 5_000 * 2 + 2_000 * 3
    assert BOOK.cost(asked).status is CostStatus.UNPRICED


def test_a_multiplier_does_not_make_an_unknown_model_known() -> None:
    book = BOOK.with_overrides(PriceOverride(multiplier=Fraction(1, 2)))
    cost = book.cost(served(USAGE, model="claude-opus-9"))
    assert cost == replace(BOOK.cost(served(USAGE, model="claude-opus-9")), price_version=book.version)


def test_overrides_show_in_the_version() -> None:
    half, third = (BOOK.with_overrides(PriceOverride(multiplier=Fraction(1, n))).version for n in (2, 3))
    assert len({BOOK.version, half, third}) == 3
    assert BOOK.with_overrides(None) is BOOK


def test_imported_prices_are_banded_dated_and_tiered() -> None:
    usage = Usage(input_tokens=272_001, output_tokens=10)
    costs = [
        BOOK.cost(served(each, provider="openai", model="gpt-5.6", at=at)).picodollars
        for each, at in (
            (Usage(input_tokens=272_000, output_tokens=10), NOW),
            (usage, NOW),
            (replace(usage, service_tier="priority"), NOW),
            (usage, day("2026-08-20")),
        )
    ]
    assert costs == [
        272_000 * 4_000_000 + 10 * 20_000_000,
        272_001 * 8_000_000 + 10 * 30_000_000,
        272_001 * 16_000_000 + 10 * 60_000_000,
        272_001 * 10_000_000 + 10 * 45_000_000,
    ]


def test_a_dearer_tier_without_a_price_is_unpriced_and_a_cheaper_one_an_estimate() -> None:
    statuses = [
        BOOK.cost(served(replace(USAGE, service_tier=tier), provider="groq", model="gemma2-9b-it")).status
        for tier in ("default", "flex", "priority")
    ]
    assert statuses == [CostStatus.PRICED, CostStatus.ESTIMATED, CostStatus.UNPRICED]


def test_an_imported_model_is_found_by_resource_name_and_snapshot_but_not_by_prefix() -> None:
    statuses = {
        name: BOOK.cost(served(USAGE, provider=provider, model=name)).status
        for provider, name in (
            ("gemini", "models/gemini-2.5-pro"),
            ("openai", "gpt-5.6-terra-2026-06-01"),
            ("openai", "gpt-5.6-terra-turbo"),
            ("openai", "gpt-5.6-ter"),
        )
    }
    assert statuses == {
        "models/gemini-2.5-pro": CostStatus.PRICED,
        "gpt-5.6-terra-2026-06-01": CostStatus.PRICED,
        "gpt-5.6-terra-turbo": CostStatus.UNPRICED,
        "gpt-5.6-ter": CostStatus.UNPRICED,
    }


def test_models_are_listed_newest_first_with_their_dates() -> None:
    listed = list(BOOK.models())
    assert listed[-1] == ListedModel("claude-opus-4-1", "Claude Opus 4.1", "2025-08-05T00:00:00Z", True)
    assert [model.created_at for model in listed] == sorted(
        (model.created_at for model in listed), reverse=True
    )
    assert {model.id for model in listed} == set(BOOK.claude.models) - {"claude-demo"}
    assert [model.id for model in BOOK.models("demo")] == ["claude-demo"]


def test_models_of_a_vendor_are_its_table() -> None:
    listed = {model.id: model for model in BOOK.models("openai")}
    assert listed["gpt-4o"] == ListedModel("gpt-4o", "gpt 4o", "1970-01-01T00:00:00Z", False)
    assert "gpt-4o-2024-11-20" not in listed


def test_the_demo_model_has_a_price_of_its_own() -> None:
    cost = BOOK.cost(served(Usage(input_tokens=10, output_tokens=1), provider="demo", model="claude-demo"))
    assert cost.picodollars == 10 * 2_000_000 + 10_000_000


@pytest.mark.parametrize(
    ("name", "provider"),
    [
        ("Anthropic", "anthropic"),
        ("vertex_ai", "vertex"),
        ("google", "gemini"),
        ("azure", "azure-openai"),
        ("xai", "x-ai"),
    ],
)
def test_providers_answer_to_their_usual_names(name: str, provider: str) -> None:
    assert BOOK.provider_named(name) == provider
