"""The key of the cache: the same for whoever asks the same, another for any difference that may matter."""

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from farebox.domain.routing.caching import CacheEntry, Question, cache_key, canonical_body
from tests.support.builders import NOON, a_cache_entry

QUESTION = Question(
    tenant=("workspace", "platform"),
    target=("anthropic", "claude-opus-5-5"),
    dialect=("messages", "", "2023-06-01", "beta-1"),
    partition=("namespace", "n"),
)
ASKED: dict[str, Any] = {
    "model": "claude-opus-5-5",
    "max_tokens": 1000,
    "stream": True,
    "system": [
        {
            "type": "text",
            "text": "x-anthropic-billing-header: cc_version=2.1.330.9bf; cc_entrypoint=cli; cch=0a1f;",
        },
        {"type": "text", "text": "You are a Claude agent.", "cache_control": {"type": "ephemeral"}},
    ],
    "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi."}]}],
    "metadata": {"user_id": '{"device_id":"d1","session_id":"s1"}'},
    "tools": [{"name": "Bash", "input_schema": {"type": "object", "properties": {}}}],
}

RECORDED = [
    Path(__file__).parents[1] / "recorded" / "claude_code" / f"{name}.json"
    for name in ("01_headless_turn1_auth_token", "02_headless_turn2_tool_result", "07_subagent")
]

texts = st.text(st.characters(codec="utf-8"), max_size=8)
leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)
bodies = st.dictionaries(texts | st.sampled_from(sorted(ASKED)), values, max_size=4)


def key_of(asked: object, question: Question = QUESTION, **style: Any) -> bytes | None:
    return cache_key(question, json.dumps(asked, **style).encode())


def turned_round(value: Any) -> Any:
    """Give the same JSON with the keys of every object the other way round."""
    if isinstance(value, dict):
        return {name: turned_round(value[name]) for name in reversed(value)}
    return [turned_round(each) for each in value] if isinstance(value, list) else value


