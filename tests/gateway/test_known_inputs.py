"""What a session's last request was counted at makes the next quote close, and never lower than it can be."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from farebox.gateway.charging.known_inputs import ENTRIES_MAX, SLACK_TOKENS, KnownInputs, input_key

KEY = input_key("session", None, "claude-opus-5-5", 7)
counts = st.integers(min_value=0, max_value=1_000_000)


def test_a_conversation_that_grew_is_quoted_at_its_count_and_the_bytes_since() -> None:
    inputs = KnownInputs()
    inputs.learn(KEY, 37_000, 12_000)
    assert inputs.bound(KEY, 38_000) == 12_000 + 1_000 + SLACK_TOKENS


def test_without_a_session_or_before_the_first_answer_the_bytes_decide() -> None:
    inputs = KnownInputs()
    inputs.learn(None, 37_000, 1)
    assert inputs.bound(None, 37_000) == 37_000
    assert inputs.bound(KEY, 37_000) == 37_000
    assert input_key(None, "agent", "claude-opus-5-5", 7) is None


def test_a_body_that_became_smaller_is_another_conversation() -> None:
    inputs = KnownInputs()
    inputs.learn(KEY, 37_000, 12_000)
    assert inputs.bound(KEY, 36_999) == 36_999


def test_agents_models_and_beginnings_are_told_apart() -> None:
    inputs = KnownInputs()
    inputs.learn(KEY, 37_000, 12_000)
    for other in (
        input_key("other", None, "claude-opus-5-5", 7),
        input_key("session", "agent", "claude-opus-5-5", 7),
        input_key("session", None, "claude-haiku-5-5", 7),
        input_key("session", None, "claude-opus-5-5", 8),
    ):
        assert inputs.bound(other, 37_000) == 37_000


@given(counts, counts, counts)
def test_a_quote_covers_what_was_counted_and_what_grew(old: int, known: int, grown: int) -> None:
    inputs = KnownInputs()
    inputs.learn(KEY, old, known)
    bound = inputs.bound(KEY, old + grown)
    assert known + grown <= bound
    assert bound <= max(old, known) + grown + SLACK_TOKENS


def test_the_memory_is_bounded_and_forgets_the_oldest() -> None:
    inputs = KnownInputs()
    for number in range(ENTRIES_MAX + 1):
        inputs.learn(input_key(str(number), None, "m", 0), 1_000, 1)
    assert inputs.bound(input_key("0", None, "m", 0), 1_000) == 1_000
    assert inputs.bound(input_key("1", None, "m", 0), 1_000) == 1 + SLACK_TOKENS
