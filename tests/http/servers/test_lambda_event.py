"""A function URL's event, read: what is told, what may be missing, and what is no request."""

from __future__ import annotations

import json
from typing import Any

import pytest

from farebox.http.servers.lambda_runtime.event import EventUnknown, read_event

SECRET = "sk-canary-of-the-event"


def event(**fields: Any) -> bytes:
    """Build an event with the fewest fields."""
    told = {"version": "2.0", "rawPath": "/v1/a%20b", "requestContext": {"http": {"method": "POST"}}}
    return json.dumps({**told, **fields}).encode()


def test_an_event_becomes_a_scope() -> None:
    scope, body = read_event(event(rawQueryString="beta=true", headers={"X-Own": "one,two"}, body="{}"))
    assert (scope["method"], scope["path"], scope["raw_path"]) == ("POST", "/v1/a b", b"/v1/a%20b")
    assert (scope["query_string"], scope["headers"], body) == (b"beta=true", [(b"x-own", b"one,two")], b"{}")


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        ({}, b""),
        ({"body": None}, b""),
        ({"body": "ż"}, "ż".encode()),
        ({"body": "AP8=", "isBase64Encoded": True}, b"\x00\xff"),
    ],
)
def test_a_body_is_read_in_either_encoding(fields: dict[str, Any], body: bytes) -> None:
    assert read_event(event(**fields))[1] == body


def test_cookies_become_one_header() -> None:
    scope, _ = read_event(event(cookies=["a=1", "b=2"]))
    assert scope["headers"] == [(b"cookie", b"a=1; b=2")]


def test_octets_of_a_header_come_back_as_they_were() -> None:
    scope, _ = read_event(event(headers={"x-own": "caf\xe9", "x-wide": "ż"}))
    assert scope["headers"] == [(b"x-own", b"caf\xe9"), (b"x-wide", "ż".encode())]


@pytest.mark.parametrize(
    "told",
    [
        b"",
        b"[]",
        json.dumps({"key": SECRET}).encode(),
        event(rawPath=7, body=SECRET),
        event(body=SECRET, isBase64Encoded=True),
        event(headers={f"ż{SECRET}": "one"}),
    ],
)
def test_what_is_no_request_is_refused_without_quoting_it(told: bytes) -> None:
    with pytest.raises(EventUnknown) as refusal:
        read_event(told)
    assert SECRET not in str(refusal.value)
