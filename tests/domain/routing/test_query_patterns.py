"""Safe expressions: they mean what Python's mean, and nothing makes them slow."""

from __future__ import annotations

import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.domain.routing.query.pattern import (
    STEPS_MAX,
    TEXT_LENGTH_MAX,
    Pattern,
    PatternInvalid,
    compile_pattern,
)


def compiled(source: str) -> Pattern | PatternInvalid:
    try:
        return compile_pattern(source)
    except PatternInvalid as refused:
        return refused


def is_in(source: str, text: str, *, ignores_case: bool = False) -> bool:
    return compile_pattern(source, ignores_case=ignores_case).is_in(text)


@pytest.mark.parametrize(
    ("source", "text", "expected"),
    [
        ("", "", True),
        ("opus", "claude-opus-5-5", True),
        ("^claude-(opus|sonnet)", "claude-haiku", False),
        (r"^claude-(?:opus|sonnet)-\d", "claude-sonnet-5", True),
        (r"^(?<team>core|web)$", "web", True),
        (r"\bteam\b", "the team!", True),
        (r"\bteam\b", "teams", False),
        (r"\Bs$", "teams", True),
        (r"^[a-c_-]+$", "a-b_c", True),
        (r"^[^a-c]$", "b", False),
        (r"[\d.]{3}", "1.5", True),
        (r"^[\D]$", "x", True),
        (r"^a{2,3}$", "aaaa", False),
        (r"^a{2,}$", "aaaa", True),
        (r"^a{2}$", "aa", True),
        (r"^a{,2}$", "a{,2}", True),
        (r"^a.c$", "a\nc", False),
        (r"\x41\u0042\t", "AB\t", True),
        (r"\.\*\+\?\(\)\[\]\{\}\/", ".*+?()[]{}/", True),
        (r"^a+?b*?$", "aab", True),
        ("[]", "x", False),
        ("[^]", "x", True),
        ("a$", "a\n", False),
        (r"^\s$", "\u00a0", True),
        (r"^\w$", "é", False),
    ],
)
def test_a_pattern_means_what_javascript_says(source: str, text: str, expected: bool) -> None:
    assert is_in(source, text) is expected


def test_case_is_told_apart_unless_asked_otherwise() -> None:
    assert is_in("^opus$", "OPUS", ignores_case=True)
    assert not is_in("^[^a]$", "A", ignores_case=True)
    assert is_in("^ß$", "ß", ignores_case=True)
    assert not is_in("^opus$", "OPUS")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("(", "does not end"),
        (")", r"'\)' too many"),
        ("a**", "repeats a repetition"),
        ("*a", "nothing to repeat"),
        ("^*", "no length"),
        ("[a", "does not end"),
        ("[z-a]", "backwards"),
        (r"[a-\d]", "backwards"),
        ("a{3,2}", "backwards"),
        ("a{1000}", "more than 100 times"),
        ("(?=a)", "looks around"),
        ("(?<!a)", "looks around"),
        ("(?<name", "name does not end"),
        (r"(a)\1", "not to be had"),
        (r"\p{L}", "not to be had"),
        (r"\u12", "hexadecimal"),
        ("\\", "backslash at its end"),
        ("(a{50}){50}", f"more than {STEPS_MAX} steps"),
        ("x" * 600, "longer than 512"),
        ("(" * 100 + ")" * 100, "nested deeper"),
    ],
)
def test_what_cannot_be_run_safely_is_refused(source: str, said: str) -> None:
    with pytest.raises(PatternInvalid, match=said):
        compile_pattern(source)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("(a+)+$", "a" * (TEXT_LENGTH_MAX - 1) + "!"),
        ("(a|a)*b", "a" * TEXT_LENGTH_MAX),
        ("(a*)*b", "a" * TEXT_LENGTH_MAX),
        ("(.*.*.*.*)*x", "a" * TEXT_LENGTH_MAX),
        ("([a-z]+)*!", "a" * TEXT_LENGTH_MAX),
        ("(a|b)*a(a|b){50}c", "ab" * (TEXT_LENGTH_MAX // 2)),
        ("(){100}b", "a" * TEXT_LENGTH_MAX),
    ],
)
def test_no_pattern_takes_more_than_its_steps_times_the_text(source: str, text: str) -> None:
    """An engine that tries again would never end here; the bound is far above what this one does."""
    pattern = compile_pattern(source)
    calls = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        is_found = pattern.is_in(text)
    finally:
        sys.setprofile(None)
    assert not is_found
    assert calls < 20 * (TEXT_LENGTH_MAX + STEPS_MAX)


def test_of_a_long_text_the_beginning_is_read() -> None:
    assert not is_in("b", "a" * TEXT_LENGTH_MAX + "b")
    assert is_in("b", "a" * (TEXT_LENGTH_MAX - 1) + "b")


atoms = st.sampled_from(["a", "b", "1", ".", "[ab]", "[^a]", r"\d", r"\w", r"\s", "[a-c1]", "-"])


def _grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    repeated = st.builds("(?:{}){}".format, inner, st.sampled_from(["*", "+", "?", "{2}", "{1,3}", "{2,}"]))
    either = st.builds("(?:{}|{})".format, inner, inner)
    return st.one_of(repeated, either, st.builds("{}{}".format, inner, inner))


sources = st.builds(
    "{}{}{}".format,
    st.sampled_from(["", "^", r"\b", r"\B"]),
    st.recursive(atoms, _grown, max_leaves=6),
    st.sampled_from(["", "$", r"\b"]),
)


@given(sources, st.text("ab1- _", min_size=1, max_size=8))  # Python before 3.14 denies \B where nothing is
def test_a_pattern_means_what_pythons_does(source: str, text: str) -> None:
    pattern = compiled(source)
    if isinstance(pattern, PatternInvalid):
        assert "steps" in str(pattern)
    else:
        assert pattern.is_in(text) == (re.search(source, text, re.ASCII) is not None)


@given(st.text("a1\\[](){}|*+?.^$-,<:!=dwsbux", max_size=20), st.text("ab1", max_size=6))
def test_no_pattern_makes_the_reader_fail(source: str, text: str) -> None:
    pattern = compiled(source)
    if isinstance(pattern, PatternInvalid):
        assert str(pattern)
    else:
        assert pattern.is_in(text) in (True, False)
