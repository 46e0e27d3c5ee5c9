"""What the demo model reads of a Messages request, and how many tokens it says that was."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TypeVar

import msgspec
from msgspec import Struct

MODEL = "claude-demo"

_T = TypeVar("_T")
_BYTES_PER_TOKEN = 4
_MARK = b'"cache_control"'
_HOUR = re.compile(rb'"ttl"\s*:\s*"1h"')


class Failed(Exception):
    """The answer is an error from the start."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Message(msgspec.Struct):
    role: str
    content: msgspec.Raw


class Format(msgspec.Struct):
    type: str = ""
    schema: Mapping[str, object] = msgspec.field(default_factory=dict)


class OutputConfig(msgspec.Struct):
    format: Format | None = None


class Block(msgspec.Struct):
    type: str = ""
    text: str = ""


class Tool(msgspec.Struct):
    name: str = ""


class Asked(msgspec.Struct):
    """The fields that change the answer; all others are welcome and ignored."""

    model: str
    messages: Sequence[Message]
    max_tokens: int | None = None
    stream: bool = False
    system: msgspec.Raw = msgspec.Raw(b"[]")
    tools: Sequence[msgspec.Raw] = ()
    output_config: OutputConfig | None = None
    output_format: Format | None = None


class InputTokens(Struct, frozen=True):
    fresh: int
    cache_read: int
    cache_write_5m: int
    cache_write_1h: int


def read_request(body: bytes) -> Asked:
    """Read a request body. Raises `Failed` as Anthropic would refuse it."""
    asked = _decode(body, Asked)
    if not asked.messages:
        raise Failed(400, "messages: at least one message is required")
    for index, message in enumerate(asked.messages):
        if message.role not in {"user", "assistant", "system"}:
            raise Failed(400, f"messages.{index}.role: Input should be 'user', 'assistant' or 'system'")
        pieces_of(message.content)
    if not bare_model(asked.model).startswith(MODEL):
        raise Failed(404, f"model: {asked.model}")
    return asked


def bare_model(model: str) -> str:
    """Drop an `@provider/` in front of the model's name."""
    return model.rpartition("/")[2]


def newest_blocks(asked: Asked) -> list[Block]:
    """Give the content blocks of the newest message with the role user."""
    contents = [message.content for message in asked.messages if message.role == "user"]
    return [
        Block("text", _decode(piece, str)) if piece.startswith(b'"') else _decode(piece, Block)
        for piece in (pieces_of(contents[-1]) if contents else ())
    ]


def offered_tools(asked: Asked) -> list[str]:
    """Give the names of the tools that the caller offers."""
    return [_decode(raw, Tool).name for raw in asked.tools]


def input_tokens(asked: Asked) -> InputTokens:
    """Estimate the prompt from its bytes, in prompt order: tools, system, messages.

    What stands before the last cache_control is cached: read if an earlier turn has sent it, else written.
    """
    turns = [index for index, message in enumerate(asked.messages) if message.role == "assistant"]
    newest = turns[-1] if turns else 0
    head = [*map(bytes, asked.tools), *pieces_of(asked.system)]
    old = head if turns else []
    new = [] if turns else head
    for index, message in enumerate(asked.messages):
        (old if index < newest else new).extend(pieces_of(message.content))
    pieces = old + new
    marks = [index for index, piece in enumerate(pieces) if _MARK in piece]
    cached = marks[-1] + 1 if marks else 0
    written = _tokens(pieces[len(old) : cached])
    is_hour = bool(marks) and _HOUR.search(pieces[marks[-1]]) is not None
    return InputTokens(
        fresh=max(1, _tokens(pieces[cached:])),
        cache_read=_tokens(pieces[: min(len(old), cached)]),
        cache_write_5m=0 if is_hour else written,
        cache_write_1h=written if is_hour else 0,
    )


def pieces_of(content: msgspec.Raw) -> list[bytes]:
    """Take a string or a list of blocks apart, each piece still JSON."""
    if bytes(content).startswith(b'"'):
        return [bytes(content)]
    return [bytes(piece) for piece in _decode(content, list[msgspec.Raw])]


def _tokens(pieces: Sequence[bytes]) -> int:
    return -(-sum(map(len, pieces)) // _BYTES_PER_TOKEN)


def _decode(document: bytes | msgspec.Raw, type_: type[_T]) -> _T:
    try:
        return msgspec.json.decode(document, type=type_)
    except msgspec.ValidationError as error:
        raise Failed(400, str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Failed(400, f"The request body is not valid JSON: {error}") from None
