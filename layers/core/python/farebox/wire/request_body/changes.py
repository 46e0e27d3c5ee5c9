"""A request body, changed where a config says so and nowhere else."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import msgspec

from farebox.domain.errors import RequestMalformed
from farebox.wire.request_body.top_level import read_object

# A config's numbers may be decimals, and JSON has no other word for those than a number.
_json = msgspec.json.Encoder(decimal_format="number")
_objects = msgspec.json.Decoder(dict[str, msgspec.Raw])
_lists = msgspec.json.Decoder(list[msgspec.Raw])

_STEP = re.compile(r"[^.\[\]]+|\[(?:[0-9]+|\*)\]")

Step = str | int | None
"""The name of a field, a place in a list, or None for all of a list."""


class _FirstMessage(msgspec.Struct):
    content: str | list[dict[str, object]] = ""


_messages = msgspec.json.Decoder(list[msgspec.Raw])
_first = msgspec.json.Decoder(_FirstMessage)


def with_params(
    body: bytes, *, default: Mapping[str, object], override: Mapping[str, object], drop: Sequence[str]
) -> bytes:
    """Give the body with fields put in where they are absent, put in over what is there, and left out.

    Paths to leave out are such as 'metadata.user_id' and 'tools[*].strict'. Every other value keeps its
    bytes. Raises `RequestMalformed`.
    """
    top = read_object(body)
    for name, value in default.items():
        if name not in top:
            top[name] = msgspec.Raw(_json.encode(value))
    for name, value in override.items():
        top[name] = msgspec.Raw(_json.encode(value))
    written = msgspec.Raw(_json.encode(top))
    for path in drop:
        written = _without(written, _steps(path))
    return bytes(written)


def opening_text(messages: memoryview) -> str | None:
    """Give the text of the first message, by which a conversation is known while it grows."""
    try:
        found = _messages.decode(messages)
        content = _first.decode(found[0]).content if found else ""
    except (msgspec.MsgspecError, RecursionError):
        return None
    if isinstance(content, str):
        return content or None
    texts = [text for block in content if isinstance(text := block.get("text"), str)]
    return "\n".join(texts) or None


def _steps(path: str) -> list[Step]:
    return [_step(text) for text in _STEP.findall(path)]


def _step(text: str) -> Step:
    if not text.startswith("["):
        return text
    inside = text[1:-1]
    return None if inside == "*" else int(inside)


def _without(raw: msgspec.Raw, steps: Sequence[Step]) -> msgspec.Raw:
    """Leave out what is at a path; a value that has no such path stays as it is."""
    step, rest = steps[0], steps[1:]
    try:
        return _object_without(raw, step, rest) if isinstance(step, str) else _list_without(raw, step, rest)
    except msgspec.MsgspecError:
        return raw
    except RecursionError:
        raise RequestMalformed("The request body is nested too deeply.") from None


def _object_without(raw: msgspec.Raw, name: str, rest: Sequence[Step]) -> msgspec.Raw:
    fields = _objects.decode(raw)
    if name not in fields:
        return raw
    if rest:
        fields[name] = _without(fields[name], rest)
    else:
        del fields[name]
    return msgspec.Raw(_json.encode(fields))


def _list_without(raw: msgspec.Raw, place: int | None, rest: Sequence[Step]) -> msgspec.Raw:
    entries = _lists.decode(raw)
    chosen = range(len(entries)) if place is None else range(place, min(place + 1, len(entries)))
    if rest:
        entries = [_without(entry, rest) if at in chosen else entry for at, entry in enumerate(entries)]
    else:
        entries = [entry for at, entry in enumerate(entries) if at not in chosen]
    return msgspec.Raw(_json.encode(entries))
