"""Configs of any shape: what is written is what is read, and nothing makes the reader fail."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.domain.errors import ConfigInvalid
from farebox.domain.routing.reading import config_tree, read_config
from farebox.domain.routing.tree import Leaf, Node
from tests.support.config_trees import SETTINGS, Json, leaves, placed, trees, written


def leaves_of(node: Node) -> Iterator[Leaf]:
    if isinstance(node, Leaf):
        yield node
    else:
        for child in node.children:
            yield from leaves_of(child)


NAMES = (
    "strategy",
    "mode",
    "targets",
    "conditions",
    "query",
    "then",
    "default",
    "sticky",
    "hash_fields",
    "ttl",
    "enabled",
    "on_status_codes",
    "cb_config",
    "failure_threshold",
    "name",
    "weight",
    "provider",
    "virtual_key",
    "api_key",
    "custom_host",
    "forward_headers",
    "passthrough",
    "retry",
    "attempts",
    "use_retry_after_header",
    "cache",
    "max_age",
    "request_timeout",
    "override_params",
    "default_params",
    "drop_params",
    "model",
    "max_tokens",
    "input_guardrails",
    "$and",
    "$or",
    "$not",
    "$regex",
    "$in",
    "$gt",
    "metadata.a",
    "params.a[0]",
    "headers.authorization",
    "url.pathname",
)
VALUES = (
    "single",
    "fallback",
    "loadbalance",
    "conditional",
    "simple",
    "@a",
    "@a/m",
    "https://a.example",
    "(a+)+$",
)

anything = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.decimals(allow_nan=False, allow_infinity=False),
        st.sampled_from(VALUES),
        st.text(max_size=8),
        st.just(10**400),
        st.just(b"bytes"),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=4), inner, max_size=5),
    ),
    max_leaves=25,
)
documents = st.dictionaries(st.sampled_from(NAMES), anything, max_size=6)


@given(trees)
def test_what_is_written_is_what_is_read_as_json_text_too(tree: Node) -> None:
    document, meant = written(tree), placed(tree)
    reading = read_config(document)
    assert (reading.tree, reading.errors) == (meant, ())
    assert config_tree(json.loads(json.dumps(document), parse_float=Decimal)) == meant


@given(st.one_of(anything, documents, documents.map(lambda inner: {"targets": [inner], **inner})))
def test_no_document_makes_the_reader_fail(document: object) -> None:
    refused = None
    try:
        tree = config_tree(document)
        assert msgspec.json.encode([leaf.params for leaf in leaves_of(tree)])
    except ConfigInvalid as error:
        refused = error
    if refused is not None:
        assert refused.path.startswith("config")
        assert len(refused.message) < 20_000


@given(trees, st.data())
def test_one_field_too_many_is_found_wherever_it_stands(tree: Node, data: st.DataObject) -> None:
    document = written(tree)
    place, path = document, "config"
    while isinstance(targets := place.get("targets"), list) and data.draw(st.booleans()):
        index = data.draw(st.integers(0, len(targets) - 1))
        place, path = targets[index], f"{path}.targets[{index}]"
    place["retrry"] = {}
    assert [finding.path for finding in read_config(document).errors] == [f"{path}.retrry"]


@pytest.mark.parametrize("name", SETTINGS)
@given(leaf=leaves)
def test_a_setting_above_is_that_of_every_target_without_its_own(name: str, leaf: Leaf) -> None:
    own = written(leaf)
    above = own.pop(name, None)
    bare: Json = {"provider": "@b"}
    document = {"strategy": {"mode": "fallback"}, "targets": [own, bare], name: above}
    tree = config_tree(document)
    assert not isinstance(tree, Leaf)
    first, second = tree.children
    assert isinstance(first, Leaf)
    assert isinstance(second, Leaf)
    assert SETTINGS[name](first) == SETTINGS[name](second) == SETTINGS[name](leaf)
