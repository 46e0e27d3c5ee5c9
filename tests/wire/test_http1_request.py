"""The head of a request, and what is refused because it could be read as more than it says."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.domain.errors import RequestMalformed
from farebox.wire.http import Headers, HttpRequest, Origin
from farebox.wire.http1.request import host_header, request_head

ORIGIN = Origin("https", "api.example.com", 443)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        (Origin("https", "api.example.com", 443), b"api.example.com"),
        (Origin("https", "api.example.com", 80), b"api.example.com:80"),
        (Origin("http", "localhost", 80), b"localhost"),
        (Origin("http", "127.0.0.1", 9001), b"127.0.0.1:9001"),
        (Origin("http", "::1", 80), b"[::1]"),
        (Origin("http", "fe80::1", 8080), b"[fe80::1]:8080"),
    ],
)
def test_the_host_names_a_port_only_when_it_is_not_the_default(origin: Origin, host: bytes) -> None:
    assert host_header(origin) == host


@pytest.mark.parametrize(
    ("method", "body", "length"),
    [
        (b"POST", b"", b"content-length: 0\r\n"),
        (b"PUT", b"", b"content-length: 0\r\n"),
        (b"POST", b"12345", b"content-length: 5\r\n"),
        (b"GET", b"", b""),
        (b"DELETE", b"", b""),
        (b"GET", b"12345", b"content-length: 5\r\n"),
    ],
)
def test_a_body_or_a_method_that_has_one_gets_its_length(method: bytes, body: bytes, length: bytes) -> None:
    head = request_head(HttpRequest(method, ORIGIN, b"/x?y=z", [], body))
    assert head == method + b" /x?y=z HTTP/1.1\r\nhost: api.example.com\r\n" + length + b"\r\n"


@pytest.mark.parametrize("bad", [b"", b"GE T", b"GET\r\n", b"GET\0", b"G\xc3\x89T"])
def test_a_method_that_is_none_is_refused(bad: bytes) -> None:
    with pytest.raises(RequestMalformed, match="method"):
        request_head(HttpRequest(bad, ORIGIN, b"/", []))


@pytest.mark.parametrize("bad", [b"", b"/a b", b"/a\r\nx: y", b"/\n", b"/\0", b"/\x7f", b"/\xc3\xa9"])
def test_a_target_that_is_none_is_refused(bad: bytes) -> None:
    with pytest.raises(RequestMalformed, match="target"):
        request_head(HttpRequest(b"GET", ORIGIN, bad, []))


@pytest.mark.parametrize(
    "header",
    [
        (b"", b"x"),
        (b"a b", b"x"),
        (b"a:", b"x"),
        (b"a\r\nb", b"x"),
        (b"a", b"x\r\nb: y"),
        (b"a", b"x\n"),
        (b"a", b"x\r"),
        (b"a", b"x\0"),
        (b"host", b"elsewhere"),
        (b"Content-Length", b"3"),
        (b"transfer-encoding", b"chunked"),
    ],
)
def test_a_header_that_would_say_more_than_itself_is_refused(header: tuple[bytes, bytes]) -> None:
    with pytest.raises(RequestMalformed, match="header"):
        request_head(HttpRequest(b"POST", ORIGIN, b"/", [header]))


@pytest.mark.parametrize("host", ["", "a b", "a\r\nb", "a/b", "user@host", "[::1]"])
def test_a_host_that_is_none_is_refused(host: str) -> None:
    with pytest.raises(RequestMalformed, match="host"):
        request_head(HttpRequest(b"GET", Origin("http", host, 80), b"/", []))


NAMES = st.from_regex(rb"x-[a-z0-9!#$%&'*+.^_`|~-]{1,12}", fullmatch=True)
VALUES = st.from_regex(
    rb"([\x21-\x7e\x80-\xff]([\t\x20-\x7e\x80-\xff]{0,20}[\x21-\x7e\x80-\xff])?)?", fullmatch=True
)
TARGETS = st.from_regex(rb"/[\x21-\x7e]{0,30}", fullmatch=True)


@given(
    st.sampled_from([b"POST", b"GET", b"DELETE"]),
    TARGETS,
    st.lists(st.tuples(NAMES, VALUES)),
    st.binary(max_size=64),
)
def test_h11_reads_every_request_as_it_was_meant(
    method: bytes, target: bytes, headers: Headers, body: bytes
) -> None:
    server = h11.Connection(h11.SERVER)
    server.receive_data(request_head(HttpRequest(method, ORIGIN, target, headers, body)) + body)
    request = server.next_event()
    assert isinstance(request, h11.Request)
    length = [(b"content-length", b"%d" % len(body))] if body or method == b"POST" else []
    assert (request.method, request.target) == (method, target)
    assert list(request.headers) == [(b"host", b"api.example.com"), *headers, *length]
    received = b""
    while isinstance(event := server.next_event(), h11.Data):
        received += event.data
    assert (received, type(event)) == (body, h11.EndOfMessage)


def test_a_request_that_is_printed_shows_neither_credential_nor_prompt() -> None:
    headers = [(b"authorization", b"Bearer canary")]
    request = HttpRequest(b"POST", ORIGIN, b"/v1/messages", headers, b"canary")
    assert repr(request) == "HttpRequest(POST api.example.com/v1/messages, 6 bytes)"
