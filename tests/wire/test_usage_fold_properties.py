"""What holds for every Messages answer: stream and body say the same, and nothing odd breaks the fold."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from farebox.wire.usage.fold import UsageFold, fold_message
from tests.wire.usage_events import Json, messages, not_counts, stream_of, usages

FIELDS = (
    "input_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "cache_creation",
    "server_tool_use",
    "iterations",
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=8,
)


@given(messages, st.dictionaries(st.sampled_from(FIELDS), st.booleans()), st.integers(0, 5))
def test_a_stream_says_what_the_equal_body_says(
    message: Json, in_start: dict[str, bool], placeholder: int
) -> None:
    body, stream = fold_message(message), UsageFold()
    for event in stream_of(message, in_start, placeholder):
        stream.event(event)
    assert stream.usage == body.usage
    assert (stream.model, stream.stop_reason, stream.stop_category) == (
        body.model,
        body.stop_reason,
        body.stop_category,
    )
    assert (stream.content_empty, stream.fallback_categories) == (
        body.content_empty,
        body.fallback_categories,
    )
    assert stream.is_final
    assert body.is_final


@given(usages)
def test_the_cache_writes_are_split_without_loss(usage: Json) -> None:
    folded = fold_message({"usage": usage}).usage
    assert folded is not None
    split = usage.get("cache_creation")
    total = usage.get("cache_creation_input_tokens")
    if total is None:
        total = sum(split.values()) if isinstance(split, dict) else 0
    assert folded.cache_write_5m_tokens + folded.cache_write_1h_tokens == total
    assert min(folded.cache_write_5m_tokens, folded.cache_write_1h_tokens) >= 0


@given(usages, st.sampled_from(FIELDS[:3]), not_counts)
def test_a_value_that_is_no_count_never_counts_and_is_noted(usage: Json, field: str, odd: object) -> None:
    odd_one = fold_message({"usage": {**usage, field: odd}}).usage
    missing = fold_message({"usage": {name: value for name, value in usage.items() if name != field}}).usage
    assert odd_one is not None
    assert missing is not None
    assert field in odd_one.unread
    assert (odd_one.input_tokens, odd_one.cache_read_tokens) == (
        missing.input_tokens,
        missing.cache_read_tokens,
    )


@given(
    st.lists(
        st.dictionaries(st.sampled_from(["type", "message", "delta", "usage", "content_block"]), anything)
    )
)
def test_no_event_whatever_breaks_the_fold(events: list[Json]) -> None:
    folded = UsageFold()
    kinds = ("message_start", "message_delta", "content_block_start", "content_block_delta")
    for index, event in enumerate(events):
        folded.event({"type": kinds[index % len(kinds)], **event})
    usage = folded.estimated_usage()
    assert usage is None or min(usage.input_tokens, usage.output_tokens, usage.cache_write_5m_tokens) >= 0


@given(st.dictionaries(st.text(max_size=12) | st.sampled_from([*FIELDS, "output_tokens", "speed"]), anything))
def test_no_usage_object_whatever_breaks_the_fold(usage: Json) -> None:
    folded = fold_message({"usage": usage}).usage
    assert folded is not None
    assert (
        min(folded.input_tokens, folded.output_tokens, folded.cache_read_tokens, folded.unmetered_tokens) >= 0
    )
