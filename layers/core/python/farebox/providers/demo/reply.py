"""What the demo model says: a paragraph, or whatever a `demo:` line asks for."""

from __future__ import annotations

import json
import re

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from farebox.providers.demo.request import Asked, Failed, newest_blocks, offered_tools
from farebox.providers.demo.sample import sample_text

PARAGRAPH = (
    "Hello! I am claude-demo, a model that lives inside farebox. I do not think, I cost nothing real and I "
    "always give the same answer to the same question, but farebox meters, prices and budgets me like any "
    "other model: see `farebox usage` and `farebox requests`. Begin a line with `demo:` to see what else a "
    'gateway must live with: `demo: tool Bash {"command": "echo hello"}`, `demo: thinking`, '
    "`demo: long 2000`, `demo: stall 20`, `demo: error`, `demo: cut` or `demo: fail 529`."
)
LONGEST_TOKENS = 128_000

_THOUGHT = (
    "The user would like to see me think. I cannot, but I can show how thinking streams through farebox."
)
_DIRECTIVE = re.compile(r"^[ \t]*demo:[ \t]*([a-z]+)[ \t]*(.*)", re.MULTILINE | re.DOTALL)
_TOOL_CALL = re.compile(r"([\w-]+)\s*(.*)", re.DOTALL)


class Part(Struct, frozen=True):
    """One content block: `type` is text, thinking or tool_use; `tokens` are the pieces it streams in."""

    type: str
    tokens: tuple[str, ...]
    name: str = ""

    @property
    def whole(self) -> str:
        """Everything the block says."""
        return "".join(self.tokens)


class Reply(Struct, frozen=True):
    """The answer, and what befalls it half way: a mishap ('cut', 'error' or none) or a silence."""

    parts: tuple[Part, ...]
    stop_reason: str = "end_turn"
    mishap: str = ""
    stall_ms: int = 0

    @property
    def output_tokens(self) -> int:
        """What the caller pays for."""
        return sum(len(part.tokens) for part in self.parts)


def reply_to(asked: Asked) -> Reply:
    """Decide the answer and keep it within `max_tokens`. Raises `Failed` where failing was asked for."""
    return _shortened(_full_reply(asked), asked.max_tokens or LONGEST_TOKENS)


def _full_reply(asked: Asked) -> Reply:
    wanted = (asked.output_config and asked.output_config.format) or asked.output_format
    if wanted and wanted.type == "json_schema":
        return _text(sample_text(wanted.schema))
    blocks = newest_blocks(asked)
    if any(block.type == "tool_result" for block in blocks):
        return _text("The tool has answered. A real model would read that now; I only say thank you.")
    for block in reversed(blocks):
        if found := _DIRECTIVE.search(block.text):
            return _directed(found[1], found[2].strip(), asked)
    return _text(PARAGRAPH)


def _directed(verb: str, argument: str, asked: Asked) -> Reply:
    match verb:
        case "tool":
            return _tool_reply(argument, asked)
        case "thinking":
            return Reply((Part("thinking", _words(_THOUGHT)), Part("text", _words(PARAGRAPH))))
        case "cut" | "error":
            return replace(_text(PARAGRAPH), mishap=verb)
        case "long" | "stall" | "fail":
            return _numbered(verb, argument)
    return _text(f"I do not know how to `demo: {verb}`. {PARAGRAPH}")


def _numbered(verb: str, argument: str) -> Reply:
    digits = re.match(r"\d{1,6}\b", argument)
    if not digits:
        return _text(f"`demo: {verb}` wants a number. {PARAGRAPH}")
    number = int(digits[0])
    if verb == "stall":
        return replace(_text(PARAGRAPH), stall_ms=number * 1000)
    if verb == "long":
        words = _words(f"{PARAGRAPH} ")
        count = max(1, min(number, LONGEST_TOKENS))
        return Reply((Part("text", (words * (count // len(words) + 1))[:count]),))
    if 400 <= number <= 599:
        raise Failed(number, f"The demo model was asked to fail with {number}.")
    return _text(f"I can only fail with a status from 400 to 599. {PARAGRAPH}")


def _tool_reply(argument: str, asked: Asked) -> Reply:
    call = _TOOL_CALL.match(argument)
    offered = offered_tools(asked)
    if call is None or call[1] not in offered:
        return _text(f"No such tool is offered. There is: {', '.join(offered) or 'none'}.")
    written = call[2] or "{}"
    try:
        _, end = json.JSONDecoder().raw_decode(written)
        msgspec.json.decode(written[:end], type=dict[str, object])
    except (json.JSONDecodeError, msgspec.MsgspecError, RecursionError):
        return _text(f"The input of {call[1]} must be a JSON object.")
    pieces = re.findall(r".{1,4}", written[:end], re.DOTALL)
    calling = Part("tool_use", tuple(pieces), name=call[1])
    return Reply((Part("text", _words(f"Calling {call[1]}, as you wish.")), calling), stop_reason="tool_use")


def _text(text: str) -> Reply:
    return Reply((Part("text", _words(text)),))


def _words(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"\S+\s*", text))


def _shortened(reply: Reply, max_tokens: int) -> Reply:
    if reply.output_tokens <= max_tokens:
        return reply
    kept: list[Part] = []
    left = max_tokens
    for part in reply.parts:
        if left > 0:
            kept.append(replace(part, tokens=part.tokens[:left]))
            left -= len(part.tokens)
    return replace(reply, parts=tuple(kept), stop_reason="max_tokens")
