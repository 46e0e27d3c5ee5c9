"""Other APIs' usage objects and streams in Anthropic's terms."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.domain.usage import Usage
from farebox.wire.usage.formats import APIS, Answer, fold_stream, usage_object

Json = dict[str, object]

CHAT: Json = {
    "prompt_tokens": 100,
    "completion_tokens": 40,
    "total_tokens": 140,
    "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 10, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 30, "audio_tokens": 0},
}
FROM_CHAT = Usage(input_tokens=30, cache_read_tokens=60, cache_write_5m_tokens=10, output_tokens=40)
GEMINI: Json = {
    "promptTokenCount": 100,
    "cachedContentTokenCount": 60,
    "toolUsePromptTokenCount": 5,
    "candidatesTokenCount": 40,
    "thoughtsTokenCount": 30,
}
FROM_GEMINI = Usage(input_tokens=45, cache_read_tokens=60, output_tokens=70)


@pytest.mark.parametrize(
    ("api", "usage", "expected"),
    [
        ("chat", CHAT, FROM_CHAT),
        ("chat", {"prompt_tokens": 5, "completion_tokens": 1}, Usage(input_tokens=5, output_tokens=1)),
        (
            "chat",
            {
                "prompt_tokens": 5,
                "completion_tokens": 1,
                "total_tokens": 13,
                "completion_tokens_details": {"reasoning_tokens": 7},
            },
            Usage(input_tokens=5, output_tokens=8),
        ),
        (
            "chat",
            {"prompt_tokens": 5, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 9}},
            Usage(cache_read_tokens=9, output_tokens=1),
        ),
        (
            "chat",
            {"prompt_tokens": 5, "completion_tokens": 1, "prompt_tokens_details": {"audio_tokens": 3}},
            Usage(input_tokens=5, output_tokens=1, unmetered=("input.audio_tokens",), unmetered_tokens=3),
        ),
        (
            "responses",
            {
                "input_tokens": 100,
                "input_tokens_details": {"cached_tokens": 60},
                "output_tokens": 40,
                "output_tokens_details": {"reasoning_tokens": 40},
            },
            Usage(input_tokens=40, cache_read_tokens=60, output_tokens=40),
        ),
        ("generate_content", GEMINI, FROM_GEMINI),
        (
            "generate_content",
            {
                "promptTokenCount": 9,
                "promptTokensDetails": [
                    {"modality": "TEXT", "tokenCount": 5},
                    {"modality": "AUDIO", "tokenCount": 4},
                ],
            },
            Usage(input_tokens=9, unmetered=("prompt.AUDIO",), unmetered_tokens=4),
        ),
        (
            "converse",
            {
                "inputTokens": 1,
                "outputTokens": 2,
                "cacheReadInputTokens": 3,
                "cacheWriteInputTokens": 10,
                "cacheDetails": [{"ttl": "1h", "inputTokens": 4}, {"ttl": "5m", "inputTokens": 6}],
            },
            Usage(
                input_tokens=1,
                cache_read_tokens=3,
                cache_write_5m_tokens=6,
                cache_write_1h_tokens=4,
                output_tokens=2,
            ),
        ),
        (
            "converse",
            {"inputTokens": "7", "outputTokens": 2},
            Usage(output_tokens=2, unread=("inputTokens",)),
        ),
    ],
)
def test_a_usage_object_is_read_into_disjoint_counts(api: str, usage: Json, expected: Usage) -> None:
    assert usage_object(api, usage) == expected


def test_the_tier_told_beside_a_messages_usage_does_not_overrule_it() -> None:
    assert usage_object("messages", {"service_tier": "standard"}, "batch").service_tier == "standard"
    assert usage_object("messages", {}, "batch").service_tier == "batch"


@pytest.mark.parametrize(
    ("api", "events", "expected"),
    [
        (
            "chat",
            [
                {"model": "gpt-5.6-sol", "choices": [{}], "usage": None, "service_tier": "flex"},
                {"model": "gpt-5.6-sol", "choices": [], "usage": CHAT},
            ],
            Answer(
                Usage(
                    input_tokens=30,
                    cache_read_tokens=60,
                    cache_write_5m_tokens=10,
                    output_tokens=40,
                    service_tier="flex",
                ),
                "gpt-5.6-sol",
            ),
        ),
        ("chat", [{"model": "gpt-5.6-sol", "choices": [{}]}], Answer(None, "gpt-5.6-sol", is_final=False)),
        (
            "responses",
            [
                {"type": "response.created", "response": {"model": "gpt-5.6", "usage": None}},
                {"type": "response.output_text.delta", "delta": "x"},
                {
                    "type": "response.completed",
                    "response": {"model": "gpt-5.6-sol", "usage": {"input_tokens": 3, "output_tokens": 4}},
                },
            ],
            Answer(Usage(input_tokens=3, output_tokens=4), "gpt-5.6-sol"),
        ),
        (
            "generate_content",
            [
                {"modelVersion": "gemini-3-pro", "usageMetadata": {**GEMINI, "candidatesTokenCount": 2}},
                {"usageMetadata": {"candidatesTokenCount": 40, "cachedContentTokenCount": None}},
            ],
            Answer(FROM_GEMINI, "gemini-3-pro"),
        ),
        (
            "converse",
            [
                {"messageStart": {"role": "assistant"}},
                {"metadata": {"usage": {"inputTokens": 3, "outputTokens": 4}, "metrics": {}}},
            ],
            Answer(Usage(input_tokens=3, output_tokens=4)),
        ),
        (
            "messages",
            [
                {
                    "type": "message_start",
                    "message": {"model": "m", "usage": {"input_tokens": 3, "output_tokens": 1}},
                },
                {"type": "content_block_start", "content_block": {"type": "text"}},
                {"type": "content_block_delta", "delta": {"text": "abcdef"}},
            ],
            Answer(Usage(input_tokens=3, output_tokens=2), "m", is_final=False),
        ),
    ],
)
def test_a_stream_ends_in_the_usage_its_api_sends_last(
    api: str, events: list[Json], expected: Answer
) -> None:
    assert fold_stream(api, events) == expected


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(
    [*CHAT, *GEMINI, "inputTokens", "cacheDetails", "cacheWriteInputTokens", "promptTokensDetails"]
)


@given(st.sampled_from(APIS), st.dictionaries(names, anything, max_size=6))
def test_no_usage_object_whatever_breaks_a_reader(api: str, usage: Json) -> None:
    read = usage_object(api, usage)
    assert min(read.input_tokens, read.cache_read_tokens, read.cache_write_5m_tokens, read.output_tokens) >= 0


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6))
def test_the_parts_of_a_prompt_add_up_to_it(cached: int, written: int, plain: int, made: int) -> None:
    usage = usage_object(
        "chat",
        {
            "prompt_tokens": cached + written + plain,
            "completion_tokens": made,
            "prompt_tokens_details": {"cached_tokens": cached, "cache_write_tokens": written},
        },
    )
    assert usage == Usage(
        input_tokens=plain, cache_read_tokens=cached, cache_write_5m_tokens=written, output_tokens=made
    )
