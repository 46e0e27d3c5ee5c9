"""Headers travel as open lists, less the names that docs/headers.md tells."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.wire import headers
from farebox.wire.headers import (
    client_headers,
    find,
    upstream_headers,
    upstream_query,
    with_anthropic_twins,
    with_forwarded,
)
from tests.support.builders import a_secret
from tests.support.header_page import Headers, HeaderTable, to_the_client, to_the_provider

# Ours on the way back, whether or not the provider sends them; `own_headers` is compared where it is seen.
HEADERS_OF_AN_ANSWER = (b"x-farebox-", b"x-portkey-", b"x-ratelimit-")

TOKEN = st.text("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=20)
VALUE = st.text(st.characters(codec="latin-1", categories=["L", "N", "P", "S"]), max_size=30)


def pages_names(table: HeaderTable) -> list[bytes]:
    """Give every name of the page, and one made from each of its prefixes."""
    return sorted(table.dropped | table.replaced | {prefix + b"thing" for prefix in table.prefixes})


def header_lists(table: HeaderTable) -> st.SearchStrategy[Headers]:
    names = st.one_of(TOKEN.map(str.encode), st.sampled_from(pages_names(table)))
    values = st.one_of(VALUE.map(lambda text: text.encode("latin-1")), TOKEN.map(str.encode))
    return st.lists(st.tuples(names, values), max_size=12)


def test_the_page_tells_what_is_kept_from_the_provider() -> None:
    page = to_the_provider()
    assert page.dropped | page.replaced == headers.REQUEST_DROPPED
    assert page.prefixes == set(headers.REQUEST_DROPPED_PREFIXES)
    assert page.added == frozenset()


def test_the_page_tells_what_is_kept_from_the_client() -> None:
    page = to_the_client()
    assert page.dropped | page.replaced == headers.RESPONSE_DROPPED
    assert page.prefixes == set(headers.RESPONSE_DROPPED_PREFIXES)


def test_what_is_added_cannot_come_from_the_provider_too() -> None:
    page = to_the_client()
    assert {name for name in page.added if not name.startswith(HEADERS_OF_AN_ANSWER)} == {b"request-id"}


@given(st.data())
def test_every_other_request_header_travels_on_in_its_place(data: st.DataObject) -> None:
    page = to_the_provider()
    sent = data.draw(header_lists(page))
    assert upstream_headers(sent) == page.travelling(sent)


@given(st.data())
def test_every_other_answer_header_travels_back_in_its_place(data: st.DataObject) -> None:
    page = to_the_client()
    sent = data.draw(header_lists(page))
    assert client_headers(sent) == page.travelling(sent)


def test_names_that_connection_lists_stay_on_their_hop() -> None:
    sent = [
        (b"connection", b"keep-alive, X-One"),
        (b"x-one", b"1"),
        (b"x-two", b"2"),
        (b"connection", b"x-three"),
        (b"x-three", b"3"),
    ]
    assert upstream_headers(sent) == [(b"x-two", b"2")]
    assert client_headers(sent) == [(b"x-two", b"2")]


@pytest.mark.parametrize("key", [a_secret(1), a_secret(2, "fba-")])
def test_no_header_and_no_parameter_carries_a_key_of_ours(key: str) -> None:
    text = key.encode()
    encoded = text.replace(b"-", b"%2D")
    sent = [
        (b"api-key", text),
        (b"x-goog-api-key", b"Bearer " + text + b", more"),
        (b"x-twice", encoded),
        (text.lower(), b"1"),
        (b"x-app", b"cli"),
    ]
    assert upstream_headers(sent) == [(b"x-app", b"cli")]
    assert upstream_query(b"beta=true&key=%b&a=1&k=%b&%b" % (text, encoded, text)) == b"beta=true&a=1"


@pytest.mark.parametrize("query", [b"", b"beta=true", b"a=1&&b=%zz&c", b"k=fb-short", b"key=sk-ant-api03-x"])
def test_any_other_query_travels_as_it_came(query: bytes) -> None:
    assert upstream_query(query) == query


def test_a_header_that_comes_twice_travels_twice() -> None:
    sent = [(b"anthropic-beta", b"a"), (b"x-app", b"cli"), (b"anthropic-beta", b"b")]
    assert upstream_headers(sent) == sent
    assert client_headers(sent) == sent


def test_find_gives_the_first_value_or_none() -> None:
    sent = [(b"a", b"1"), (b"b", b"2"), (b"a", b"3")]
    assert [find(sent, name) for name in (b"a", b"b", b"c")] == [b"1", b"2", None]


def test_anthropics_own_headers_are_taken_from_their_twins_where_those_come() -> None:
    plain = [(b"anthropic-beta", b"a"), (b"anthropic-version", b"2023-06-01"), (b"x-team", b"core")]
    assert with_anthropic_twins(plain) is plain
    for prefix in (b"x-portkey-", b"x-farebox-"):
        sent = upstream_headers(with_anthropic_twins([*plain, (prefix + b"anthropic-beta", b"b")]))
        assert sent == [*plain[1:], (b"anthropic-beta", b"b")]
    both = [(b"x-farebox-anthropic-beta", b"ours"), (b"x-portkey-anthropic-beta", b"theirs")]
    assert upstream_headers(with_anthropic_twins(both)) == [(b"anthropic-beta", b"ours")]


def test_a_header_that_a_config_names_goes_out_as_it_came() -> None:
    sent = [(b"anthropic-beta", b"a,b"), (b"x-team", b"core"), (b"x-other", b"1")]
    cleaned = [(b"content-type", b"application/json"), (b"anthropic-beta", b"a")]
    assert with_forwarded(cleaned, sent, ("anthropic-beta", "x-team", "x-gone")) == [
        (b"content-type", b"application/json"),
        (b"anthropic-beta", b"a,b"),
        (b"x-team", b"core"),
    ]


def test_a_header_that_goes_out_anyway_keeps_its_place() -> None:
    sent = [(b"x-team", b"core"), (b"x-other", b"1")]
    assert with_forwarded(sent, sent, ("x-team",)) is sent


@pytest.mark.parametrize(
    "name", ["authorization", "x-api-key", "cookie", "x-farebox-key", "x-portkey-api-key", "x-amz-date", "te"]
)
def test_no_config_sends_on_what_never_travels(name: str) -> None:
    assert with_forwarded([], [(name.encode(), b"secret")], (name,)) == []
    assert with_forwarded([], [(b"x-mine", a_secret(3).encode())], ("x-mine",)) == []
