"""Worked examples of what is billed at all: iterations, fallbacks, refusals, other APIs, several attempts."""

from __future__ import annotations

from tests.cli.cost_examples import FULL, PLAIN, Example, Json, Term, anthropic, iteration, plain

ITERATIONS = [
    Example(
        "a compaction is added",
        anthropic(
            "claude-opus-5-5",
            {**PLAIN, "iterations": [iteration("compaction", 700, 300), iteration("message", 1_000, 1_000)]},
        ),
        plain("4", "20"),
        parts=((((700, "4"), (300, "20")), "1"),),
    ),
    Example(
        "an advisor is added at its model and standard speed",
        anthropic(
            "claude-opus-5-5",
            {
                **PLAIN,
                "speed": "fast",
                "inference_geo": "us",
                "iterations": [
                    iteration("message", 1_000, 1_000),
                    iteration("advisor_message", 500, 100, model="claude-fable-5-2"),
                ],
            },
        ),
        plain("4", "20"),
        "2.2",
        parts=((((500, "8"), (100, "40")), "1.1"),),
    ),
    Example(
        "a fallback: a hop declined for cyber is free",
        anthropic(
            "claude-fable-5-2",
            {
                **PLAIN,
                "iterations": [
                    iteration("message", 900, 1, model="claude-fable-5-2"),
                    iteration("fallback_message", 1_000, 1_000, model="claude-opus-5-5"),
                ],
            },
            fallback_categories=["cyber"],
        ),
        plain("4", "20"),
    ),
    Example(
        "a fallback: a hop declined for bio is billed at its model",
        anthropic(
            "claude-fable-5-2",
            {
                **PLAIN,
                "iterations": [
                    iteration("message", 900, 1, model="claude-fable-5-2"),
                    iteration("fallback_message", 1_000, 1_000, model="claude-opus-5-5"),
                ],
            },
            fallback_categories=["bio"],
        ),
        plain("4", "20"),
        parts=((((900, "8"), (1, "40")), "1"),),
    ),
    Example(
        "a fallback: a hop that declined after some output is billed",
        anthropic(
            "claude-fable-5-2",
            {
                **PLAIN,
                "iterations": [
                    iteration("message", 900, 50, model="claude-fable-5-2"),
                    iteration("fallback_message", 1_000, 1_000, model="claude-opus-5-5"),
                ],
            },
            fallback_categories=["cyber"],
        ),
        plain("4", "20"),
        parts=((((900, "8"), (50, "40")), "1"),),
    ),
    Example(
        "a fallback: the serving model's tool loop is billed, the top level is not",
        anthropic(
            "claude-fable-5-2",
            {
                **PLAIN,
                "iterations": [
                    iteration("message", 900, 0, model="claude-fable-5-2"),
                    iteration("message", 400, 30, model="claude-opus-5-5"),
                    iteration("fallback_message", 600, 970, model="claude-opus-5-5"),
                ],
            },
            fallback_categories=["general_harms"],
        ),
        plain("4", "20"),
    ),
    Example(
        "a redeemed fallback credit is an estimate",
        anthropic("claude-opus-5-5", {**PLAIN, "fallback_credit": {"status": {"type": "redeemed"}}}),
        plain("4", "20"),
        status="estimated",
    ),
]


REFUSED: Json = {"input_tokens": 9_000, "output_tokens": 1}


def refusal(category: str | None, **more: object) -> Json:
    details = {"category": category} if category else None
    ended: Json = {"stop_reason": "refusal", "stop_details": details, "content_empty": True}
    return anthropic("claude-fable-5-2", REFUSED, **{**ended, **more})


REFUSED_TERMS: tuple[Term, ...] = ((9_000, "8"), (1, "40"))
REFUSALS = [
    *(
        Example(f"refused before output for {category}", refusal(category), REFUSED_TERMS)
        for category in ("bio", "frontier_llm", "reasoning_extraction")
    ),
    *(
        Example(f"refused before output for {category}: not billed", refusal(category))
        for category in ("cyber", "general_harms", None, "something_new")
    ),
    Example("refused after some output", refusal("cyber", content_empty=False), REFUSED_TERMS),
    Example("no refusal was billed in summer", refusal("bio", at="2026-09-23T23:00:00Z")),
    Example("the rule begins on 2026-09-24", refusal("bio", at="2026-09-24T00:00:00Z"), REFUSED_TERMS),
    Example("every refusal was billed in spring", refusal("cyber", at="2026-06-01T00:00:00Z"), REFUSED_TERMS),
    Example(
        "not billed on Bedrock either",
        {**refusal("cyber"), "provider": "bedrock", "model": "anthropic.claude-fable-5-2"},
    ),
]

