"""The fold of a Messages answer: merging, endings, odd values."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from farebox.domain.usage import Iteration, Usage
from farebox.wire.usage.fold import UsageFold, fold_message, usage_from_object

Json = dict[str, object]

START: Json = {
    "type": "message_start",
    "message": {
        "model": "claude-opus-5-5",
        "usage": {
            "input_tokens": 10,
            "output_tokens": 1,
            "cache_read_input_tokens": 7,
            "cache_creation_input_tokens": 100,
            "cache_creation": {"ephemeral_5m_input_tokens": 60, "ephemeral_1h_input_tokens": 40},
            "speed": "fast",
            "inference_geo": "us",
            "service_tier": "standard",
        },
    },
}
STOP: Json = {"type": "message_stop"}


def delta(usage: object, stop_reason: str | None = "end_turn") -> Json:
    return {"type": "message_delta", "delta": {"stop_reason": stop_reason}, "usage": usage}


def fold(*events: Mapping[str, object]) -> UsageFold:
    folded = UsageFold()
    for event in events:
        folded.event(event)
    return folded


def test_the_last_counts_replace_the_first_and_the_start_keeps_what_only_it_tells() -> None:
    folded = fold(START, delta({"input_tokens": 12, "output_tokens": 90}), STOP)
    assert folded.usage == Usage(
        input_tokens=12,
        cache_read_tokens=7,
        cache_write_5m_tokens=60,
        cache_write_1h_tokens=40,
        output_tokens=90,
        speed="fast",
        inference_geo="us",
        service_tier="standard",
    )
    assert (folded.model, folded.stop_reason, folded.is_final, folded.is_complete) == (
        "claude-opus-5-5",
        "end_turn",
        True,
        True,
    )


def test_null_and_missing_keep_and_zero_overwrites() -> None:
    usage = fold(START, delta({"input_tokens": None, "cache_read_input_tokens": 0, "output_tokens": 5})).usage
    assert usage is not None
    assert (usage.input_tokens, usage.cache_read_tokens, usage.output_tokens) == (10, 0, 5)


def test_several_deltas_are_never_added_up() -> None:
    usage = fold(START, delta({"output_tokens": 5}, None), delta({"output_tokens": 9})).usage
    assert usage is not None
    assert usage.output_tokens == 9


@pytest.mark.parametrize(
    ("late", "writes"),
    [
        ({"cache_creation_input_tokens": 90}, (50, 40)),
        ({"cache_creation_input_tokens": 30}, (0, 30)),
        ({"cache_creation": {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 0}}, (100, 0)),
        ({"cache_creation": {"ephemeral_5m_input_tokens": 90, "ephemeral_1h_input_tokens": 60}}, (90, 60)),
        ({"cache_creation": {"ephemeral_5m_input_tokens": 1, "ephemeral_1h_input_tokens": 2}}, (98, 2)),
        ({"cache_creation": None, "cache_creation_input_tokens": None}, (60, 40)),
    ],
)
def test_cache_writes_of_the_delta_meet_those_of_the_start(late: Json, writes: tuple[int, int]) -> None:
    usage = fold(START, delta({"output_tokens": 5, **late})).usage
    assert usage is not None
    assert (usage.cache_write_5m_tokens, usage.cache_write_1h_tokens) == writes


def test_iterations_and_searches_are_the_last_ones() -> None:
    entry = {"type": "advisor_message", "model": "claude-fable-5-2", "input_tokens": 3, "output_tokens": 4}
    late = {"output_tokens": 5, "iterations": [entry], "server_tool_use": {"web_search_requests": 2}}
    usage = fold(
        START, delta({"output_tokens": 2, "server_tool_use": {"web_search_requests": 1}}), delta(late)
    ).usage
    assert usage is not None
    assert usage.iterations == (
        Iteration("advisor_message", "claude-fable-5-2", input_tokens=3, output_tokens=4),
    )
    assert usage.web_search_requests == 2


def test_a_stream_that_breaks_off_is_not_final_and_its_output_is_estimated_from_what_arrived() -> None:
    text = {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "abcdefgh"}}
    thinking = {"type": "content_block_delta", "delta": {"type": "thinking_delta", "thinking": "ä"}}
    folded = fold(START, text, thinking)
    usage, estimated = folded.usage, folded.estimated_usage()
    assert usage is not None
    assert estimated is not None
    assert (folded.is_final, usage.output_tokens, estimated.output_tokens) == (False, 1, 4)
    assert UsageFold().estimated_usage() is None


def test_counts_before_the_stop_reason_are_not_final_yet() -> None:
    early = fold(START, delta({"output_tokens": 5}, None))
    assert not early.is_final
    early.event(STOP)
    assert early.is_final


def test_a_delta_without_an_output_count_leaves_the_placeholder_unconfirmed() -> None:
    assert not fold(START, delta({}), STOP).is_final
    assert not fold(START, delta(None), STOP).is_final


def test_bedrock_metrics_fill_what_is_missing_and_overrule_nothing() -> None:
    metrics = {"inputTokenCount": 99, "outputTokenCount": 44, "cacheReadInputTokenCount": 6}
    stop = {**STOP, "amazon-bedrock-invocationMetrics": metrics}
    small: Json = {"type": "message_start", "message": {"usage": {"input_tokens": 10, "output_tokens": 1}}}
    without_delta, with_delta = fold(small, stop), fold(small, delta({"output_tokens": 50}), stop)
    assert without_delta.usage == Usage(input_tokens=10, cache_read_tokens=6, output_tokens=44)
    assert with_delta.usage == Usage(input_tokens=10, cache_read_tokens=6, output_tokens=50)
    assert without_delta.is_final


def test_content_is_empty_until_the_answering_model_says_something() -> None:
    def block(**fields: object) -> Json:
        return {"type": "content_block_start", "content_block": fields}

    declined = block(type="fallback", trigger={"type": "refusal", "category": "bio"})
    assert fold(START).content_empty
    assert not fold(START, block(type="text")).content_empty
    folded = fold(START, block(type="text"), declined)
    assert (folded.content_empty, folded.fallback_categories) == (True, ("bio",))
    assert not fold(START, declined, block(type="tool_use")).content_empty


def test_the_refusal_category_comes_with_the_stop_reason() -> None:
    ending = {"stop_reason": "refusal", "stop_details": {"type": "refusal", "category": "cyber"}}
    folded = fold(START, {"type": "message_delta", "delta": ending, "usage": {"output_tokens": 1}})
    assert (folded.stop_reason, folded.stop_category) == ("refusal", "cyber")


@pytest.mark.parametrize("odd", [True, 1.0, float("nan"), "5", -1, 2**63, [], {}])
def test_what_is_not_a_count_is_passed_over_and_noted(odd: object) -> None:
    usage = fold(START, delta({"input_tokens": odd, "output_tokens": 5})).usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, usage.unread) == (10, 5, ("input_tokens",))


def test_an_unknown_kind_of_token_is_noted_and_never_free() -> None:
    usage = usage_from_object(
        {
            "input_tokens": 1,
            "output_tokens": 1,
            "hologram_tokens": 9,
            "quiet_tokens": 0,
            "thinking_tokens": 1,
            "output_tokens_details": {"thinking_tokens": 1},
            "cache_creation_input_tokens": 4,
            "cache_creation": {"ephemeral_24h_input_tokens": 4},
        }
    )
    assert usage.unmetered == ("cache_creation.ephemeral_24h_input_tokens", "hologram_tokens")
    assert usage.unmetered_tokens == 13


def test_an_unknown_kind_of_token_that_is_no_count_is_noted_too() -> None:
    usage = usage_from_object({"cache_creation": {"ephemeral_24h_input_tokens": "many"}})
    assert usage == Usage(unread=("cache_creation.ephemeral_24h_input_tokens",))


def test_a_message_without_usage_has_none() -> None:
    folded = fold_message({"type": "error", "error": {"type": "overloaded_error"}})
    assert (folded.usage, folded.is_final) == (None, False)


def test_bedrock_metrics_without_an_output_count_confirm_nothing() -> None:
    folded = fold({**STOP, "amazon-bedrock-invocationMetrics": {"inputTokenCount": 3}})
    assert (folded.usage, folded.is_final) == (Usage(input_tokens=3), False)


def test_a_redeemed_credit_is_seen() -> None:
    assert usage_from_object({"fallback_credit": {"status": {"type": "redeemed"}}}).credit_redeemed
    assert not usage_from_object({"fallback_credit": {"status": {"type": "not_applied"}}}).credit_redeemed
