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
    try:
        return bytes(_without(written, [_steps(path) for path in drop]))
    except RecursionError:
        raise RequestMalformed("The request body is nested too deeply.") from None


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


def _without(raw: msgspec.Raw, paths: Sequence[Sequence[Step]]) -> msgspec.Raw:
    """Leave out what is at some paths, in one go over the value. One that has no such path stays as it is."""
    names = [path for path in paths if isinstance(path[0], str)]
    places = [path for path in paths if not isinstance(path[0], str)]
    first = bytes(memoryview(raw)[:1])
    try:
        if names and first == b"{":
            return _object_without(raw, _by_first(names))
        if places and first == b"[":
            return _list_without(raw, _by_first(places))
    except msgspec.MsgspecError:
        return raw
    return raw


def _by_first(paths: Sequence[Sequence[Step]]) -> dict[Step, list[Sequence[Step]]]:
    """Give what follows each first step; nothing follows where that is the end."""
    found: dict[Step, list[Sequence[Step]]] = {}
    for first, *rest in paths:
        found.setdefault(first, []).append(rest)
    return found


def _object_without(raw: msgspec.Raw, rests: Mapping[Step, list[Sequence[Step]]]) -> msgspec.Raw:
    fields = _objects.decode(raw)
    touched = [name for name in rests if name in fields]
    for name in touched:
        if [] in rests[name]:
            del fields[name]
        else:
            fields[name] = _without(fields[name], rests[name])
    return msgspec.Raw(_json.encode(fields)) if touched else raw


def _list_without(raw: msgspec.Raw, rests: Mapping[Step, list[Sequence[Step]]]) -> msgspec.Raw:
    """The places are those that the entries came in, whatever else goes."""
    everywhere = rests.get(None, [])
    kept = []
    for at, entry in enumerate(_lists.decode(raw)):
        here = [*everywhere, *rests[at]] if at in rests else everywhere
        if [] not in here:
            kept.append(_without(entry, here) if here else entry)
    return msgspec.Raw(_json.encode(kept))
