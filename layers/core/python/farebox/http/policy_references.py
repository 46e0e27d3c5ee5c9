"""Whether the pieces of a policy find each other: a key its workspace, all of them configs and providers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase

from farebox.domain.config import CALLER_CREDENTIAL, DEFAULT_WORKSPACE, TYPES_OF_PORTKEY
from farebox.domain.errors import Conflict, NotFound
from farebox.domain.policy import (
    BUILTIN_PROVIDERS,
    CONFIG,
    CONFIG_VERSION,
    KEY,
    PROVIDER,
    WORKSPACE,
    Document,
    Stored,
)
from farebox.domain.routing.finding import Finding, refusal
from farebox.http.policy_document import PolicyDocument
from farebox.http.policy_routing import named_providers
from farebox.ports import Keys

NAMES_SHOWN_MAX = 20

_NAMED = (WORKSPACE, KEY, PROVIDER)
"""The dimensions of a scope whose values farebox knows by name; users and models come by themselves."""


class References:
    """The names that pieces may refer to."""

    def __init__(self, pieces: Iterable[tuple[str, str, Document]]) -> None:
        self._names: dict[str, dict[str, Document]] = {
            PROVIDER: {},
            WORKSPACE: {DEFAULT_WORKSPACE: {}},
            CONFIG: {},
        }
        for kind, name, document in pieces:
            self._names.setdefault(kind, {})[name] = document
        if not self._names[PROVIDER]:
            builtin = {
                spec.slug: {"type": spec.type, "credential": spec.credential} for spec in BUILTIN_PROVIDERS
            }
            self._names[PROVIDER].update(builtin)

    def missing(self, kind: str, document: Document) -> Iterator[Finding]:
        """Find what a piece of this kind refers to in vain, with paths inside it."""
        if kind == CONFIG:
            yield from self._missing_targets(document)
        if kind not in (WORKSPACE, KEY):
            return
        if kind == KEY:
            yield from self._missing_name(WORKSPACE, "workspace", document)
        yield from self._missing_config(document)
        globs = document.get("providers")
        for index, glob in enumerate(globs if isinstance(globs, list | tuple) else ()):
            if not any(fnmatchcase(slug, str(glob)) for slug in self._names[PROVIDER]):
                yield self._finding(PROVIDER, f"providers[{index}]", str(glob))

    def _missing_name(self, kind: str, field: str, document: Document) -> Iterator[Finding]:
        name = document.get(field)
        if isinstance(name, str) and name not in self._names[kind]:
            yield self._finding(kind, field, name)

    def _missing_config(self, document: Document) -> Iterator[Finding]:
        name = document.get("config")
        if not isinstance(name, str):
            return
        slug, at, _ = name.partition("@")
        if slug not in self._names[CONFIG]:
            yield self._finding(CONFIG, "config", slug)
        elif at and name not in self._names.get(CONFIG_VERSION, {}):
            yield Finding(
                "config", f"there is no version '{name}'; `farebox configs versions {slug}` lists them"
            )

    def _missing_targets(self, document: Document) -> Iterator[Finding]:
        config = document.get("config")
        for path, name in named_providers(config if isinstance(config, Mapping) else {}):
            if not self._is_provider(name):
                yield self._finding(PROVIDER, path, name)

    def _is_provider(self, name: str) -> bool:
        """'@name' is a slug; a bare name is a slug first, then a type with the caller's own credential."""
        providers = self._names[PROVIDER]
        return name.removeprefix("@") in providers or (
            not name.startswith("@")
            and any(
                document.get("type") == TYPES_OF_PORTKEY.get(name, name)
                and document.get("credential") == CALLER_CREDENTIAL
                for document in providers.values()
            )
        )

    def _finding(self, kind: str, path: str, name: str) -> Finding:
        known = ", ".join(list(self._names[kind])[:NAMES_SHOWN_MAX]) or "none"
        return Finding(path, f"there is no {kind} '{name}' (there are: {known})")


def check_references(pieces: Iterable[Stored], places: Mapping[tuple[str, str], str]) -> None:
    """Hold the policy as it would be to its own references.

    Raises `ConfigInvalid` listing each that leads nowhere, by its place in the document or by kind and name.
    """
    listed = list(pieces)
    references = References((piece.kind, piece.name, piece.document) for piece in listed)
    findings = [
        Finding(f"{places.get((piece.kind, piece.name)) or _place(piece)}.{finding.path}", finding.detail)
        for piece in listed
        for finding in references.missing(piece.kind, piece.document)
    ]
    if findings:
        raise refusal(findings)


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


def _place(piece: Stored) -> str:
    return f"{piece.kind} '{piece.name}'"


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
