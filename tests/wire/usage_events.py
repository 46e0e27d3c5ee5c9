"""Messages streams and the bodies they are equal to, for the fold's tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hypothesis import strategies as st

Json = dict[str, object]

counts = st.integers(min_value=0, max_value=2**63 - 1)
maybe_counts = st.none() | counts
not_counts = st.one_of(
    st.booleans(), st.floats(), st.text(max_size=5), st.integers(max_value=-1), st.just(2**64)
)
splits = st.fixed_dictionaries({"ephemeral_5m_input_tokens": counts, "ephemeral_1h_input_tokens": counts})
iterations = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["message", "compaction", "advisor_message", "fallback_message"]),
        "model": st.sampled_from([None, "claude-opus-5-5", "claude-haiku-5-5"]),
        "input_tokens": counts,
        "output_tokens": counts,
        "cache_read_input_tokens": maybe_counts,
        "cache_creation_input_tokens": maybe_counts,
    }
)
usages: st.SearchStrategy[Json] = st.fixed_dictionaries(
    {"input_tokens": counts, "output_tokens": counts},
    optional={
        "cache_read_input_tokens": maybe_counts,
        "cache_creation_input_tokens": maybe_counts,
        "cache_creation": st.none() | splits,
        "server_tool_use": st.none() | st.fixed_dictionaries({"web_search_requests": maybe_counts}),
        "speed": st.sampled_from([None, "standard", "fast"]),
        "inference_geo": st.sampled_from([None, "us", "global", "not_available"]),
        "service_tier": st.sampled_from([None, "standard", "priority", "batch"]),
        "iterations": st.none() | st.lists(iterations, max_size=3),
    },
)
blocks = st.sampled_from(
    [
        {"type": "text", "text": "hi"},
        {"type": "thinking", "thinking": ""},
        {"type": "fallback", "trigger": {"type": "refusal", "category": "cyber"}},
        {"type": "fallback", "trigger": {"type": "refusal", "category": None}},
    ]
)
messages: st.SearchStrategy[Json] = st.fixed_dictionaries(
    {
        "model": st.sampled_from(["claude-opus-5-5", "claude-haiku-5-5"]),
        "usage": usages,
        "content": st.lists(blocks, max_size=4),
        "stop_reason": st.sampled_from(["end_turn", "refusal", "tool_use"]),
        "stop_details": st.none()
        | st.fixed_dictionaries({"category": st.sampled_from([None, "bio", "cyber"])}),
    }
)


def stream_of(message: Json, in_start: Mapping[str, bool], placeholder: int) -> list[Json]:
    """Tell a message as a stream, as Anthropic does: a start with placeholders, blocks, a final delta.

    `in_start` says for each optional field whether it travels in the start as well; the delta always has it,
    save for what only the start can tell.
    """
    usage = message["usage"]
    assert isinstance(usage, dict)
    only_start = {name: usage[name] for name in ("speed", "inference_geo", "service_tier") if name in usage}
    early = {name: value for name, value in usage.items() if in_start.get(name)}
    early |= only_start | {"output_tokens": placeholder}
    late = {name: value for name, value in usage.items() if name not in only_start}
    content = message["content"]
    assert isinstance(content, Sequence)
    return [
        {"type": "message_start", "message": {"model": message["model"], "usage": early, "content": []}},
        {"type": "ping"},
        *({"type": "content_block_start", "content_block": block} for block in content),
        {
            "type": "message_delta",
            "delta": {"stop_reason": message["stop_reason"], "stop_details": message["stop_details"]},
            "usage": late,
        },
        {"type": "message_stop"},
    ]
