"""Worked examples of prices and factors: records as `farebox cost` reads them, summed by hand.

The expected amount is the sum of `tokens * USD per million` times the factors, in decimals, and web searches.
The numbers come from the published price pages, not from farebox's data.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import ROUND_CEILING, Decimal

Json = dict[str, object]
Term = tuple[int, str]

MILLION = Decimal(10**6)


@dataclass(frozen=True)
class Example:
    """`terms` are (tokens, USD per million); `parts` are further such sums with their own factor."""

    name: str
    record: Json
    terms: tuple[Term, ...] = ()
    factor: str = "1"
    usd: str = "0"
    parts: tuple[tuple[tuple[Term, ...], str], ...] = field(default=())
    status: str = "priced"

    def picodollars(self) -> int:
        total = Decimal(self.usd)
        for terms, factor in ((self.terms, self.factor), *self.parts):
            total += (
                sum((Decimal(count) * Decimal(price) for count, price in terms), Decimal(0))
                / MILLION
                * Decimal(factor)
            )
        return int((total * 10**12).to_integral_value(ROUND_CEILING))


def anthropic(model: str, usage: Json, **more: object) -> Json:
    return {
        "id": "x",
        "provider": "anthropic",
        "model": model,
        "at": "2026-11-23T12:00:00Z",
        "usage": usage,
        **more,
    }


def bedrock(model: str, usage: Json, **more: object) -> Json:
    return {**anthropic(model, usage, **more), "provider": "bedrock"}


def vertex(model: str, region: str, usage: Json, **more: object) -> Json:
    return {**anthropic(model, usage, **more), "provider": "vertex", "region": region}


def iteration(kind: str, given: int, made: int, **more: object) -> Json:
    counts = {"cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
    return {"type": kind, "input_tokens": given, "output_tokens": made, **counts, **more}


FULL: Json = {
    "input_tokens": 1_000,
    "output_tokens": 2_000,
    "cache_read_input_tokens": 30_000,
    "cache_creation_input_tokens": 5_000,
    "cache_creation": {"ephemeral_5m_input_tokens": 4_000, "ephemeral_1h_input_tokens": 1_000},
}
PLAIN: Json = {"input_tokens": 1_000, "output_tokens": 1_000}


def full(given: str, made: str, write_5m: str, write_1h: str, read: str) -> tuple[Term, ...]:
    return ((1_000, given), (2_000, made), (4_000, write_5m), (1_000, write_1h), (30_000, read))


def plain(given: str, made: str) -> tuple[Term, ...]:
    return ((1_000, given), (1_000, made))


FABLE_52 = full("8", "40", "10", "16", "0.20")
FABLE_51 = full("10", "50", "12.5", "20", "0.25")
FABLE_5 = full("10", "50", "12.5", "20", "1")
OPUS_55 = full("4", "20", "5", "8", "0.2")
OPUS_5 = full("5", "25", "6.25", "10", "0.5")
SONNET_55 = full("2", "10", "2.5", "4", "0.1")
SONNET_5 = full("2", "10", "2.5", "4", "0.2")
SONNET_46 = full("3", "15", "3.75", "6", "0.3")
HAIKU_45 = full("1", "5", "1.25", "2", "0.1")
HAIKU_55 = full("0.1", "0.5", "0.125", "0.2", "0.01")
OPUS_41 = full("15", "75", "18.75", "30", "1.5")

BASE_PRICES = [
    Example(model, anthropic(model, FULL), terms)
    for model, terms in (
        ("claude-fable-5-2", FABLE_52),
        ("claude-mythos-5-2", FABLE_52),
        ("claude-fable-5-1", FABLE_51),
        ("claude-mythos-5-1", FABLE_51),
        ("claude-fable-5", FABLE_5),
        ("claude-mythos-5", FABLE_5),
        ("claude-opus-5-5", OPUS_55),
        ("claude-opus-5", OPUS_5),
        ("claude-opus-4-8", OPUS_5),
        ("claude-opus-4-7", OPUS_5),
        ("claude-opus-4-6", OPUS_5),
        ("claude-opus-4-5-20251101", OPUS_5),
        ("claude-sonnet-5-5", SONNET_55),
        ("claude-sonnet-5", SONNET_5),
        ("claude-sonnet-4-6", SONNET_46),
        ("claude-sonnet-4-5-20250929", SONNET_46),
        ("claude-haiku-5-5", HAIKU_55),
        ("claude-haiku-4-5-20251001", HAIKU_45),
        ("claude-opus-4-1", OPUS_41),
    )
]

DATED = [
    Example(
        "Sonnet 5.5 reads on the last dear day",
        anthropic("claude-sonnet-5-5", FULL, at="2026-10-06T23:59:59.999Z"),
        SONNET_5,
    ),
    Example(
        "Sonnet 5.5 reads on the first cheap day",
        anthropic("claude-sonnet-5-5", FULL, at="2026-10-07T00:00:00Z"),
        SONNET_55,
    ),
    Example(
        "the same instant in another time zone",
        anthropic("claude-sonnet-5-5", FULL, at="2026-10-07T01:59:00+02:00"),
        SONNET_5,
    ),
    Example(
        "Opus 4.6 above 200,000 tokens before 2026-03-13",
        anthropic(
            "claude-opus-4-6", {"input_tokens": 200_001, "output_tokens": 10}, at="2026-03-12T00:00:00Z"
        ),
        ((200_001, "10"), (10, "37.5")),
    ),
    Example(
        "Opus 4.6 above 200,000 tokens since",
        anthropic(
            "claude-opus-4-6", {"input_tokens": 200_001, "output_tokens": 10}, at="2026-03-13T00:00:00Z"
        ),
        ((200_001, "5"), (10, "25")),
    ),
]

FAST: Json = {**FULL, "speed": "fast"}
MODIFIERS = [
    Example("served fast", anthropic("claude-opus-5-5", FAST), OPUS_55, "2"),
    Example(
        "asked for fast and served standard",
        anthropic("claude-opus-5-5", {**FULL, "speed": "standard"}, request={"speed": "fast"}),
        OPUS_55,
    ),
    Example("fast Opus 4.8 today", anthropic("claude-opus-4-8", FAST), OPUS_5, "2"),
    Example(
        "fast Opus 4.8 after it ended", anthropic("claude-opus-4-8", FAST, at="2026-11-30T00:00:00Z"), OPUS_5
    ),
    Example("no fast price on Bedrock", bedrock("global.anthropic.claude-opus-5-5", FAST), OPUS_55),
    Example("fast Fable 5.2 on Vertex", vertex("claude-fable-5-2", "global", FAST), FABLE_52, "2"),
    Example("batch", anthropic("claude-opus-5-5", {**FULL, "service_tier": "batch"}), OPUS_55, "0.5"),
    Example(
        "batch told beside the usage",
        anthropic("claude-opus-5-5", FULL, service_tier="batch"),
        OPUS_55,
        "0.5",
    ),
    Example(
        "priority keeps the list price",
        anthropic("claude-opus-5-5", {**FULL, "service_tier": "priority"}),
        OPUS_55,
    ),
    Example("US inference", anthropic("claude-opus-5-5", {**FULL, "inference_geo": "us"}), OPUS_55, "1.1"),
    Example("global inference", anthropic("claude-opus-5-5", {**FULL, "inference_geo": "global"}), OPUS_55),
    Example(
        "no US premium before 4.6", anthropic("claude-opus-4-5", {**FULL, "inference_geo": "us"}), OPUS_5
    ),
    Example(
        "batch in the US",
        anthropic("claude-haiku-5-5", {**FULL, "inference_geo": "us", "service_tier": "batch"}),
        HAIKU_55,
        "0.55",
    ),
    Example(
        "fast in the US, searches not multiplied",
        anthropic(
            "claude-opus-5", {**FAST, "inference_geo": "us", "server_tool_use": {"web_search_requests": 3}}
        ),
        OPUS_5,
        "2.2",
        usd="0.03",
    ),
    Example(
        "fetches are free",
        anthropic(
            "claude-haiku-4-5",
            {**PLAIN, "server_tool_use": {"web_search_requests": 1, "web_fetch_requests": 9}},
        ),
        plain("1", "5"),
        usd="0.01",
    ),
    Example(
        "US inference on Claude Platform on AWS",
        {**anthropic("claude-sonnet-5", {**PLAIN, "inference_geo": "us"}), "provider": "anthropic-aws"},
        plain("2", "10"),
        "1.1",
    ),
    Example("Foundry", {**anthropic("claude-sonnet-5", PLAIN), "provider": "foundry"}, plain("2", "10")),
]

ENDPOINTS = [
    Example("Bedrock global", bedrock("global.anthropic.claude-opus-5-5-v1:0", FULL), OPUS_55),
    Example("Bedrock us", bedrock("us.anthropic.claude-opus-5-5-v1", FULL), OPUS_55, "1.1"),
    Example("Bedrock bare", bedrock("anthropic.claude-sonnet-4-5-20250929-v1:0", FULL), SONNET_46, "1.1"),
    Example("Bedrock apac", bedrock("apac.anthropic.claude-haiku-4-5-20251001-v1:0", FULL), HAIKU_45, "1.1"),
    Example("Bedrock government", bedrock("us-gov.anthropic.claude-sonnet-5-5", FULL), SONNET_55, "1.2"),
    Example(
        "Bedrock, older than the premium",
        bedrock("us.anthropic.claude-opus-4-1-20250805-v1:0", FULL),
        OPUS_41,
    ),
    Example(
        "the response's model at the request's endpoint",
        bedrock("eu.anthropic.claude-fable-5-2", FULL, response_model="claude-opus-5-5"),
        OPUS_55,
        "1.1",
    ),
    Example(
        "inference profile by ARN",
        bedrock("arn:aws:bedrock:eu-west-1:1:inference-profile/eu.anthropic.claude-opus-5-5", FULL),
        OPUS_55,
        "1.1",
    ),
    Example(
        "application inference profile with its model",
        bedrock(
            "arn:aws:bedrock:us-east-1:1:application-inference-profile/a1b2",
            FULL,
            profile_model="global.anthropic.claude-sonnet-5-5",
        ),
        SONNET_55,
    ),
    Example("Vertex global", vertex("claude-opus-5-5@20260915", "global", FULL), OPUS_55),
    Example("Vertex regional", vertex("claude-opus-5-5@default", "us-east5", FULL), OPUS_55, "1.1"),
    Example("Vertex multi-region", vertex("claude-haiku-4-5@20251001", "eu", FULL), HAIKU_45, "1.1"),
    Example(
        "Vertex regional batch",
        vertex("claude-sonnet-4-6", "us-east5", FULL, service_tier="batch"),
        SONNET_46,
        "0.55",
    ),
    Example("Vertex, older than the premium", vertex("claude-opus-4-1@20250805", "us-east5", FULL), OPUS_41),
]

BANDS = [
    Example(
        "Haiku 5.5 at exactly 100,000",
        anthropic(
            "claude-haiku-5-5",
            {"input_tokens": 60_000, "cache_read_input_tokens": 40_000, "output_tokens": 10},
        ),
        ((60_000, "0.1"), (40_000, "0.01"), (10, "0.5")),
    ),
    Example(
        "Haiku 5.5 one token above: everything moves",
        anthropic(
            "claude-haiku-5-5",
            {
                "input_tokens": 60_000,
                "cache_read_input_tokens": 40_000,
                "cache_creation_input_tokens": 1,
                "output_tokens": 10,
            },
        ),
        ((60_000, "0.5"), (40_000, "0.05"), (1, "0.625"), (10, "2.5")),
    ),
    Example(
        "Haiku 5.5 by iteration when they add up",
        anthropic(
            "claude-haiku-5-5",
            {
                "input_tokens": 160_000,
                "output_tokens": 30,
                "iterations": [iteration("message", 40_000, 10), iteration("message", 120_000, 20)],
            },
        ),
        ((40_000, "0.1"), (10, "0.5"), (120_000, "0.5"), (20, "2.5")),
    ),
    Example(
        "Haiku 5.5 by the whole prompt when they do not",
        anthropic(
            "claude-haiku-5-5",
            {"input_tokens": 160_001, "output_tokens": 30, "iterations": [iteration("message", 40_000, 30)]},
        ),
        ((160_001, "0.5"), (30, "2.5")),
    ),
]

PRICE_EXAMPLES = [*BASE_PRICES, *DATED, *MODIFIERS, *ENDPOINTS, *BANDS]
