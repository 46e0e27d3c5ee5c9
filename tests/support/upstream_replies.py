"""What a scripted upstream answers: replies piece by piece, and builders of Anthropic's own shapes."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum

MODEL = "claude-opus-5-5"
REQUEST_ID = "req_011CScripted"

Json = Mapping[str, object]


class Gate:
    """Holds a reply back until the test opens it, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_open = False
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    def open(self) -> None:
        """Let everyone through, now and later."""
        with self._lock:
            self._is_open = True
            waiting, self._waiting = self._waiting, []
        for loop, event in waiting:
            loop.call_soon_threadsafe(event.set)

    async def passed(self) -> None:
        """Wait for `open`."""
        event = asyncio.Event()
        with self._lock:
            if self._is_open:
                return
            self._waiting.append((asyncio.get_running_loop(), event))
        await event.wait()


class Ending(Enum):
    """CUT resets the connection, CLOSE closes it politely, STALL stays silent until the client leaves."""

    CUT = "cut"
    CLOSE = "close"
    STALL = "stall"


@dataclass(frozen=True, slots=True)
class Pause:
    """Real silence, for subprocess journeys; tests in one process use a Gate."""

    seconds: float


Piece = bytes | Gate | Pause | Ending


class Framing(Enum):
    """How the end of a body is told. In RAW, the pieces are the whole answer, status line and all."""

    CHUNKED = "chunked"
    LENGTH = "length"
    CLOSE = "close"
    RAW = "raw"


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer. Each bytes piece is one write, and one chunk where the framing is chunked.

    `before_head` holds the head back. `length` overrides what content-length says.
    """

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    pieces: tuple[Piece, ...] = ()
    framing: Framing = Framing.LENGTH
    before_head: tuple[Piece, ...] = ()
    length: int | None = None

    @property
    def body(self) -> bytes:
        """The bytes of the body without its framing."""
        return b"".join(piece for piece in self.pieces if isinstance(piece, bytes))

    def rechunked(self, size: int) -> Reply:
        """Cut the body into pieces of `size` bytes, wherever that falls."""
        body = self.body
        return replace(self, pieces=tuple(body[at : at + size] for at in range(0, len(body), size)))

    def cut_after(self, size: int) -> Reply:
        """Send `size` bytes of the body, then reset the connection."""
        return replace(self, pieces=(self.body[:size], Ending.CUT))

    def with_piece(self, index: int, piece: Piece) -> Reply:
        """Put a gate, a pause or an ending before the piece at `index`."""
        return replace(self, pieces=(*self.pieces[:index], piece, *self.pieces[index:]))

    def with_headers(self, *headers: tuple[str, str]) -> Reply:
        """Add response headers."""
        return replace(self, headers=(*self.headers, *headers))


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool_use block of the reply."""

    name: str
    arguments: Json
    id: str = "toolu_01Scripted"


def usage(
    *,
    input_tokens: int = 0,
    output_tokens: int = 0,
    cache_read_tokens: int = 0,
    cache_write_5m_tokens: int = 0,
    cache_write_1h_tokens: int = 0,
) -> dict[str, object]:
    """Write a usage object as the Messages API reports it."""
    return {
        "input_tokens": input_tokens,
        "cache_creation_input_tokens": cache_write_5m_tokens + cache_write_1h_tokens,
        "cache_read_input_tokens": cache_read_tokens,
        "cache_creation": {
            "ephemeral_5m_input_tokens": cache_write_5m_tokens,
            "ephemeral_1h_input_tokens": cache_write_1h_tokens,
        },
        "output_tokens": output_tokens,
        "service_tier": "standard",
    }


def sse(event: str, data: Json) -> bytes:
    """Write one server-sent event."""
    return f"event: {event}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()


