"""Cuts a Messages request to what a cloud takes, by its terms. What is taken keeps its bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import msgspec
from msgspec import Struct

from farebox.domain.errors import RequestMalformed
from farebox.providers.base import Call
from farebox.providers.clouds.terms import Terms
from farebox.wire.http import Headers
from farebox.wire.request_body.top_level import JsonObject, read_object

BETA_HEADER = b"anthropic-beta"

_texts = msgspec.json.Decoder(list[str])
_turns = msgspec.json.Decoder(list[JsonObject])
_fields = msgspec.json.Decoder(JsonObject)
_SCOPED = ("system", "tools", "messages")
# Its loss would not be noticed, and it stands for a check of what tools may do: the client must know.
_TOLD_WHEN_DROPPED = "safeguards"


class Shaped(Struct, frozen=True):
    """The fields that are left of a body, and the betas to ask for."""

    fields: JsonObject
    betas: tuple[str, ...]


def shape(call: Call, terms: Terms, pass_betas: Iterable[str] = ()) -> Shaped:
    """Drop and rename what the terms say. Raises `RequestMalformed`."""
    top = read_object(call.body)
    asked = [*_header_betas(call.headers), *_body_betas(top)]
    betas = _passing(asked, terms, frozenset(pass_betas))
    for name in terms.dropped_fields & top.keys():
        del top[name]
    for name, beta in terms.fields.items():
        if name in top and beta not in betas:
            if name == _TOLD_WHEN_DROPPED:
                raise RequestMalformed(f"{name}: Extra inputs are not permitted")
            del top[name]
    if terms.turn_config_beta not in betas:
        _drop_turn_configs(top)
    if not terms.takes_cache_scope:
        _drop_cache_scopes(top)
    return Shaped(top, betas)


def _header_betas(headers: Headers) -> list[str]:
    values = [value.decode("latin-1") for name, value in headers if name == BETA_HEADER]
    return [beta.strip() for value in values for beta in value.split(",") if beta.strip()]


def _body_betas(top: JsonObject) -> list[str]:
    """Take the betas out of a body that has them, as Bedrock's own clients write it."""
    raw = top.pop("anthropic_beta", None)
    if raw is None:
        return []
    try:
        return _texts.decode(raw)
    except msgspec.MsgspecError as error:
        raise RequestMalformed(f"anthropic_beta: {error}.") from None


def _passing(asked: Iterable[str], terms: Terms, extra: frozenset[str]) -> tuple[str, ...]:
    passing: dict[str, None] = {}
    for beta in asked:
        name = terms.betas.get(beta)
        is_unlisted = terms.takes_unknown_betas and beta not in terms.refused_betas
        if name is None and (beta in extra or is_unlisted):
            name = beta
        if name is not None:
            passing[name] = None
    return tuple(passing)


def _drop_turn_configs(top: JsonObject) -> None:
    """Take `output_config` out of single messages, where per-turn control puts it."""
    raw = top.get("messages")
    if raw is None or b'"output_config"' not in bytes(raw):
        return
    turns = _objects(raw)
    dropped = [turn.pop("output_config", None) for turn in turns]
    if any(config is not None for config in dropped):
        top["messages"] = _raw(turns)


def _drop_cache_scopes(top: JsonObject) -> None:
    """Take `scope` out of the cache marks, which stand on blocks, on tools and on blocks inside blocks."""
    for name in _SCOPED:
        if name in top:
            top[name] = _without_scopes(top[name])


def _without_scopes(raw: msgspec.Raw) -> msgspec.Raw:
    """Give a list of blocks with no scope in it; where there was none, its own bytes.

    A tool's schema and what a model asked of a tool hold no cache marks, whatever their fields are called.
    """
    if b'"scope"' not in bytes(raw):
        return raw
    blocks = _objects(raw)
    changed = False
    for block in blocks:
        for name, clean in _HOLDING_SCOPES.items():
            held = block.get(name)
            if held is not None and (kept := clean(held)) is not held:
                block[name] = kept
                changed = True
    return _raw(blocks) if changed else raw


def _without_scope(mark: msgspec.Raw) -> msgspec.Raw:
    fields = _object_of(mark)
    return mark if fields.pop("scope", None) is None else _raw(fields)


def _without_scopes_of_source(source: msgspec.Raw) -> msgspec.Raw:
    fields = _object_of(source)
    content = fields.get("content")
    if content is None or (kept := _without_scopes(content)) is content:
        return source
    return _raw({**fields, "content": kept})


_HOLDING_SCOPES: Mapping[str, Callable[[msgspec.Raw], msgspec.Raw]] = {
    "cache_control": _without_scope,
    "content": _without_scopes,
    "source": _without_scopes_of_source,
}


def _objects(raw: msgspec.Raw) -> list[JsonObject]:
    """Read a list of objects. Of what is none the provider says what is wrong with it."""
    try:
        return _turns.decode(raw)
    except (msgspec.MsgspecError, RecursionError):
        return []


def _object_of(raw: msgspec.Raw) -> JsonObject:
    try:
        return _fields.decode(raw)
    except (msgspec.MsgspecError, RecursionError):
        return {}


def _raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))
