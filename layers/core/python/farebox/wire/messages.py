"""The Messages API as bytes: the few fields a gateway needs, read without touching the rest."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from farebox.domain.errors import RequestMalformed

JsonObject = dict[str, msgspec.Raw]
T = TypeVar("T")

# No public tokenizer exists for current Claude models. Over source, prose, JSON, logs, hex, emoji and base64
# the fewest bytes a token took was 1.39 (three public tokenizers), so text / 1.3 is above all of them.
BOUND_BYTES_PER_10_TOKENS = 13
EXPECTED_BYTES_PER_TOKEN = 4
# Images are billed by size, up to a cap per image; this is above the largest published cap.
TOKENS_PER_IMAGE = 4_800
# A PDF is billed by page, text and picture; base64 of a scanned page is rarely below 20 kB.
BOUND_BASE64_BYTES_PER_DOCUMENT_TOKEN = 5
PREFIX_BYTES = 512
MODEL_LENGTH_MAX = 256
CONTEXT_TOKENS_MAX = 1_000_000
# Far above what any model writes or searches in one request. What is asked beyond is the provider's to
# refuse, and amounts made from these stay within 64 bits.
OUTPUT_TOKENS_MAX = 10_000_000
SEARCHES_MAX = 100_000

_UNBOUNDED_SEARCHES = 10


@dataclass(frozen=True, slots=True)
class MessagesHead:
    """What routing, quota and attribution need of a request body. Tokens are estimates made before sending.

    `input_tokens_bound` is above what the input can cost in tokens; `input_tokens_expected` is the likely
    number. `web_searches_bound` is how many searches the declared server tools allow.
    """

    model: str
    is_stream: bool
    max_tokens: int
    session_id: str | None
    input_tokens_bound: int
    input_tokens_expected: int
    caches_for_1h: bool
    caches: bool
    has_server_tools: bool
    web_searches_bound: int
    speed: str | None
    inference_geo: str | None
    prefix_checksum: int = 0


class _Tool(msgspec.Struct):
    type: str | None = None
    max_uses: int | None = None


class _Metadata(msgspec.Struct):
    user_id: str | None = None


class _UserId(msgspec.Struct):
    session_id: str | None = None


class _Source(msgspec.Struct):
    type: str | None = None
    data: str = ""


class _Block(msgspec.Struct):
    type: str | None = None
    source: _Source | None = None
    content: msgspec.Raw = msgspec.Raw(b"null")


class _Message(msgspec.Struct):
    content: msgspec.Raw = msgspec.Raw(b"null")


_object = msgspec.json.Decoder(JsonObject)
_string = msgspec.json.Decoder(str)
_optional_string = msgspec.json.Decoder(str | None)
_integer = msgspec.json.Decoder(int | None)
_boolean = msgspec.json.Decoder(bool | None)
_tools = msgspec.json.Decoder(list[_Tool] | None)
_metadata = msgspec.json.Decoder(_Metadata | None)
_user_id = msgspec.json.Decoder(_UserId)
_messages = msgspec.json.Decoder(list[_Message])
_blocks = msgspec.json.Decoder(list[_Block])


def read_object(body: bytes) -> JsonObject:
    """Read the top level of a JSON object; the values stay raw bytes.

    Raises `RequestMalformed` for broken JSON, broken UTF-8, anything but an object, and a top-level key that
    stands twice, since a provider may take the other one.
    """
    try:
        body.decode()
        top = _object.decode(body)
    except (UnicodeDecodeError, msgspec.MsgspecError, RecursionError) as error:
        raise RequestMalformed(f"The request body is not a JSON object: {error}.") from None
    if not _is_compact(top, body):
        _refuse_duplicates(body, top)
    return top


def read_head(body: bytes) -> MessagesHead:
    """Read the head of a Messages request. Raises `RequestMalformed` naming the field."""
    top = read_object(body)
    tools = _field(_tools, top, "tools", None) or []
    server_tools = [tool for tool in tools if tool.type not in (None, "custom")]
    bound, expected = _input_tokens(body, top)
    # Searched from the end: Claude Code marks the newest message, and writes system and tools behind it.
    caches = body.rfind(b'"cache_control"') >= 0
    max_tokens = _field(_integer, top, "max_tokens", None) or 0
    if max_tokens < 0:
        raise RequestMalformed("max_tokens: must not be negative.")
    return MessagesHead(
        model=_required_model(top),
        is_stream=bool(_field(_boolean, top, "stream", None)),
        max_tokens=min(max_tokens, OUTPUT_TOKENS_MAX),
        session_id=_session_id(top),
        input_tokens_bound=bound,
        input_tokens_expected=expected,
        caches=caches,
        caches_for_1h=caches and b'"1h"' in body,
        has_server_tools=bool(server_tools),
        web_searches_bound=_searches_bound(server_tools),
        prefix_checksum=zlib.crc32(body[:PREFIX_BYTES]),
        speed=_field(_optional_string, top, "speed", None),
        inference_geo=_field(_optional_string, top, "inference_geo", None),
    )


def with_model(body: bytes, model: str) -> bytes:
    """Give the body with another model; every other value keeps its bytes."""
    top = read_object(body)
    top["model"] = msgspec.Raw(msgspec.json.encode(model))
    return msgspec.json.encode(top)


def _required_model(top: JsonObject) -> str:
    model = _field(_string, top, "model", "")
    if not model:
        raise RequestMalformed("model: is required.")
    if len(model) > MODEL_LENGTH_MAX:
        raise RequestMalformed(f"model: is longer than {MODEL_LENGTH_MAX} characters.")
    return model


def _session_id(top: JsonObject) -> str | None:
    """Claude Code puts a JSON string into metadata.user_id; other clients put anything, which is no error."""
    try:
        metadata = _metadata.decode(top.get("metadata", msgspec.Raw(b"null")))
        if metadata is None or metadata.user_id is None or not metadata.user_id.startswith("{"):
            return None
        return _user_id.decode(metadata.user_id).session_id
    except (msgspec.MsgspecError, RecursionError):
        return None


def _searches_bound(tools: list[_Tool]) -> int:
    searching = [tool for tool in tools if tool.type and tool.type.startswith("web_search")]
    declared = sum(
        max(tool.max_uses, 0) if tool.max_uses is not None else _UNBOUNDED_SEARCHES for tool in searching
    )
    return min(declared, SEARCHES_MAX)


def _input_tokens(body: bytes, top: JsonObject) -> tuple[int, int]:
    images, image_bytes, documents_bytes = _attachments(top) if b'"source"' in body else (0, 0, 0)
    text_bytes = max(len(body) - image_bytes - documents_bytes, 0)
    other = images * TOKENS_PER_IMAGE + documents_bytes // BOUND_BASE64_BYTES_PER_DOCUMENT_TOKEN
    bound = text_bytes * 10 // BOUND_BYTES_PER_10_TOKENS + 1 + other
    expected = text_bytes // EXPECTED_BYTES_PER_TOKEN + 1 + other // 2
    return min(bound, CONTEXT_TOKENS_MAX), min(expected, CONTEXT_TOKENS_MAX)


def _attachments(top: JsonObject) -> tuple[int, int, int]:
    """Count images and the base64 bytes of images and documents, inside tool results too."""
    images = image_bytes = document_bytes = 0
    try:
        pending = [message.content for message in _messages.decode(top["messages"])]
        while pending:
            content = pending.pop()
            if bytes(memoryview(content)[:1]) != b"[":
                continue
            for block in _blocks.decode(content):
                pending.append(block.content)
                if block.source is None:
                    continue
                if block.type == "image":
                    images += 1
                    image_bytes += len(block.source.data)
                elif block.source.type == "base64":
                    document_bytes += len(block.source.data)
    except (KeyError, msgspec.MsgspecError, RecursionError):
        # A shape that we do not know: count every byte as text, which is the higher bound.
        return 0, 0, 0
    return images, image_bytes, document_bytes


def _field(decoder: msgspec.json.Decoder[T], top: JsonObject, name: str, default: T) -> T:
    raw = top.get(name)
    if raw is None:
        return default
    try:
        return decoder.decode(raw)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise RequestMalformed(f"{name}: {error}.") from None


def _is_compact(top: JsonObject, body: bytes) -> bool:
    """Say whether the object is written without spaces and every key once, as nearly all clients do: then
    lengths add up.
    """
    written = sum(len(name.encode()) + len(memoryview(raw)) for name, raw in top.items())
    return written + 4 * len(top) + 1 == len(body)


def _refuse_duplicates(body: bytes, top: JsonObject) -> None:
    """Count the keys of the outermost object, which the decoder reports last."""
    counts: list[int] = []
    try:
        json.loads(body, object_pairs_hook=lambda pairs: counts.append(len(pairs)))
    except (ValueError, RecursionError) as error:
        raise RequestMalformed(f"The request body is not a JSON object: {error}.") from None
    if counts[-1] != len(top):
        raise RequestMalformed("The request body has a top-level key twice.")