OTHERS = [
    Example("counting tokens is free", anthropic("claude-opus-5-5", FULL, endpoint="count_tokens")),
    Example(
        "writes beyond the split are 5-minute writes",
        anthropic(
            "claude-opus-5-5",
            {
                "input_tokens": 0,
                "output_tokens": 0,
                "cache_creation_input_tokens": 100,
                "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20},
            },
        ),
        ((80, "5"), (20, "8")),
    ),
    Example(
        "1-hour writes never exceed the total",
        anthropic(
            "claude-opus-5-5",
            {
                "input_tokens": 0,
                "output_tokens": 0,
                "cache_creation_input_tokens": 5,
                "cache_creation": {"ephemeral_1h_input_tokens": 20},
            },
        ),
        ((5, "8"),),
    ),
    Example(
        "OpenAI chat: cached and written tokens are part of the prompt",
        {
            "provider": "openai",
            "model": "gpt-5.6-terra",
            "api": "chat",
            "usage": {
                "prompt_tokens": 10_000,
                "completion_tokens": 500,
                "prompt_tokens_details": {"cached_tokens": 6_000, "cache_write_tokens": 1_000},
                "completion_tokens_details": {"reasoning_tokens": 400},
            },
        },
        ((3_000, "2"), (6_000, "0.2"), (1_000, "2.5"), (500, "12")),
    ),
    Example(
        "OpenAI responses, flex",
        {
            "provider": "openai",
            "model": "gpt-5.6-terra-2026-06-01",
            "api": "responses",
            "service_tier": "flex",
            "usage": {
                "input_tokens": 10_000,
                "input_tokens_details": {"cached_tokens": 6_000},
                "output_tokens": 500,
                "output_tokens_details": {"reasoning_tokens": 400},
            },
        },
        ((4_000, "1"), (6_000, "0.1"), (500, "6")),
    ),
    Example(
        "Bedrock Converse",
        {
            "provider": "bedrock",
            "model": "us.anthropic.claude-haiku-4-5-20251001-v1:0",
            "api": "converse",
            "usage": {
                "inputTokens": 100,
                "outputTokens": 50,
                "cacheReadInputTokens": 1_000,
                "cacheWriteInputTokens": 300,
                "cacheDetails": [{"ttl": "5m", "inputTokens": 100}, {"ttl": "1h", "inputTokens": 200}],
            },
        },
        ((100, "1"), (50, "5"), (1_000, "0.1"), (100, "1.25"), (200, "2")),
        "1.1",
    ),
    Example(
        "Gemini: thoughts are output, tool prompts input, cached a part of the prompt",
        {
            "provider": "gemini",
            "model": "models/gemini-2.5-pro",
            "api": "generate_content",
            "usage": {
                "promptTokenCount": 1_000,
                "cachedContentTokenCount": 400,
                "toolUsePromptTokenCount": 50,
                "candidatesTokenCount": 100,
                "thoughtsTokenCount": 25,
            },
        },
        ((650, "1.25"), (400, "0.125"), (125, "10")),
    ),
    Example(
        "attempts are summed, each at its own place",
        {
            "provider": "anthropic",
            "model": "claude-opus-5-5",
            "attempts": [
                {"provider": "anthropic", "model": "claude-opus-5-5", "http_status": 529, "usage": None},
                {"provider": "anthropic", "model": "claude-opus-5-5", "http_status": 200, "usage": PLAIN},
                {
                    "provider": "bedrock",
                    "model": "us.anthropic.claude-opus-5-5",
                    "http_status": 200,
                    "usage": PLAIN,
                },
            ],
        },
        plain("4", "20"),
        "2.1",
    ),
    Example(
        "an attempt that timed out makes an estimate",
        {
            "attempts": [
                {"provider": "anthropic", "model": "claude-opus-5-5", "http_status": None, "usage": None},
                {"provider": "anthropic", "model": "claude-opus-5-5", "http_status": 200, "usage": PLAIN},
            ]
        },
        plain("4", "20"),
        status="estimated",
    ),
]

BILLING_EXAMPLES = [*ITERATIONS, *REFUSALS, *OTHERS]
