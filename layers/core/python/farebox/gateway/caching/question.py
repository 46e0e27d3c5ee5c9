"""Whether the cache is asked about a request, and by which key: what config, headers and caller say."""

from __future__ import annotations

import re

from msgspec.structs import replace

from farebox.domain.plan import Caller, Option, Plan
from farebox.domain.routing.caching import MAX_AGE_S_MAX, Question, cache_key
from farebox.domain.routing.tree import CacheRule
from farebox.gateway.incoming import IncomingRequest
from farebox.providers.base import Call
from farebox.wire.headers import find, upstream_query
from farebox.wire.http import Headers

BODY_BYTES_MAX = 2 * 1024 * 1024
"""A larger question is not asked: to put it in order would hold everybody else up."""

_ON = frozenset(("true", "simple", "semantic"))
_OFF = frozenset(("false", "off", "none", "0"))
_MAX_AGE = re.compile(rb"(?:^|[,\s])max-age=(\d{1,9})(?:$|[,\s])", re.IGNORECASE)
# What of a request's headers makes it another request to the provider, but for what only says where it runs.
_DIALECT_PREFIX = b"anthropic-"
_NOT_DIALECT = frozenset((b"anthropic-dangerous-direct-browser-access",))


def rule_of(request: IncomingRequest, plan: Plan, option: Option, *, max_age_s: int) -> CacheRule | None:
    """Give the rule that holds for a request at a target, with its age filled in; None where there is none.

    Both modes look for the same question: nobody, Portkey included, searches Messages by their meaning.
    A caller may always do without the cache, and may ask for it where it may choose its config.
    """
    asked = (request.farebox_header(b"cache") or "").lower()
    if asked in _OFF or (request.farebox_header(b"debug") or "").lower() == "false":
        return None
    rule = option.leaf.cache
    if rule is None and asked in _ON and plan.may_override:
        rule = CacheRule()
    if rule is None:
        return None
    if rule.max_age_s is None:
        said_s = _said_max_age_s(request.headers)
        rule = replace(rule, max_age_s=max_age_s if said_s is None else said_s)
    return rule


def wants_fresh(request: IncomingRequest) -> bool:
    """Whether the caller wants a new answer, to be kept in the place of an old one."""
    asked = request.farebox_header(b"cache-force-refresh")
    return bool(asked) and (asked or "").lower() not in _OFF


def key_of(
    rule: CacheRule, call: Call, option: Option, request: IncomingRequest, caller: Caller, organisation: str
) -> bytes | None:
    """Give the key of a request at a target; None where it can have none."""
    if len(call.body) > BODY_BYTES_MAX:
        return None
    provider = option.target.provider
    question = Question(
        tenant=_tenant(rule, option, caller, organisation),
        target=(
            provider.slug,
            provider.type,
            provider.base_url or "",
            provider.region or "",
            option.target.model,
        ),
        dialect=_dialect(call, option.leaf.forward_headers),
        partition=_partition(request, caller),
    )
    return cache_key(question, call.body)


def _tenant(rule: CacheRule, option: Option, caller: Caller, organisation: str) -> tuple[str, ...]:
    """A login of the caller's own opens what that login opens, so nobody else is answered in its name."""
    whose = ("key", caller.key.id) if option.target.provider.uses_caller_credential else ()
    if rule.is_shared:
        return ("organisation", organisation, *whose)
    return ("workspace", organisation, caller.key.workspace, *whose)


def _dialect(call: Call, forwarded: tuple[str, ...]) -> tuple[str, ...]:
    """Betas count in whatever order they are written."""
    said: dict[bytes, list[bytes]] = {}
    for name, value in call.headers:
        speaks = name.startswith(_DIALECT_PREFIX) and name not in _NOT_DIALECT
        if speaks or name.decode("latin-1") in forwarded:
            said.setdefault(name, []).extend(word.strip() for word in value.split(b","))
    words = (part for name in sorted(said) for part in (name, b",".join(sorted(said[name]))))
    parts = (call.operation.encode(), upstream_query(call.query), *words)
    return tuple(part.decode("latin-1") for part in parts)


def _partition(request: IncomingRequest, caller: Caller) -> tuple[str, ...]:
    """A namespace stands in the place of what the request says of itself, as with Portkey."""
    namespace = request.farebox_header(b"cache-namespace")
    if namespace:
        return ("namespace", namespace)
    said = sorted((name, value) for name, value in caller.metadata.items() if name not in caller.key.metadata)
    return ("metadata", *(part for pair in said for part in pair))


def _said_max_age_s(headers: Headers) -> int | None:
    found = _MAX_AGE.search(find(headers, b"cache-control") or b"")
    return min(int(found[1]), MAX_AGE_S_MAX) if found else None
