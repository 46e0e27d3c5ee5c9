"""Cuts a Messages request to what a cloud takes, by its terms. What is taken keeps its bytes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from farebox.domain.errors import RequestMalformed
from farebox.providers.base import Call
from farebox.providers.clouds.terms import Terms
from farebox.wire.http import Headers
from farebox.wire.request_body.top_level import JsonObject, read_object

BETA_HEADER = b"anthropic-beta"

_texts = msgspec.json.Decoder(list[str])
_turns = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_SCOPED = ("system", "tools", "messages")
# Its loss would not be noticed, and it stands for a check of what tools may do: the client must know.
_TOLD_WHEN_DROPPED = "safeguards"


@dataclass(frozen=True, slots=True)
class Shaped:
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
        _drop_cache_scopes(top, call.body)
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
    try:
        turns = _turns.decode(raw)
    except msgspec.MsgspecError:
        return  # the provider says what is wrong with it
    if any(turn.pop("output_config", None) is not None for turn in turns):
        for turn in turns:
            turn.pop("output_config", None)
        top["messages"] = msgspec.Raw(msgspec.json.encode(turns))


def _drop_cache_scopes(top: JsonObject, body: bytes) -> None:
    if b'"scope"' not in body:
        return
    for name in _SCOPED:
        raw = top.get(name)
        if raw is None or b'"scope"' not in bytes(raw):
            continue
        try:
            value = msgspec.json.decode(raw)
        except (msgspec.MsgspecError, RecursionError):
            continue  # the provider says what is wrong with it
        if _without_scopes(value):
            top[name] = msgspec.Raw(msgspec.json.encode(value))


def _without_scopes(value: object) -> bool:
    """Take `scope` out of every cache mark inside; say whether there was one."""
    found = False
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, list):
            waiting.extend(each)
        elif isinstance(each, dict):
            mark = each.get("cache_control")
            if isinstance(mark, dict) and mark.pop("scope", None) is not None:
                found = True
            waiting.extend(inner for inner in each.values() if isinstance(inner, dict | list))
    return found
