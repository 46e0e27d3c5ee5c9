"""The outermost object of a request body: its values as the bytes that they came as."""

from __future__ import annotations

import json

import msgspec

from farebox.domain.errors import RequestMalformed

JsonObject = dict[str, msgspec.Raw]

_object = msgspec.json.Decoder(JsonObject)


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
