"""The few fields that are read of a request, from bodies of any shape, and the one that may be written."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.domain.errors import RequestMalformed
from farebox.wire.messages import MessagesHead, read_head, read_object, with_model

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
        is_stream=False,
        max_tokens=5,
        session_id=None,
        input_tokens_bound=len(body) * 10 // 13 + 1,
        input_tokens_expected=len(body) // 4 + 1,
        caches_for_1h=False,
        caches=False,
        has_server_tools=False,
        web_searches_bound=0,
        speed=None,
        inference_geo=None,
        prefix_checksum=zlib.crc32(body),
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
        ({"system": [{"type": "text", "text": "x", **MARK}]}, {"caches": True, "caches_for_1h": False}),
        ({"system": [{"type": "text", "text": "x", **HOUR_MARK}]}, {"caches": True, "caches_for_1h": True}),
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
    return read_head(a_body(messages=[{"role": "user", "content": list(blocks)}])).input_tokens_bound


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
    "messages",
    [
        [{"role": "user", "content": [{"type": "image", "source": "x" * 9_000}]}],
        [{"role": "user", "content": [[{"source": "x" * 9_000}]]}],
        {"source": "x" * 9_000},
    ],
)
def test_attachments_of_an_unknown_shape_count_as_text(messages: object) -> None:
    body = a_body(messages=messages)
    assert read_head(body).input_tokens_bound == len(body) * 10 // 13 + 1


def test_no_request_is_larger_than_the_largest_context() -> None:
    head = read_head(a_body(messages=[{"role": "user", "content": "x" * 6_000_000}]))
    assert (head.input_tokens_bound, head.input_tokens_expected) == (1_000_000, 1_000_000)


@given(st.text(max_size=3000))
def test_the_bound_is_never_below_what_is_expected_and_grows_with_the_text(text: str) -> None:
    head = read_head(a_body(messages=[{"role": "user", "content": text}]))
    longer = read_head(a_body(messages=[{"role": "user", "content": text + "more"}]))
    assert head.input_tokens_bound >= head.input_tokens_expected
    assert longer.input_tokens_bound > head.input_tokens_bound


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