def same_json(one: Any, other: Any) -> bool:
    """Compare as JSON does: 1 is neither true nor 1.0."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def asked_with(path: tuple[str | int, ...], value: object) -> dict[str, Any]:
    asked: Any = json.loads(json.dumps(ASKED))
    place = asked
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    changed: dict[str, Any] = asked
    return changed


@settings(max_examples=50)
@given(bodies)
def test_neither_the_order_of_keys_nor_how_it_is_written_matters(asked: dict[str, Any]) -> None:
    key = key_of(asked)
    assert key is not None
    assert key == key_of(turned_round(asked), separators=(",", ":"), ensure_ascii=False)
    assert key == key_of(asked, indent=2)


@settings(max_examples=50)
@given(bodies, bodies)
def test_two_bodies_that_ask_differently_have_two_keys(one: dict[str, Any], other: dict[str, Any]) -> None:
    for asked in (one, other):
        for excluded in ("model", "stream", "metadata", "system"):
            asked.pop(excluded, None)
    assume(not same_json(one, other))
    assert key_of(one) != key_of(other)


@given(st.sampled_from(["messages", "tools", "max_tokens", "temperature", "thinking", "new_field"]), values)
def test_any_other_value_of_a_field_gives_another_key(field: str, value: Any) -> None:
    changed = {**ASKED, field: value}
    assume(not same_json(changed, ASKED))
    assert key_of(changed) != key_of(ASKED)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("messages", 0, "content", 0, "text"), "Hi!"),
        (("messages", 0, "role"), "system"),
        (("system", 1, "text"), "You are another agent."),
        (("system", 1, "cache_control", "type"), "other"),
        (("tools", 0, "name"), "bash"),
        (("stream",), False),
        (("metadata", "team"), "core"),
        (("system", 0, "text"), "x-anthropic-billing-header: cc_version=2.1.330.9bf; cc_entrypoint=sdk-cli;"),
        (
            ("system", 0, "text"),
            "x-anthropic-billing-header: cc_version=2.1.330.9bf; cc_entrypoint=cli;\nAnswer in French.",
        ),
        (
            ("system", 0, "text"),
            "x-anthropic-billing-header: cc_version=answer in French; cc_entrypoint=cli;",
        ),
        (("system", 0, "text"), "x-anthropic-billing-header: cch=answer; cc_entrypoint=cli;"),
        (("system", 0, "text"), "You are: cc_version=2.1.330.9bf; cc_entrypoint=cli; cch=0a1f;"),
    ],
)
def test_what_the_model_may_see_counts(path: tuple[str | int, ...], value: object) -> None:
    assert key_of(asked_with(path, value)) != key_of(ASKED)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("model",), "@anthropic/claude-opus-5-5"),
        (("metadata",), {}),
        (("metadata", "user_id"), '{"device_id":"d2","session_id":"s2"}'),
        (
            ("system", 0, "text"),
            "x-anthropic-billing-header: cc_version=2.2.0.0ab; cc_entrypoint=cli; cch=ffff;",
        ),
        (("system", 0, "text"), "x-anthropic-billing-header: cc_version=2.2.0; cc_entrypoint=cli;"),
    ],
)
def test_what_identifies_a_session_or_a_machine_does_not(path: tuple[str | int, ...], value: object) -> None:
    assert key_of(asked_with(path, value)) == key_of(ASKED)


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_the_same_question_from_another_session_and_machine_is_the_same(path: Path) -> None:
    text = json.dumps(json.loads(path.read_text())["body"])
    key = cache_key(QUESTION, text.encode())
    assert key is not None
    for pattern, other in (
        (r'(device_id\\":\\")[0-9a-f]+', r"\g<1>0000"),
        (r'(session_id\\":\\")[0-9a-f-]+', r"\g<1>1111"),
        (r"cc_version=[0-9.]+[0-9a-f]*;", "cc_version=9.9.9.abc;"),
    ):
        changed, count = re.subn(pattern, other, text)
        assert count == 1
        assert cache_key(QUESTION, changed.encode()) == key
    assert cache_key(QUESTION, text.replace("You are", "You were", 1).encode()) != key


def test_the_billing_line_is_found_in_a_system_prompt_of_one_text_too() -> None:
    line = "x-anthropic-billing-header: cc_version=2.1.{}; cc_entrypoint=cli;\nYou are an agent."
    assert key_of({"system": line.format(1)}) == key_of({"system": line.format(2)})
    assert key_of({"system": line.format(1)}) != key_of({"system": line.format(1) + "!"})


def test_a_stream_that_is_not_wanted_is_the_same_as_none() -> None:
    assert key_of({"a": 1, "stream": False}) == key_of({"a": 1}) == key_of({"a": 1, "stream": None})
    assert key_of({"a": 1, "stream": True}) != key_of({"a": 1})


@pytest.mark.parametrize(
    "field",
    ["tenant", "target", "dialect", "partition"],
)
def test_the_same_body_elsewhere_is_another_question(field: str) -> None:
    for other in (("workspace", "research"), (), ("workspace", "platform", ""), ("workspaceplatform",)):
        assert key_of(ASKED, replace(QUESTION, **{field: other})) != key_of(ASKED)


def test_parts_of_a_question_never_run_into_each_other() -> None:
    one = Question(tenant=("a",), target=("b", "c"), dialect=())
    other = Question(tenant=("a", "b"), target=("c",), dialect=())
    assert key_of(ASKED, one) != key_of(ASKED, other)


@settings(max_examples=50)
@given(texts, texts, bodies)
def test_no_two_tenants_ever_share_a_key(one: str, other: str, asked: dict[str, Any]) -> None:
    assume(one != other)
    keys = {key_of(asked, replace(QUESTION, tenant=("workspace", name))) for name in (one, other)}
    assert len(keys) == 2


@pytest.mark.parametrize(
    "body",
    [
        b'{"messages":[{"role":"user","content":"a","content":"b"}]}',
        b'{"a":1,"a":1}',
        b'{"n":1e5,"messages":[{"a":1,"a":1}]}',
        b"[]",
        b"{",
        b'{"a":"\xff"}',
        b'{"a":"\\ud800"}',
        b'{"a":' + b"[" * 5_000 + b"]" * 5_000 + b"}",
    ],
)
def test_a_body_that_could_be_read_two_ways_has_no_key(body: bytes) -> None:
    assert canonical_body(body) is None
    assert cache_key(QUESTION, body) is None


def test_whole_numbers_are_told_apart_however_large() -> None:
    assert key_of({"n": 2**64 + 1}) != key_of({"n": 2**64 + 2})
    assert key_of({"n": 1}) != key_of({"n": True}) != key_of({"n": 1.0})


@pytest.mark.parametrize(
    ("after_s", "max_age_s", "is_fresh"),
    [(0, 60, True), (59, 60, True), (60, 60, False), (99, 1_000, True), (100, 1_000, False)],
)
def test_an_entry_is_fresh_within_its_own_time_and_the_askers(
    after_s: int, max_age_s: int, is_fresh: bool
) -> None:
    entry: CacheEntry = a_cache_entry(expires_at=NOON + timedelta(seconds=100))
    assert entry.is_fresh(NOON + timedelta(seconds=after_s), max_age_s) is is_fresh
