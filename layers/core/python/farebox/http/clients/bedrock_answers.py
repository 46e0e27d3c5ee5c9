"""An answer of the Messages API as Bedrock gives it: frames for events, counts and errors in AWS's shape.

Sources: botocore's model of bedrock-runtime and its error shapes; "Common errors" of the Bedrock API
reference. Read 2026-11.
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping

import msgspec

from farebox.domain.errors import UpstreamCut
from farebox.wire.event_stream import CONTENT_TYPE as EVENT_STREAM
from farebox.wire.event_stream import PAYLOAD_BYTES_MAX, write_frame, write_headers
from farebox.wire.headers import find
from farebox.wire.http import JSON_FAULTS, Headers
from farebox.wire.sse import Event, SseScanner

EVENT_BYTES_MAX = PAYLOAD_BYTES_MAX * 3 // 4 - 64
"""Base64 of more would not fit into a frame."""

_CHUNK = write_headers(
    {":event-type": "chunk", ":content-type": "application/json", ":message-type": "event"}
)
_EXCEPTIONS: Mapping[str, str] = {
    "invalid_request_error": "ValidationException",
    "request_too_large": "ValidationException",
    "authentication_error": "UnrecognizedClientException",
    "permission_error": "AccessDeniedException",
    "policy_blocked": "AccessDeniedException",
    "billing_error": "ServiceQuotaExceededException",
    "not_found_error": "ResourceNotFoundException",
    "rate_limit_error": "ThrottlingException",
    "overloaded_error": "ServiceUnavailableException",
    "timeout_error": "ModelTimeoutException",
}
_STREAM_EXCEPTIONS = (
    "ValidationException",
    "ThrottlingException",
    "ServiceUnavailableException",
    "ModelTimeoutException",
)
_NOT_OF_A_STREAM = (b"content-length", b"content-type", b"cache-control")


class _Error(msgspec.Struct):
    type: str = "api_error"
    message: str = ""


class _Envelope(msgspec.Struct):
    error: _Error


class _Count(msgspec.Struct):
    input_tokens: int


class _AllButPings(frozenset[bytes]):
    """Every event is wanted, also those that are not known yet; Bedrock has no pings."""

    def __contains__(self, name: object) -> bool:
        return name != b"ping"


_envelope = msgspec.json.Decoder(_Envelope)
_count = msgspec.json.Decoder(_Count)


class FrameWriter:
    """Feed it the bytes of a stream in any pieces; it gives the frames of the events that became complete."""

    def __init__(self) -> None:
        self._scanner = SseScanner(_AllButPings(), EVENT_BYTES_MAX)

    def feed(self, data: bytes) -> bytes:
        """Raises `UpstreamCut` for an event that no frame can hold."""
        return self._frames(self._scanner.feed(data))

    def end(self) -> bytes:
        """Give what is complete but for the empty line behind it."""
        return self._frames(self._scanner.flush())

    def _frames(self, events: list[Event]) -> bytes:
        if self._scanner.overflowed:
            raise UpstreamCut("the provider", "an event is too large for a frame")
        return b"".join([_frame(name, data) for name, data in events])


def is_event_stream(headers: Headers) -> bool:
    """Say whether an answer is a stream of events."""
    return (find(headers, b"content-type") or b"").lower().startswith(b"text/event-stream")


def stream_headers(headers: Headers) -> Headers:
    """Give the head of a stream. Raises `UpstreamCut` where it is compressed, so that nothing can be read."""
    if find(headers, b"content-encoding") not in (None, b"identity"):
        raise UpstreamCut("the provider", "its stream is compressed, which was not asked for")
    kept = [pair for pair in headers if pair[0] not in _NOT_OF_A_STREAM]
    told = [(b"content-type", EVENT_STREAM), (b"x-amzn-bedrock-content-type", b"application/json")]
    return [*told, *_with_request_id(kept)]


def whole_answer(status: int, headers: Headers, body: bytes, *, is_count: bool) -> tuple[Headers, bytes]:
    """Give head and body of an answer in one piece. A message is the same in both APIs."""
    headers = _with_request_id(headers)
    if status < 400:
        return headers, _bedrock_count(body) if is_count else body
    error = _read_error(body)
    headers.append((b"x-amzn-errortype", _exception(error).encode()))
    return headers, msgspec.json.encode({"message": error.message})


def sized(headers: Headers, body: bytes) -> Headers:
    """Give headers that say how long the body is."""
    kept = [pair for pair in headers if pair[0] != b"content-length"]
    return [*kept, (b"content-length", b"%d" % len(body))]


def _frame(name: bytes, data: bytes) -> bytes:
    if name == b"error":
        error = _read_error(data)
        exception = _exception(error)
        if exception not in _STREAM_EXCEPTIONS:
            exception = "InternalServerException"
        exception = exception[0].lower() + exception[1:]
        told = {
            ":exception-type": exception,
            ":content-type": "application/json",
            ":message-type": "exception",
        }
        return write_frame(write_headers(told), msgspec.json.encode({"message": error.message}))
    return write_frame(_CHUNK, b'{"bytes":"%b"}' % binascii.b2a_base64(data, newline=False))


def _read_error(body: bytes) -> _Error:
    """Read Anthropic's envelope; whatever else an upstream said is told as it is."""
    try:
        return _envelope.decode(body).error
    except JSON_FAULTS:
        return _Error(message=body.decode(errors="replace"))


def _exception(error: _Error) -> str:
    return _EXCEPTIONS.get(error.type, "InternalServerException")


def _bedrock_count(body: bytes) -> bytes:
    try:
        return msgspec.json.encode({"inputTokens": _count.decode(body).input_tokens})
    except JSON_FAULTS:
        return body


def _with_request_id(headers: Headers) -> Headers:
    request_id = find(headers, b"request-id")
    if request_id is None or find(headers, b"x-amzn-requestid") is not None:
        return list(headers)
    return [*headers, (b"x-amzn-requestid", request_id)]
