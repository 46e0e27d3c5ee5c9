"""A config changes the fields that it names, and every other byte stays as it came."""

from __future__ import annotations

import copy
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.domain.errors import RequestMalformed
from farebox.wire.request_body.changes import opening_text, with_params

ODD = (
    b'{"model":"m","temperature":1.50e0,"text":"\\u00e9\xc3\xa9",'
    b'"tools":[{"name":"a","strict":true}, {"name" : "b"}]}'
)


def changed(body: bytes, **changes: Any) -> bytes:
    return with_params(body, **{"default": {}, "override": {}, "drop": (), **changes})


def test_a_default_is_put_in_only_where_nothing_is() -> None:
    assert changed(b'{"a":null,"b":1}', default={"a": 2, "c": [3]}) == b'{"a":null,"b":1,"c":[3]}'


def test_an_override_is_put_in_whatever_is_there() -> None:
    assert changed(b'{"a":{"x":1},"b":1}', override={"a": {"y": 2}}) == b'{"a":{"y":2},"b":1}'


def test_a_decimal_of_a_config_is_a_number() -> None:
    assert changed(b"{}", override={"temperature": Decimal("0.1")}) == b'{"temperature":0.1}'


def test_what_is_dropped_may_have_been_put_in_before() -> None:
    assert changed(b'{"a":1}', default={"b": 1}, override={"c": 1}, drop=("b", "c")) == b'{"a":1}'


@pytest.mark.parametrize(
    ("path", "left"),
    [
        ("a", b'{"t":[{"n":1,"s":2},{"n":3}],"m":{"u":{"v":1},"w":2}}'),
        ("m.u", b'{"a":1,"t":[{"n":1,"s":2},{"n":3}],"m":{"w":2}}'),
        ("m.u.v", b'{"a":1,"t":[{"n":1,"s":2},{"n":3}],"m":{"u":{},"w":2}}'),
        ("t[0]", b'{"a":1,"t":[{"n":3}],"m":{"u":{"v":1},"w":2}}'),
        ("t[*]", b'{"a":1,"t":[],"m":{"u":{"v":1},"w":2}}'),
        ("t[*].n", b'{"a":1,"t":[{"s":2},{}],"m":{"u":{"v":1},"w":2}}'),
        ("t[1].n", b'{"a":1,"t":[{"n":1,"s":2},{}],"m":{"u":{"v":1},"w":2}}'),
    ],
)
def test_a_path_leads_to_what_is_left_out(path: str, left: bytes) -> None:
    body = b'{"a":1,"t":[{"n":1,"s":2},{"n":3}],"m":{"u":{"v":1},"w":2}}'
    assert changed(body, drop=(path,)) == left


@pytest.mark.parametrize("path", ["none", "a.b", "a[0]", "t.n", "t[9]", "t[9].n", "m[*]", "m.u[0].v"])
def test_a_path_that_leads_nowhere_changes_nothing(path: str) -> None:
    body = b'{"a":1,"t":[{"n":1}],"m":{"u":{"v":1}}}'
    assert changed(body, drop=(path,)) == body


def test_paths_are_those_of_the_body_as_it_came() -> None:
    body = b'{"t":[0,1,2,{"a":1,"b":2}, 4]}'
    assert changed(body, drop=("t[0]", "t[1]", "t[3].a", "t[*].b")) == b'{"t":[2,{},4]}'
    assert changed(body, drop=("t", "t[0]")) == b"{}"


def test_what_is_not_named_keeps_its_bytes() -> None:
    told = changed(ODD, override={"model": "n"}, drop=("tools[0].strict",))
    assert told == (
        b'{"model":"n","temperature":1.50e0,"text":"\\u00e9\xc3\xa9","tools":[{"name":"a"},{"name" : "b"}]}'
    )


def test_a_body_that_is_none_is_refused() -> None:
    with pytest.raises(RequestMalformed):
        changed(b"[1]", drop=("a",))


names = st.sampled_from("abc")
values = st.recursive(
    st.none() | st.integers(-3, 3) | st.text("xyz", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)
objects = st.dictionaries(names, values, max_size=3)
Steps = list[str | int | None]
paths = st.lists(names | st.integers(0, 3) | st.none(), min_size=1, max_size=4).map(lambda rest: ["a", *rest])


def written(path: Steps) -> str:
    text = ""
    for step in path:
        text += "[*]" if step is None else f"[{step}]" if isinstance(step, int) else f".{step}"
    return text.removeprefix(".")


def found(value: Any, path: Steps) -> list[tuple[Any, Any]]:
    """Give what a path leads to on Python's own objects: containers, and the key or place in each."""
    step, rest = path[0], path[1:]
    if isinstance(step, str):
        keys: list[Any] = [step] if isinstance(value, dict) and step in value else []
    elif isinstance(value, list):
        keys = list(range(len(value))) if step is None else [step] if step < len(value) else []
    else:
        keys = []
    return [place for key in keys for place in (found(value[key], rest) if rest else [(value, key)])]


def drop(value: Any, paths: list[Steps]) -> None:
    """The plain meaning of paths: all are of the value as it came, whatever else is left out of it."""
    places = [place for path in paths for place in found(value, path)]
    by_container = {id(container): (container, set[Any]()) for container, _ in places}
    for container, key in places:
        by_container[id(container)][1].add(key)
    for container, keys in by_container.values():
        for key in sorted(keys, reverse=True):
            del container[key]


@given(objects, objects, objects, st.lists(paths, max_size=3))
def test_changes_mean_what_they_mean_on_plain_objects(
    body: dict[str, Any], default: dict[str, Any], override: dict[str, Any], dropped: list[Steps]
) -> None:
    expected = copy.deepcopy({**default, **body, **override})
    drop(expected, dropped)
    told = with_params(
        json.dumps(body).encode(),
        default=default,
        override=override,
        drop=[written(path) for path in dropped],
    )
    assert json.loads(told) == expected


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        (b'[{"role":"user","content":"Hi."},{"role":"user","content":"No."}]', "Hi."),
        (
            b'[{"content":[{"type":"image"},{"text":"a","cache_control":{}},{"text":"b"}]}]',
            "a\nb",
        ),
        (b'[{"content":[]}]', None),
        (b"[]", None),
        (b"[1]", None),
        (b"", None),
        (b'{"a":1}', None),
    ],
)
def test_a_conversation_is_known_by_its_first_text(messages: bytes, text: str | None) -> None:
    assert opening_text(memoryview(messages)) == text