def message_events(
    text: str = "Hello from the scripted upstream.",
    *,
    usage: Json,
    tool: ToolCall | None = None,
    model: str = MODEL,
    stop_reason: str | None = None,
) -> tuple[bytes, ...]:
    """Write the events of one streamed message. The final usage has no 5m/1h split, as on the real wire."""
    start = _message(model, {**usage, "output_tokens": 1})
    final = {name: value for name, value in usage.items() if name not in {"cache_creation", "service_tier"}}
    delta = {"stop_reason": stop_reason or ("tool_use" if tool else "end_turn"), "stop_sequence": None}
    return (
        sse("message_start", {"type": "message_start", "message": start}),
        *_block_events(0, {"type": "text", "text": ""}, [_text_delta(word) for word in text.split(" ")]),
        *(_tool_events(1, tool) if tool else ()),
        sse("message_delta", {"type": "message_delta", "delta": delta, "usage": final}),
        sse("message_stop", {"type": "message_stop"}),
    )


def sse_message(
    text: str = "Hello from the scripted upstream.",
    *,
    usage: Json,
    tool: ToolCall | None = None,
    model: str = MODEL,
    stop_reason: str | None = None,
    crlf: bool = False,
) -> Reply:
    """Answer with a streamed message, one chunk an event."""
    events = message_events(text, usage=usage, tool=tool, model=model, stop_reason=stop_reason)
    return sse_reply(event.replace(b"\n", b"\r\n") if crlf else event for event in events)


def sse_reply(events: Iterable[bytes]) -> Reply:
    """Answer with these bytes as an event stream, one chunk each."""
    headers = (("Content-Type", "text/event-stream; charset=utf-8"), ("Request-Id", REQUEST_ID))
    return Reply(headers=headers, pieces=tuple(events), framing=Framing.CHUNKED)


def json_message(
    text: str = "Hello from the scripted upstream.",
    *,
    usage: Json,
    tool: ToolCall | None = None,
    model: str = MODEL,
    compress: bool = False,
) -> Reply:
    """Answer with a message that does not stream."""
    content: list[Json] = [{"type": "text", "text": text}]
    if tool:
        content.append({"type": "tool_use", "id": tool.id, "name": tool.name, "input": tool.arguments})
    ending = {"content": content, "stop_reason": "tool_use" if tool else "end_turn"}
    return json_reply({**_message(model, usage), **ending}, compress=compress)


def json_reply(
    document: Json,
    *,
    status: int = 200,
    headers: Sequence[tuple[str, str]] = (),
    compress: bool = False,
) -> Reply:
    """Answer with JSON, gzipped if so asked."""
    body = json.dumps(document).encode()
    coding = (("Content-Encoding", "gzip"),) if compress else ()
    return Reply(
        status=status,
        headers=(("Content-Type", "application/json"), ("Request-Id", REQUEST_ID), *coding, *headers),
        pieces=(gzip.compress(body, mtime=0) if compress else body,),
    )


def error_reply(status: int, kind: str, message: str, *headers: tuple[str, str]) -> Reply:
    """Answer with Anthropic's error envelope."""
    error = {"type": "error", "error": {"type": kind, "message": message}, "request_id": REQUEST_ID}
    return json_reply(error, status=status, headers=headers)


def _message(model: str, usage: Json) -> dict[str, object]:
    return {
        "id": "msg_01Scripted",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": dict(usage),
    }


def _tool_events(index: int, tool: ToolCall) -> tuple[bytes, ...]:
    opening = {"type": "tool_use", "id": tool.id, "name": tool.name, "input": {}}
    written = json.dumps(tool.arguments)
    middle = len(written) // 2
    halves = (written[:middle], written[middle:])
    return _block_events(
        index, opening, [{"type": "input_json_delta", "partial_json": half} for half in halves]
    )


def _text_delta(word: str) -> Json:
    return {"type": "text_delta", "text": f"{word} "}


def _block_events(index: int, opening: Json, deltas: Sequence[Json]) -> tuple[bytes, ...]:
    place: Json = {"index": index}
    return (
        sse("content_block_start", {"type": "content_block_start", **place, "content_block": opening}),
        *([sse("ping", {"type": "ping"})] if index == 0 else []),
        *(
            sse("content_block_delta", {"type": "content_block_delta", **place, "delta": delta})
            for delta in deltas
        ),
        sse("content_block_stop", {"type": "content_block_stop", **place}),
    )
