"""What travels in the bench: an answer of 306 events as Anthropic writes them, and requests of two sizes."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

MODEL = "claude-sonnet-4-5"
DELTAS = 300
LARGE_BODY_BYTES = 1_000_000
# Code, as most of what Claude Code sends: full of quotes, which is what makes searching it slow.
_TURN = {"role": "user", "content": [{"type": "text", "text": Path(__file__).read_text(encoding="utf-8")}]}
_WORDS = ("The", "tests", "pass", "now", "because", "the", "window", "is", "part", "of", "the", "key")


def answer_events(deltas: int = DELTAS) -> list[bytes]:
    """Write a text answer; 300 deltas make 306 events of 39 kB."""
    return [
        _event(
            "message_start",
            message={
                "model": MODEL,
                "id": "msg_bench",
                "type": "message",
                "role": "assistant",
                "content": [],
                "stop_reason": None,
                "stop_sequence": None,
                "usage": _usage(1),
            },
        ),
        _event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
        _event("ping"),
        *(_delta(number) for number in range(deltas)),
        _event("content_block_stop", index=0),
        _event(
            "message_delta",
            delta={"stop_reason": "end_turn", "stop_sequence": None},
            usage=_usage(max(deltas * 3, 1)),
        ),
        _event("message_stop"),
    ]


def request_body(size_bytes: int = 0) -> bytes:
    """Write a streaming request with the fields and in the order of Claude Code, of about `size_bytes`."""
    turns = max(1, size_bytes // len(_compact(_TURN)))
    cached = {"type": "text", "text": "Now run the tests.", "cache_control": {"type": "ephemeral"}}
    return _compact(
        {
            "model": MODEL,
            "messages": [*[_TURN] * (turns if size_bytes else 0), {"role": "user", "content": [cached]}],
            "system": [{"type": "text", "text": "You are an agent.", "cache_control": {"type": "ephemeral"}}],
            "metadata": {
                "user_id": _compact({"session_id": "327492e9-1631-48f4-b3f3-a4b6c247667b"}).decode()
            },
            "max_tokens": 32_000,
            "thinking": {"type": "adaptive", "display": "omitted"},
            "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
            "output_config": {"effort": "medium"},
            "stream": True,
            "tools": [{"name": "Bash", "description": "Runs a command.", "input_schema": {"type": "object"}}],
        }
    )


def http_request(port: int, key: str, body: bytes) -> bytes:
    """Write the whole request as it goes over the wire."""
    lines = [
        "POST /v1/messages?beta=true HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Accept: application/json",
        "User-Agent: claude-cli/2.1.330 (external, cli)",
        "X-Claude-Code-Session-Id: 3f6c1c0e-7d0a-4b52-9a44-6a7f3a0c0b11",
        "anthropic-version: 2023-06-01",
        "anthropic-beta: interleaved-thinking-2025-05-14,context-management-2025-06-27",
        "Content-Type: application/json",
        f"Authorization: Bearer {key}",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


def write_frames(path: Path, events: Iterable[bytes]) -> None:
    """Write events as source.c reads them, each behind a line with its size."""
    path.write_bytes(b"".join(b"%d\n%b" % (len(event), event) for event in events))


def _delta(number: int) -> bytes:
    word = f" {_WORDS[number % len(_WORDS)]}"
    return _event("content_block_delta", index=0, delta={"type": "text_delta", "text": word})


def _usage(output_tokens: int) -> dict[str, object]:
    return {
        "input_tokens": 12,
        "cache_creation_input_tokens": 1_024,
        "cache_read_input_tokens": 20_480,
        "cache_creation": {"ephemeral_5m_input_tokens": 1_024, "ephemeral_1h_input_tokens": 0},
        "output_tokens": output_tokens,
        "service_tier": "standard",
    }


def _event(kind: str, **fields: object) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), _compact({"type": kind, **fields}))


def _compact(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
