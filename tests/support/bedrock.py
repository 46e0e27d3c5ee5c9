"""Bedrock as an upstream: Anthropic's replies in its frames, and the ways in which it fails.

Shapes from botocore's model of bedrock-runtime and the API reference, read 2026-11.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable

from farebox.wire.event_stream import write_frame, write_headers
from tests.support.upstream import Framing, Reply
from tests.support.upstream_replies import Piece

EVENT_STREAM = ("Content-Type", "application/vnd.amazon.eventstream")
REQUEST_ID = "5f3c1c1e-scripted"
ABOUT = (
    EVENT_STREAM,
    ("x-amzn-RequestId", REQUEST_ID),
    ("X-Amzn-Bedrock-Content-Type", "application/json"),
)
CHUNK = write_headers({":event-type": "chunk", ":content-type": "application/json", ":message-type": "event"})


def frame(data: bytes) -> bytes:
    """Write one event of the Messages API as Bedrock sends it, padded as it does."""
    payload = {"bytes": base64.b64encode(data).decode(), "p": "abcdefghij"}
    return write_frame(CHUNK, json.dumps(payload).encode())


def exception_frame(name: str, message: str) -> bytes:
    headers = {":exception-type": name, ":content-type": "application/json", ":message-type": "exception"}
    return write_frame(write_headers(headers), json.dumps({"message": message}).encode())


def data_lines(body: bytes) -> list[bytes]:
    """Give the data of a stream's events, pings left out, which Bedrock does not send."""
    lines = (line[6:] for line in body.split(b"\n") if line.startswith(b"data: "))
    return [line for line in lines if line != b'{"type":"ping"}' and line != b'{"type": "ping"}']


def bedrock_stream(reply: Reply, *more: Piece) -> Reply:
    """Put Anthropic's stream into frames, one piece each; `more` comes behind them."""
    frames = [frame(data) for data in data_lines(reply.body)]
    return framed([*frames, *more])


def framed(pieces: Iterable[Piece]) -> Reply:
    return Reply(200, ABOUT, tuple(pieces), Framing.CHUNKED)


def bedrock_error(status: int, code: str, message: str) -> Reply:
    """Write an error of the service, as it comes before an answer began."""
    headers = (
        ("Content-Type", "application/json"),
        ("x-amzn-RequestId", REQUEST_ID),
        ("x-amzn-ErrorType", f"{code}:http://internal.amazon.com/coral/com.amazon.bedrock/"),
    )
    return Reply(status, headers, (json.dumps({"message": message}).encode(),))


def bedrock_json(document: bytes) -> Reply:
    headers = (("Content-Type", "application/json"), ("x-amzn-RequestId", REQUEST_ID))
    return Reply(200, headers, (document,))
