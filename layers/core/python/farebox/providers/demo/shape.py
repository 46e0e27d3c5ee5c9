"""The demo model's replies in Anthropic's shapes: message, event stream, token count, model list, error."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from farebox.providers.demo.reply import Part, Reply
from farebox.providers.demo.request import Asked, bare_model, input_tokens

Step = tuple[int, bytes | None]
"""Milliseconds of silence, then bytes; None stands for a broken connection."""

_TOKENS_PER_DELTA = 4
_SIGNATURE = "ZGVtbw=="
_ERROR_TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def token_count(asked: Asked) -> dict[str, object]:
    """Answer /v1/messages/count_tokens."""
    tokens = input_tokens(asked)
    return {"input_tokens": tokens.fresh + tokens.cache_read + tokens.cache_write_5m + tokens.cache_write_1h}


def error_body(status: int, message: str, digest: str) -> dict[str, object]:
    """Wrap an error as Anthropic does."""
    kind = _ERROR_TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": request_id(digest)}


def request_id(digest: str) -> str:
    return f"req_demo_{digest}"


def message(asked: Asked, reply: Reply, digest: str) -> dict[str, object]:
    """Give the whole answer to a request that does not stream."""
    return {
        **_envelope(asked, digest),
        "content": [_content(part, index, digest) for index, part in enumerate(reply.parts)],
        "stop_reason": reply.stop_reason,
        "usage": {**_usage(asked, reply.output_tokens), **_thinking_usage(reply)},
    }


def stream(asked: Asked, reply: Reply, digest: str, delta_ms: int) -> Iterator[Step]:
    """Give the answer as paced events, ended early by the reply's mishap."""
    start = {**_envelope(asked, digest), "content": [], "stop_reason": None, "usage": _usage(asked, 1)}
    yield delta_ms, _event("message_start", message=start)
    deltas = list(_deltas(reply))
    for position, (index, delta) in enumerate(deltas):
        part = reply.parts[index]
        is_middle = position == len(deltas) // 2
        if position == 0 or deltas[position - 1][0] != index:
            yield 0, _event("content_block_start", index=index, content_block=_opening(part, index, digest))
        if position == 0:
            yield 0, _event("ping")
        if is_middle and reply.mishap:
            yield (
                delta_ms,
                None if reply.mishap == "cut" else _sse("error", error_body(529, "Overloaded", digest)),
            )
            return
        yield (
            delta_ms + (reply.stall_ms if is_middle else 0),
            _event("content_block_delta", index=index, delta=delta),
        )
        if position == len(deltas) - 1 or deltas[position + 1][0] != index:
            yield 0, _event("content_block_stop", index=index)
    usage = {**_usage(asked, reply.output_tokens), **_thinking_usage(reply)}
    del usage["cache_creation"], usage["service_tier"]
    yield (
        0,
        _event("message_delta", delta={"stop_reason": reply.stop_reason, "stop_sequence": None}, usage=usage),
    )
    yield 0, _event("message_stop")


def _deltas(reply: Reply) -> Iterator[tuple[int, dict[str, object]]]:
    for index, part in enumerate(reply.parts):
        kind, grows = {
            "text": ("text_delta", "text"),
            "thinking": ("thinking_delta", "thinking"),
            "tool_use": ("input_json_delta", "partial_json"),
        }[part.type]
        for first in range(0, len(part.tokens), _TOKENS_PER_DELTA):
            yield index, {"type": kind, grows: "".join(part.tokens[first : first + _TOKENS_PER_DELTA])}
        if part.type == "thinking":
            yield index, {"type": "signature_delta", "signature": _SIGNATURE}


def _opening(part: Part, index: int, digest: str) -> dict[str, object]:
    if part.type == "tool_use":
        return {"type": "tool_use", "id": f"toolu_demo_{digest}_{index}", "name": part.name, "input": {}}
    if part.type == "thinking":
        return {"type": "thinking", "thinking": "", "signature": ""}
    return {"type": "text", "text": ""}


def _content(part: Part, index: int, digest: str) -> dict[str, object]:
    opening = _opening(part, index, digest)
    if part.type == "thinking":
        return {**opening, "thinking": part.whole, "signature": _SIGNATURE}
    if part.type == "text":
        return {**opening, "text": part.whole}
    try:
        msgspec.json.decode(part.whole)
    except msgspec.DecodeError:  # max_tokens ended it before its last bracket
        return opening
    return {**opening, "input": msgspec.Raw(part.whole.encode())}


def _envelope(asked: Asked, digest: str) -> dict[str, object]:
    return {
        "id": f"msg_demo_{digest}",
        "type": "message",
        "role": "assistant",
        "model": bare_model(asked.model),
        "stop_sequence": None,
    }


def _usage(asked: Asked, output_tokens: int) -> dict[str, object]:
    tokens = input_tokens(asked)
    return {
        "input_tokens": tokens.fresh,
        "cache_creation_input_tokens": tokens.cache_write_5m + tokens.cache_write_1h,
        "cache_read_input_tokens": tokens.cache_read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": tokens.cache_write_5m,
            "ephemeral_1h_input_tokens": tokens.cache_write_1h,
        },
        "output_tokens": output_tokens,
        "service_tier": "standard",
    }


def _thinking_usage(reply: Reply) -> dict[str, object]:
    thought = sum(len(part.tokens) for part in reply.parts if part.type == "thinking")
    return {"output_tokens_details": {"thinking_tokens": thought}} if thought else {}


def _event(kind: str, **fields: object) -> bytes:
    return _sse(kind, {"type": kind, **fields})


def _sse(kind: str, data: dict[str, object]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), msgspec.json.encode(data))
