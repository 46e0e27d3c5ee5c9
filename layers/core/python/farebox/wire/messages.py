"""The Messages API as bytes: the few fields a gateway needs, read without touching the rest."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec

from farebox.domain.errors import RequestMalformed
from farebox.wire.request_body.estimate import InputEstimate, estimate_input
from farebox.wire.request_body.top_level import JsonObject, read_object

T = TypeVar("T")

MODEL_LENGTH_MAX = 256
# Far above what any model writes or searches in one request. What is asked beyond is the provider's to
# refuse, and amounts made from these stay within 64 bits.
OUTPUT_TOKENS_MAX = 10_000_000
USES_MAX = 100_000

_UNBOUNDED_USES = 10


@dataclass(frozen=True, slots=True)
class MessagesHead:
    """What routing, quota and attribution need of a request body.

    `other_models` are those that the body lets the provider use beside `model`: an advisor's, and fallbacks.
    `thinks` says that output may be written which nobody sees, `thinking_tokens` how much is set aside for
    that. The `_uses_bound` are how often the declared server tools may be used. `messages` are the raw bytes
    of that field, `frame_digest` is of system and tools, and `fields` are all of the top level as raw bytes.
    """

    model: str
    other_models: tuple[str, ...]
    is_stream: bool
    max_tokens: int
    session_id: str | None
    input: InputEstimate
    thinks: bool
    thinking_tokens: int
    has_server_tools: bool
    web_searches_bound: int
    advisor_uses_bound: int
    fallbacks: int
    speed: str | None
    inference_geo: str | None
    messages: memoryview
    frame_digest: bytes
    fields: JsonObject = field(default_factory=dict, repr=False, compare=False)


class _Tool(msgspec.Struct):
    type: str | None = None
    model: str | None = None
    max_uses: int | None = None


class _Metadata(msgspec.Struct):
    user_id: str | None = None


class _Thinking(msgspec.Struct):
    type: str | None = None
    budget_tokens: int | None = None


class _Fallback(msgspec.Struct):
    model: str | None = None


class _UserId(msgspec.Struct):
    session_id: str | None = None


_string = msgspec.json.Decoder(str)
_optional_string = msgspec.json.Decoder(str | None)
_integer = msgspec.json.Decoder(int | None)
_boolean = msgspec.json.Decoder(bool | None)
_tools = msgspec.json.Decoder(list[_Tool] | None)
_metadata = msgspec.json.Decoder(_Metadata | None)
_thinking = msgspec.json.Decoder(_Thinking | None)
_fallbacks = msgspec.json.Decoder(list[str | _Fallback] | None)
_user_id = msgspec.json.Decoder(_UserId)


def read_head(body: bytes) -> MessagesHead:
    """Read the head of a Messages request. Raises `RequestMalformed` naming the field."""
    top = read_object(body)
    tools = _field(_tools, top, "tools", None) or []
    server_tools = [tool for tool in tools if tool.type not in (None, "custom")]
    messages = top.get("messages")
    max_tokens = _field(_integer, top, "max_tokens", None) or 0
    if max_tokens < 0:
        raise RequestMalformed("max_tokens: must not be negative.")
    fallbacks = _field(_fallbacks, top, "fallbacks", None) or []
    thinks, thinking_tokens = _thinks(top)
    return MessagesHead(
        model=_required_model(top),
        other_models=_other_models(server_tools, fallbacks),
        is_stream=bool(_field(_boolean, top, "stream", None)),
        max_tokens=min(max_tokens, OUTPUT_TOKENS_MAX),
        session_id=_session_id(top),
        input=estimate_input(body, messages),
        thinks=thinks,
        thinking_tokens=thinking_tokens,
        # A fallback runs on the provider's side too: the answer cannot be cut where it turns.
        has_server_tools=bool(server_tools or fallbacks),
        web_searches_bound=_uses_bound(server_tools, "web_search"),
        advisor_uses_bound=_uses_bound(server_tools, "advisor"),
        fallbacks=len(fallbacks),
        speed=_field(_optional_string, top, "speed", None),
        inference_geo=_field(_optional_string, top, "inference_geo", None),
        messages=memoryview(messages) if messages is not None else memoryview(b""),
        frame_digest=_frame_digest(top),
        fields=top,
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
    if not model.isprintable():  # it stands in logs, in rows and in names of buckets
        raise RequestMalformed("model: must be printable characters.")
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


def _uses_bound(tools: list[_Tool], kind: str) -> int:
    uses = [tool.max_uses for tool in tools if tool.type and tool.type.startswith(kind)]
    declared = sum(max(most, 0) if most is not None else _UNBOUNDED_USES for most in uses)
    return min(declared, USES_MAX)


def _other_models(tools: list[_Tool], fallbacks: list[str | _Fallback]) -> tuple[str, ...]:
    named = [tool.model for tool in tools]
    named += [entry if isinstance(entry, str) else entry.model for entry in fallbacks]
    return tuple(model for model in named if model)


def _thinks(top: JsonObject) -> tuple[bool, int]:
    """Say whether output may be written unseen, and how much has been set aside for that."""
    try:
        thinking = _thinking.decode(top.get("thinking", msgspec.Raw(b"null")))
    except (msgspec.MsgspecError, RecursionError):
        return True, OUTPUT_TOKENS_MAX
    if thinking is None or thinking.type == "disabled":
        return False, 0
    return True, min(max(thinking.budget_tokens or 0, 0), OUTPUT_TOKENS_MAX)


def _frame_digest(top: JsonObject) -> bytes:
    digest = hashlib.sha256()
    for name in ("system", "tools"):
        digest.update(memoryview(top.get(name, msgspec.Raw(b""))))
        digest.update(b"\0")
    return digest.digest()


def _field(decoder: msgspec.json.Decoder[T], top: JsonObject, name: str, default: T) -> T:
    raw = top.get(name)
    if raw is None:
        return default
    try:
        return decoder.decode(raw)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise RequestMalformed(f"{name}: {error}.") from None
