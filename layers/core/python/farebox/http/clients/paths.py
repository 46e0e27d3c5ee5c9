"""Which API a path belongs to, and what of a request stands in it.

Sources: botocore's model of bedrock-runtime; "Use Anthropic's Claude models", cloud.google.com; what Claude
Code 2.1.330 asks for in both modes. Read 2026-11.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from farebox.gateway.incoming import BEDROCK, MESSAGES_API, VERTEX
from farebox.providers.base import COUNT_TOKENS, MESSAGES

# Read after decoding, when the slashes of an ARN stand among those of the path.
_BEDROCK = re.compile(r"/model/(?P<model>.+)/(?P<verb>invoke|invoke-with-response-stream|count-tokens)")
_VERTEX = re.compile(r"/publishers/anthropic/models/(?P<model>.+):(?P<verb>rawPredict|streamRawPredict)")
_VERTEX_COUNT = "count-tokens"
_STREAMING = ("invoke-with-response-stream", "streamRawPredict")


class Route(NamedTuple):
    """Where a POST goes. `model` is None where the body names it."""

    api: str
    operation: str
    model: str | None = None
    is_stream: bool = False


_NATIVE = Route(MESSAGES_API, MESSAGES)
_NATIVE_COUNT = Route(MESSAGES_API, COUNT_TOKENS)


def post_route(path: str) -> Route | None:
    """Find the route of a decoded path without a slash at its end, under any prefix."""
    if path.endswith("/v1/messages"):
        return _NATIVE
    if path.endswith("/v1/messages/count_tokens"):
        return _NATIVE_COUNT
    found = _matched(_BEDROCK, "/model/", path)
    if found is not None:
        operation = COUNT_TOKENS if found["verb"] == "count-tokens" else MESSAGES
        return Route(BEDROCK, operation, found["model"], found["verb"] in _STREAMING)
    found = _matched(_VERTEX, "/publishers/anthropic/models/", path)
    if found is None:
        return None
    if found["model"] == _VERTEX_COUNT:
        return Route(VERTEX, COUNT_TOKENS)
    return Route(VERTEX, MESSAGES, found["model"], found["verb"] in _STREAMING)


def _matched(form: re.Pattern[str], mark: str, path: str) -> re.Match[str] | None:
    """Match from the first mark to the end of the path; before it any prefix may stand."""
    at = path.find(mark)
    return None if at < 0 else form.fullmatch(path, at)
