"""What a session's last request was counted at makes the next quote close, and never lower than it can be."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from farebox.gateway.charging.known_inputs import ENTRIES_MAX, SLACK_TOKENS, KnownInputs
from farebox.wire.request_body.estimate import text_tokens_bound

KEY = {"key": "key_1", "session": "session", "agent": None, "model": "claude-opus-5-5"}


def said(*texts: str) -> memoryview:
    turns = [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(texts)]
    return memoryview(json.dumps(turns, separators=(",", ":")).encode())


def bound(inputs: KnownInputs, messages: memoryview, *, frame: bytes = b"f", **key: Any) -> int | None:
    parts = {**KEY, **key}
    name = (parts["key"], parts["session"], parts["agent"], parts["model"])
    return inputs.recognise(name, messages, frame)[1]


def learn(inputs: KnownInputs, messages: memoryview, tokens: int, **key: Any) -> None:
    parts = {**KEY, **key}
    name = (parts["key"], parts["session"], parts["agent"], parts["model"])
    inputs.learn(inputs.recognise(name, messages, b"f")[0], tokens)


def learnt(messages: memoryview, tokens: int = 12_000) -> KnownInputs:
    inputs = KnownInputs()
    learn(inputs, messages, tokens)
    return inputs


def test_a_conversation_that_grew_is_quoted_at_its_count_and_the_bytes_since() -> None:
    first, then = said("x" * 40_000, "last"), said("x" * 40_000, "last", "answer", "more")
    since = len(then) - (len(said("x" * 40_000)) - len("]") + len(","))
    assert bound(learnt(first), then) == 12_000 + text_tokens_bound(since) + SLACK_TOKENS


def test_without_a_session_or_before_the_first_answer_nothing_is_known() -> None:
    messages = said("a", "b")
    inputs = KnownInputs()
    inputs.learn(None, 1)
    assert bound(inputs, messages) is None
    assert inputs.recognise(("key_1", None, "agent", "m"), messages, b"f") == (None, None)


def test_a_conversation_that_was_changed_before_its_end_is_not_recognised() -> None:
    first = said(" " * 40_000, "last")
    for other in (said("x" * 40_000, "last"), said(" " * 39_999), said("last")):
        assert bound(learnt(first), other) is None


def test_the_last_message_may_differ_and_counts_by_its_bytes() -> None:
    first, then = said("x" * 40_000, "marked"), said("x" * 40_000, "dense" * 100)
    since = len(then) - len(said("x" * 40_000))
    assert bound(learnt(first), then) == 12_000 + text_tokens_bound(since) + SLACK_TOKENS


def test_callers_sessions_agents_models_and_frames_are_told_apart() -> None:
    messages = said("x" * 1000, "last")
    inputs = learnt(messages, 10)
    for change in ({"key": "key_2"}, {"session": "other"}, {"agent": "a"}, {"model": "m"}, {"frame": b"g"}):
        assert bound(inputs, messages, **change) is None
    assert bound(inputs, messages) is not None


@given(st.lists(st.text(max_size=40), min_size=1, max_size=6), st.lists(st.text(max_size=40), max_size=6))
def test_what_is_recognised_is_quoted_above_what_was_counted(old: list[str], new: list[str]) -> None:
    first, then = said(*old), said(*old, *new)
    counted = len(first) // 4
    quoted = bound(learnt(first, counted), then)
    assert quoted is not None
    assert quoted > counted


def test_the_memory_is_bounded_and_forgets_the_oldest() -> None:
    messages = said("x" * 1000, "last")
    inputs = KnownInputs()
    for number in range(ENTRIES_MAX + 1):
        learn(inputs, messages, 1, session=str(number))
    assert bound(inputs, messages, session="0") is None
    assert bound(inputs, messages, session="1") is not None
