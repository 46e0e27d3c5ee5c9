"""What an apply says beside its changes: names that nothing has, keys that are over, what was built in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from datetime import datetime

from farebox.domain.config import DEFAULT_WORKSPACE
from farebox.domain.errors import Conflict, NotFound
from farebox.domain.policy import BUILTIN_PROVIDERS, KEY, PROVIDER, WORKSPACE, Action, Change, Stored
from farebox.http.moments import read_moment
from farebox.http.policy_document import PolicyDocument
from farebox.ports import Keys

_NAMED = (WORKSPACE, KEY, PROVIDER)
"""The dimensions of a scope whose values farebox knows by name; users and models come by themselves."""


async def scope_warnings(
    document: PolicyDocument, outcome: Iterable[Stored], keys: Keys
) -> AsyncIterator[str]:
    """Find scopes of the document that name something in vain, so that they cover nothing yet.

    `outcome` is the policy as it would be.
    """
    names = _names(outcome)
    for piece in document.pieces:
        scope = piece.document.get("scope")
        for dimension, name in _literals(scope if isinstance(scope, Mapping) else {}):
            if name in names[dimension] or (dimension == KEY and await _is_key(name, keys)):
                continue
            place = document.places[(piece.kind, piece.name)]
            yield f"{place}.scope.{dimension}: there is no {dimension} '{name}', so this covers nothing"


def expiry_warnings(document: PolicyDocument, now: datetime) -> Iterator[str]:
    """Find keys of the document that are over already."""
    for piece in document.pieces:
        expires_at = piece.document.get("expires_at") if piece.kind == KEY else None
        if isinstance(expires_at, str) and read_moment(expires_at) <= now:
            yield f"{document.places[(KEY, piece.name)]}.expires_at: is in the past, so the key opens nothing"


def replaced_builtins(stored: Iterable[Stored], outcome: Iterable[Stored]) -> tuple[Change, ...]:
    """Name the built-in providers that go because the first document with providers of its own comes."""
    if any(piece.kind == PROVIDER for piece in stored):
        return ()
    slugs = {piece.name for piece in outcome if piece.kind == PROVIDER}
    gone = [spec.slug for spec in BUILTIN_PROVIDERS if slugs and spec.slug not in slugs]
    return tuple(Change(PROVIDER, slug, Action.REPLACED) for slug in gone)


def _names(outcome: Iterable[Stored]) -> Mapping[str, set[str]]:
    names: dict[str, set[str]] = {WORKSPACE: {DEFAULT_WORKSPACE}, KEY: set(), PROVIDER: set()}
    for piece in outcome:
        if piece.kind in names:
            # A scope knows a key by its name alone.
            names[piece.kind].add(piece.name.partition("/")[2] if piece.kind == KEY else piece.name)
    names[PROVIDER] = names[PROVIDER] or {spec.slug for spec in BUILTIN_PROVIDERS}
    return names


def _literals(scope: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for dimension, patterns in scope.items():
        if dimension in _NAMED and isinstance(patterns, list | tuple):
            for pattern in patterns:
                if not set(pattern) & set("*?["):
                    yield dimension, pattern


async def _is_key(name: str, keys: Keys) -> bool:
    try:
        await keys.get_gateway_key(name)
    except NotFound:
        return False
    except Conflict:  # there are several
        return True
    return True
