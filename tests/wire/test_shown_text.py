"""Text of others on a terminal of ours."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.wire.shown_text import shown, shown_json


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("\x1b]0;owned\x07", r"\x1b]0;owned\x07"),
        ("\x9b31m\x7f", r"\x9b31m\x7f"),
        ("one\ntwo\r\tthree", r"one\ntwo\r\tthree"),
        ("exe.\u202etxt\u2069", r"exe.\u202etxt\u2069"),
        ("a\u200bb\u2028\ufeff", r"a\u200bb\u2028\ufeff"),
        ("tag \U000e0041", r"tag \U000e0041"),
        ("half \ud83d", r"half \ud83d"),
        ("Zoë, 北京, 👩‍💻, می‌خواهم", "Zoë, 北京, 👩‍💻, می‌خواهم"),
        (r"C:\x1b", r"C:\x1b"),
    ],
)
def test_what_is_not_seen_is_spelled_out_and_all_else_stays(text: str, told: str) -> None:
    assert shown(text) == told


@given(st.text(st.characters(codec=None), max_size=40))
def test_json_says_the_same_and_keeps_its_lines(text: str) -> None:
    told = shown_json(json.dumps({"text": text}, indent=2, ensure_ascii=False))
    assert json.loads(told) == {"text": text}
    assert told.split("\n") == [shown(line) for line in told.split("\n")]
