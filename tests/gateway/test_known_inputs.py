"""What a session's last request was counted at makes the next quote close, and never lower than it can be."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from farebox.domain.plan import Conversation
from farebox.gateway.charging.known_inputs import ENTRIES_MAX, SLACK_TOKENS, KnownInputs, conversation_of
from farebox.wire.input_estimate import text_tokens_bound

KEY = ("key_1", "session", None, "claude-opus-5-5")
BOUND = 37_000


def said(*texts: str) -> memoryview:
    turns = [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(texts)]
    return memoryview(json.dumps(turns, separators=(",", ":")).encode())


def conversation(messages: memoryview, *, frame: int = 1, **key: Any) -> Conversation:
    parts = dict(zip(("key", "session", "agent", "model"), KEY, strict=True)) | key
    made = conversation_of((parts["key"], parts["session"], parts["agent"], parts["model"]), messages, frame)
    assert made is not None
    return made


def learnt(messages: memoryview, tokens: int = 12_000) -> KnownInputs:
    inputs = KnownInputs()
    inputs.learn(conversation(messages), tokens)
    return inputs


def test_a_conversation_that_grew_is_quoted_at_its_count_and_the_bytes_since() -> None:
    first, then = said("x" * 40_000, "last"), said("x" * 40_000, "last", "answer", "more")
    since = len(then) - (len(said("x" * 40_000)) - len("]") + len(","))
    bound = learnt(first).bound(conversation(then), then, BOUND)
    assert bound == 12_000 + text_tokens_bound(since) + SLACK_TOKENS


def test_without_a_session_or_before_the_first_answer_the_bytes_decide() -> None:
    messages = said("a", "b")
    inputs = KnownInputs()
    inputs.learn(None, 1)
    assert inputs.bound(None, messages, BOUND) == BOUND
    assert inputs.bound(conversation(messages), messages, BOUND) == BOUND
    assert conversation_of(("key_1", None, "agent", "m"), messages, 1) is None


def test_a_conversation_that_was_changed_before_its_end_is_quoted_by_bytes() -> None:
    first = said(" " * 40_000, "last")
    for other in (said("x" * 40_000, "last"), said(" " * 39_999), said("last")):
        assert learnt(first).bound(conversation(other), other, BOUND) == BOUND


def test_the_last_message_may_differ_and_counts_by_its_bytes() -> None:
    first, then = said("x" * 40_000, "marked"), said("x" * 40_000, "dense" * 100)
    assert (
        learnt(first).bound(conversation(then), then, BOUND)
        == 12_000 + text_tokens_bound(len(then) - len(said("x" * 40_000))) + SLACK_TOKENS
    )


def test_callers_sessions_agents_models_and_frames_are_told_apart() -> None:
    messages = said("x" * 1000, "last")
    inputs = learnt(messages, 10)
    for change in ({"key": "key_2"}, {"session": "other"}, {"agent": "a"}, {"model": "m"}, {"frame": 2}):
        assert inputs.bound(conversation(messages, **change), messages, BOUND) == BOUND
    assert inputs.bound(conversation(messages), messages, BOUND) < BOUND


@given(st.lists(st.text(max_size=40), min_size=1, max_size=6), st.lists(st.text(max_size=40), max_size=6))
def test_a_quote_is_never_above_the_bytes_nor_below_what_was_counted(old: list[str], new: list[str]) -> None:
    first, then = said(*old), said(*old, *new)
    counted = len(first) // 4
    bound = learnt(first, counted).bound(conversation(then), then, text_tokens_bound(len(then)))
    assert min(counted, text_tokens_bound(len(then))) <= bound <= text_tokens_bound(len(then))


def test_the_memory_is_bounded_and_forgets_the_oldest() -> None:
    messages = said("x" * 1000, "last")
    inputs = KnownInputs()
    for number in range(ENTRIES_MAX + 1):
        inputs.learn(conversation(messages, session=str(number)), 1)
    assert inputs.bound(conversation(messages, session="0"), messages, BOUND) == BOUND
    assert inputs.bound(conversation(messages, session="1"), messages, BOUND) < BOUND
