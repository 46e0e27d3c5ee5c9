"""When two requests ask the same, and what is kept of the answer: the key and the entry of the cache."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import datetime, timedelta
from enum import StrEnum

import msgspec
from msgspec import Struct

from farebox.domain.usage import Usage

MAX_AGE_S_DEFAULT = 604_800
MAX_AGE_S_MAX = 7_776_000
"""A week and ninety days, as Portkey has them."""

_KEY_VERSION = "1"
"""Raised when the rule below changes, so that no answer is found by another rule than it was kept by."""

_BILLING_LINE = "x-anthropic-billing-header:"
_OF_THE_MACHINE = re.compile(r"cc_version=\d+(\.\d+)*(\.[0-9a-f]{1,8})?|cch=[0-9a-f]{1,16}")

_object = msgspec.json.Decoder(dict[str, object])
_compact = msgspec.json.Encoder()
_sorted = msgspec.json.Encoder(order="sorted")


class CacheStatus(StrEnum):
    """What the cache was to a request.

    HIT the answer came out of it · MISS it has none yet · REFRESH the caller wanted a new one · DISABLED
    nobody asked it.
    """

    HIT = "hit"
    MISS = "miss"
    REFRESH = "refresh"
    DISABLED = "disabled"


class CacheEntry(Struct, frozen=True):
    """A whole answer as the client had it: status, a few headers, and the body or every byte of the stream.

    `cost_picodollars` is what it cost then and a hit saves; None where it had no price.
    """

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    provider: str
    model: str
    usage: Usage
    cost_picodollars: int | None
    stored_at: datetime
    expires_at: datetime

    def is_fresh(self, now: datetime, max_age_s: int) -> bool:
        """Whether it is neither past its own time nor older than who asks now will have it."""
        return now < self.expires_at and now - self.stored_at < timedelta(seconds=max_age_s)


class Question(Struct, frozen=True):
    """What a request asks beside its body. `tenant` is who may share the answer, `target` who gives it and
    by which model, `dialect` how it was asked (route, query, API version, betas), `partition` what the
    caller sets apart.
    """

    tenant: tuple[str, ...]
    target: tuple[str, ...]
    dialect: tuple[str, ...]
    partition: tuple[str, ...] = ()


def cache_key(question: Question, body: bytes) -> bytes | None:
    """Give the SHA-256 by which an answer is kept and found; None for a body that cannot have one."""
    canonical = canonical_body(body)
    if canonical is None:
        return None
    parts = (_KEY_VERSION, question.tenant, question.target, question.dialect, question.partition)
    digest = hashlib.sha256(_compact.encode(parts))
    digest.update(b"\n")
    digest.update(canonical)
    return digest.digest()


def canonical_body(body: bytes) -> bytes | None:
    """Write a body so that those that ask the same are the same bytes.

    Objects are sorted by key. Left out is what the target says instead (`model`), `stream` where it is
    false, and what identifies a session or a machine: `metadata.user_id`, and version and checksum in the
    billing line that Claude Code puts before its system prompt. Everything else counts. None for a body in
    which a key stands twice, since two readers may take it for two different things.
    """
    try:
        asked = _object.decode(body)
        if _compact.encode(asked) != body:
            json.loads(body, object_pairs_hook=_refuse_twice)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    asked.pop("model", None)
    if not asked.get("stream"):
        asked.pop("stream", None)
    _forget_user(asked)
    _forget_machine(asked)
    return _sorted.encode(asked)


def _forget_user(asked: dict[str, object]) -> None:
    metadata = asked.get("metadata")
    if isinstance(metadata, dict):
        metadata.pop("user_id", None)
        if not metadata:
            del asked["metadata"]


def _forget_machine(asked: dict[str, object]) -> None:
    """Only what has exactly the form of a version and a checksum: other words could be meant for the model,
    and a colleague would get the answer to them.
    """
    system = asked.get("system")
    if isinstance(system, str):
        asked["system"] = _without_machine(system)
    elif isinstance(system, list) and system and isinstance(system[0], dict):
        text = system[0].get("text")
        if isinstance(text, str):
            system[0]["text"] = _without_machine(text)


def _without_machine(text: str) -> str:
    if not text.startswith(_BILLING_LINE):
        return text
    line, end, rest = text.partition("\n")
    fields = (field.strip(" ") for field in line.removeprefix(_BILLING_LINE).split(";"))
    kept = (field for field in fields if not _OF_THE_MACHINE.fullmatch(field))
    return f"{_BILLING_LINE}{';'.join(kept)}{end}{rest}"


def _refuse_twice(pairs: list[tuple[str, object]]) -> None:
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("a key stands twice")
