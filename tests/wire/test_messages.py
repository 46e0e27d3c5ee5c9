"""The few fields that are read of a request, from bodies of any shape, and the one that may be written."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.domain.errors import RequestMalformed
from farebox.wire.messages import MessagesHead, read_head, with_model
from farebox.wire.request_body.estimate import InputEstimate
from farebox.wire.request_body.top_level import read_object

MODEL = "claude-sonnet-4-5"
MARK = {"cache_control": {"type": "ephemeral"}}
HOUR_MARK = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}


def a_body(*, compact: bool = True, **fields: Any) -> bytes:
    document = {"model": MODEL, "max_tokens": 5, "messages": [{"role": "user", "content": "Hi."}], **fields}
    return json.dumps(document, separators=(",", ":") if compact else None).encode()


def test_a_plain_request_is_read_whole() -> None:
    body = a_body()
    assert read_head(body) == MessagesHead(
        model=MODEL,
        other_models=(),
        is_stream=False,
        max_tokens=5,
        session_id=None,
        input=InputEstimate(len(body) * 10 // 13 + 1, len(body) // 4 + 1, caches=False, caches_for_1h=False),
        thinks=False,
        thinking_tokens=0,
        has_server_tools=False,
        web_searches_bound=0,
        advisor_uses_bound=0,
        fallbacks=0,
        speed=None,
        inference_geo=None,
        messages=memoryview(b'[{"role":"user","content":"Hi."}]'),
        frame_digest=hashlib.sha256(b"\0\0").digest(),
    )


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"stream": True}, {"is_stream": True}),
        ({"stream": False}, {"is_stream": False}),
        ({"stream": None}, {"is_stream": False}),
        ({"max_tokens": 0}, {"max_tokens": 0}),
        ({"max_tokens": None}, {"max_tokens": 0}),
        ({"max_tokens": 10**30}, {"max_tokens": 10_000_000}),
        ({"speed": "fast", "inference_geo": "us"}, {"speed": "fast", "inference_geo": "us"}),
        ({"thinking": {"type": "adaptive", "display": "omitted"}}, {"thinks": True}),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, {"thinks": True}),
        ({"thinking": {"type": "disabled"}}, {"thinks": False}),
        ({"thinking": "odd"}, {"thinks": True}),
        ({"fallbacks": [{"model": "claude-a"}]}, {"other_models": ("claude-a",), "has_server_tools": True}),
        ({"fallbacks": ["claude-a"]}, {"other_models": ("claude-a",), "has_server_tools": True}),
        ({"tools": [{"type": "advisor_20260301", "model": "claude-b"}]}, {"other_models": ("claude-b",)}),
        ({"tools": [{"name": "Agent", "model": "claude-c"}]}, {"other_models": ()}),
        ({"metadata": {"user_id": '{"session_id":"s-1","device_id":"d"}'}}, {"session_id": "s-1"}),
        ({"metadata": {"user_id": "user_1_session_2"}}, {"session_id": None}),
        ({"metadata": {"user_id": '{"session_id":5}'}}, {"session_id": None}),
        ({"metadata": {"user_id": "{"}}, {"session_id": None}),
        ({"metadata": {"user_id": 5}}, {"session_id": None}),
        ({"metadata": {"user_id": None}}, {"session_id": None}),
        ({"metadata": []}, {"session_id": None}),
        ({"metadata": None}, {"session_id": None}),
    ],
)
def test_a_field_that_decides_something_is_read(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    head = read_head(a_body(**fields))
    assert {name: getattr(head, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("fields", "classes"),
    [
        ({}, (False, False)),
        ({"system": [{"type": "text", "text": "x", **MARK}]}, (True, False)),
        ({"system": [{"type": "text", "text": "x", **HOUR_MARK}]}, (True, True)),
        ({"system": "1h"}, (False, False)),
    ],
)
def test_the_cache_classes_that_the_input_may_fall_in_are_seen(
    fields: dict[str, Any], classes: tuple[bool, bool]
) -> None:
    estimate = read_head(a_body(**fields)).input
    assert (estimate.caches, estimate.caches_for_1h) == classes


@pytest.mark.parametrize("hidden", ["cache\\u005fcontrol", "\\u0063ache_control"])
def test_a_word_that_is_hidden_by_an_escape_makes_the_dearest_case_the_estimate(hidden: str) -> None:
    body = a_body(system="SYSTEM").replace(b'"SYSTEM"', f'[{{"type":"text","{hidden}":{{}}}}]'.encode())
    estimate = read_head(body).input
    assert (estimate.caches, estimate.caches_for_1h) == (True, True)


def test_an_image_whose_source_is_hidden_by_an_escape_is_seen() -> None:
    plain = a_body(messages=[{"role": "user", "content": [image(1_000_000)]}])
    hidden = plain.replace(b'"source"', b'"sourc\\u0065"')
    assert 4_800 < read_head(hidden).input.bound_tokens < 5_000


def test_an_escape_of_a_control_character_hides_nothing() -> None:
    estimate = read_head(a_body(system="\x1b[31mred")).input
    assert (estimate.caches, estimate.caches_for_1h) == (False, False)


@pytest.mark.parametrize(
    ("tools", "has_server_tools", "searches"),
    [
        (None, False, 0),
        ([], False, 0),
        ([{"name": "Bash"}, {"name": "Read", "type": "custom"}], False, 0),
        ([{"type": "bash_20250124", "name": "bash"}], True, 0),
        ([{"type": "web_search_20250305", "max_uses": 3}], True, 3),
        ([{"type": "web_search_20250305", "max_uses": 3}, {"type": "web_search_20260209"}], True, 13),
        ([{"type": "web_search_20250305", "max_uses": -3}], True, 0),
        ([{"type": "web_search_20250305", "max_uses": 10**30}], True, 100_000),
    ],
)
def test_server_tools_and_the_searches_they_allow_are_counted(
    tools: object, has_server_tools: bool, searches: int
) -> None:
    head = read_head(a_body(tools=tools))
    assert (head.has_server_tools, head.web_searches_bound) == (has_server_tools, searches)


def image(size: int) -> dict[str, Any]:
    data = base64.b64encode(bytes(size)).decode()
    return {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}


def document(size: int) -> dict[str, Any]:
    data = base64.b64encode(bytes(size)).decode()
    return {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": data}}


def bound_of(*blocks: dict[str, Any]) -> int:
    return read_head(a_body(messages=[{"role": "user", "content": list(blocks)}])).input.bound_tokens


def test_an_image_counts_by_its_cap_and_not_by_its_bytes() -> None:
    small, large = bound_of(image(100)), bound_of(image(1_000_000))
    assert small == large
    assert 4_800 < large < 5_000
    assert 2 * 4_800 < bound_of(image(100), image(100)) < 2 * 5_000


def test_an_image_in_a_tool_result_counts_the_same() -> None:
    inside = bound_of({"type": "tool_result", "tool_use_id": "t", "content": [image(1_000_000)]})
    assert 4_800 < inside < 5_100


def test_a_document_counts_a_fifth_of_its_base64() -> None:
    assert bound_of(document(3_000)) - bound_of(document(0)) == 4_000 // 5


@pytest.mark.parametrize(
    ("messages", "images"),
    [
        ([{"role": "user", "content": [{"type": "image", "source": "x" * 9_000}]}], 1),
        ([{"role": "user", "content": [[{"source": "x" * 9_000}]]}], 0),
        ({"source": "x" * 9_000}, 0),
    ],
)
def test_attachments_of_an_unknown_shape_count_as_text_and_by_their_names(
    messages: object, images: int
) -> None:
    body = a_body(messages=messages)
    assert read_head(body).input.bound_tokens == len(body) * 10 // 13 + 1 + images * 4_800


def test_what_a_document_holds_counts_too() -> None:
    inside = {
        "type": "content",
        "content": [{"type": "image", "source": {"type": "url", "url": "https://x/y"}}] * 20,
    }
    assert 20 * 4_800 < bound_of({"type": "document", "source": inside}) < 20 * 5_000


@pytest.mark.parametrize("source", [{"type": "url", "url": "https://x/y"}, {"type": "file", "file_id": "f"}])
def test_a_document_that_the_provider_fetches_may_be_as_long_as_the_context(source: dict[str, str]) -> None:
    assert bound_of({"type": "document", "source": source}) == 1_000_000


def test_a_body_of_very_many_blocks_is_not_walked() -> None:
    body = a_body(messages=[{"role": "user", "content": [{}] * 200_001 + [image(100)]}])
    assert read_head(body).input.bound_tokens == len(body) * 10 // 13 + 1 + 4_800


def test_no_request_is_larger_than_the_largest_context() -> None:
    head = read_head(a_body(messages=[{"role": "user", "content": "x" * 6_000_000}]))
    assert (head.input.bound_tokens, head.input.expected_tokens) == (1_000_000, 1_000_000)


@given(st.text(max_size=3000))
def test_the_bound_is_never_below_what_is_expected_and_grows_with_the_text(text: str) -> None:
    head = read_head(a_body(messages=[{"role": "user", "content": text}]))
    longer = read_head(a_body(messages=[{"role": "user", "content": text + "more"}]))
    assert head.input.bound_tokens >= head.input.expected_tokens
    assert longer.input.bound_tokens > head.input.bound_tokens


NAMES = st.text(st.characters(codec="utf-8"), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | NAMES,
    lambda values: st.lists(values, max_size=3) | st.dictionaries(NAMES, values, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=6)


def written(document: dict[str, Any], *, ascii_only: bool, spaced: bool) -> bytes:
    separators = (" , ", "\t: ") if spaced else (",", ":")
    return json.dumps(document, ensure_ascii=ascii_only, separators=separators).encode()


@given(document=OBJECTS, ascii_only=st.booleans(), spaced=st.booleans())
def test_an_object_is_read_however_it_is_written(
    document: dict[str, Any], ascii_only: bool, spaced: bool
) -> None:
    top = read_object(written(document, ascii_only=ascii_only, spaced=spaced))
    assert {name: json.loads(bytes(raw)) for name, raw in top.items()} == document


@given(document=OBJECTS.filter(bool), ascii_only=st.booleans(), spaced=st.booleans(), data=st.data())
def test_a_top_level_key_that_stands_twice_is_refused_however_it_is_written(
    document: dict[str, Any], ascii_only: bool, spaced: bool, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(sorted(document)))
    body = written(document, ascii_only=ascii_only, spaced=spaced)
    again = json.dumps(name, ensure_ascii=data.draw(st.booleans())).encode()
    value = data.draw(st.sampled_from([b"1", b'"x"', b"{}", b" null "]))
    with pytest.raises(RequestMalformed, match="top-level key twice"):
        read_object(body[:-1] + b"," + again + b":" + value + b"}")


@given(document=OBJECTS)
def test_a_key_that_stands_twice_further_down_is_the_providers_to_judge(document: dict[str, Any]) -> None:
    body = b'{"model":"m","inner":{"a":1,"a":2},"rest":' + json.dumps(document).encode() + b"}"
    assert bytes(read_object(body)["inner"]) == b'{"a":1,"a":2}'


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    try:
        top = read_object(body)
    except RequestMalformed:
        return
    assert isinstance(json.loads(body), dict)
    assert list(top) == list(json.loads(body))


@given(document=OBJECTS, ascii_only=st.booleans(), place=st.integers(0, 6))
def test_another_model_takes_the_place_of_the_first_and_nothing_else_moves(
    document: dict[str, Any], ascii_only: bool, place: int
) -> None:
    pairs = [(name, value) for name, value in document.items() if name != "model"]
    pairs.insert(place, ("model", "@slug/one"))
    body = written(dict(pairs), ascii_only=ascii_only, spaced=False)
    renamed = with_model(body, "two")
    assert list(json.loads(renamed).items()) == [
        (name, "two" if name == "model" else value) for name, value in pairs
    ]
    values = read_object(renamed)
    assert all(
        bytes(values[name]) == bytes(raw) for name, raw in read_object(body).items() if name != "model"
    )


@pytest.mark.parametrize("model", ["two", 'a "quoted" one', "über"])
def test_a_compact_body_keeps_every_other_byte(model: str) -> None:
    body = b'{"z":[1.50,{ }],"model":"@slug/one","text":"\\u00fc \xc3\xbc\\/"}'
    expected = json.dumps(model, ensure_ascii=False).encode()
    assert with_model(body, model) == body.replace(b'"@slug/one"', expected)
