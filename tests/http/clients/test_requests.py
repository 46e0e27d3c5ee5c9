"""A cloud's request as a Messages request: what moves, what goes, and that all else keeps its bytes."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import pytest

from farebox.domain.errors import RequestMalformed
from farebox.gateway.incoming import BEDROCK, VERTEX, IncomingRequest
from farebox.http.clients.paths import Route
from farebox.http.clients.requests import as_messages, messages_body
from farebox.wire.http import Headers

STREAM = Route(BEDROCK, "messages", "us.anthropic.claude-opus-5-5", is_stream=True)
WHOLE = Route(VERTEX, "messages", "claude-opus-5-5")
COUNT = Route(BEDROCK, "count_tokens", "anthropic.claude-opus-5-5")
ODD = b'[{"role":"user","content":"\\u00e9 1.50 \xc3\xa9"}]'


def incoming(body: bytes, headers: Headers) -> IncomingRequest:
    async def read_body() -> bytes:
        return body

    return IncomingRequest("req_fb_1", "messages", b"alt=sse", headers, read_body)


def test_model_and_stream_come_from_the_path_and_values_keep_their_bytes() -> None:
    body = b'{"anthropic_version":"bedrock-2023-05-31","max_tokens":10,"temperature":1.0,"messages":%b}' % ODD
    turned, betas = messages_body(body, STREAM)
    assert turned == (
        b'{"model":"us.anthropic.claude-opus-5-5","max_tokens":10,"temperature":1.0,"messages":%b,"stream":true}'
        % ODD
    )
    assert betas == []


def test_the_path_decides_over_what_the_body_says() -> None:
    turned, _ = messages_body(b'{"model":"another","stream":true,"messages":[]}', WHOLE)
    assert json.loads(turned) == {"model": "claude-opus-5-5", "messages": []}


def test_a_vertex_count_names_its_model_in_the_body() -> None:
    body = b'{"anthropic_version":"vertex-2023-10-16","model":"claude-opus-5-5","messages":[]}'
    turned, _ = messages_body(body, Route(VERTEX, "count_tokens"))
    assert json.loads(turned) == {"model": "claude-opus-5-5", "messages": []}


def test_a_bedrock_count_is_of_the_request_inside_it() -> None:
    inner = b'{"anthropic_version":"bedrock-2023-05-31","max_tokens":1,"messages":%b}' % ODD
    body = json.dumps({"input": {"invokeModel": {"body": base64.b64encode(inner).decode()}}}).encode()
    turned, _ = messages_body(body, COUNT)
    assert turned == b'{"model":"anthropic.claude-opus-5-5","messages":%b}' % ODD


@pytest.mark.parametrize(
    "document",
    [
        {"input": {"converse": {"messages": []}}},
        {"input": {"invokeModel": {"body": "no base64!"}}},
        {"input": {"invokeModel": {"body": 7}}},
        {},
    ],
)
def test_a_bedrock_count_of_anything_else_names_the_field(document: dict[str, Any]) -> None:
    with pytest.raises(RequestMalformed, match="invokeModel"):
        messages_body(json.dumps(document).encode(), COUNT)


def test_betas_that_are_no_list_of_words_are_refused() -> None:
    with pytest.raises(RequestMalformed, match="anthropic_beta"):
        messages_body(b'{"anthropic_beta":[1],"messages":[]}', STREAM)


def test_betas_of_header_and_body_become_one_header_and_the_platforms_own_headers_go() -> None:
    headers = [
        (b"accept", b"application/vnd.amazon.eventstream"),
        (b"accept-encoding", b"gzip"),
        (b"anthropic-beta", b"one, two"),
        (b"x-amz-date", b"20261128T000000Z"),
        (b"amz-sdk-request", b"attempt=1"),
        (b"user-agent", b"claude-cli/2.1.330"),
    ]
    body = b'{"anthropic_beta":["two","three","bad\\r\\nx-evil: 1"],"messages":[]}'
    request = as_messages(incoming(body, headers), STREAM)
    assert (b"anthropic-beta", b"one,two") in request.headers

    async def read() -> bytes:
        return await request.read_body()

    assert b"anthropic_beta" not in asyncio.run(read())
    assert sorted(request.headers) == [
        (b"accept", b"application/json"),
        (b"anthropic-beta", b"one,two,three"),
        (b"anthropic-version", b"2023-06-01"),
        (b"content-type", b"application/json"),
        (b"user-agent", b"claude-cli/2.1.330"),
    ]
    assert (request.api, request.query) == (BEDROCK, b"")
