"""Brings the stored policy and the gateway keys in line with a document: all of it, or nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from msgspec import Struct

from farebox.domain.config import GOOGLE_CREDENTIAL
from farebox.domain.errors import ConfigInvalid, Conflict, FareboxError, NotFound
from farebox.domain.identity import GatewayKey
from farebox.domain.policy import (
    BUILTIN_PROVIDERS,
    KEY,
    KINDS,
    ORIGIN_ADMIN,
    PROVIDER,
    WORKSPACE,
    Action,
    Change,
    Changes,
    Piece,
    Stored,
    key_name,
    plan_changes,
)
from farebox.domain.price.doubt import doubtful_prices
from farebox.domain.price.override import read_override
from farebox.http.admin.issue import (
    IssuedKey,
    KeyAttributes,
    change_gateway_key,
    issue_gateway_key,
    revoke_gateway_key,
)
from farebox.http.admin.ports import AdminPorts
from farebox.http.moments import read_moment, utc_text
from farebox.http.policy_document import PROVIDER_TYPES_SERVED, PolicyDocument
from farebox.http.policy_references import check_references, scope_warnings
from farebox.http.policy_sections import KeySection
from farebox.ports import Keys, Resource

TRIES = 8
PAGE = 500

KEYS_AT_ONCE = 16
KEYS_WITHIN_MS = 18_000
"""Since the apply began. Secrets are shown by the answer alone, and a function has 30 s for it."""


class Applied(Struct, frozen=True):
    """What an apply did, or would do when `is_dry_run`. The secrets of `created_keys` exist nowhere else."""

    version: int
    changes: tuple[Change, ...]
    created_keys: tuple[IssuedKey, ...]
    warnings: tuple[str, ...]
    is_dry_run: bool


async def apply_document(
    document: PolicyDocument, ports: AdminPorts, *, actor: str, prune: bool = False, dry_run: bool = False
) -> Applied:
    """Apply a document that is sound in itself.

    The policy as it would be is checked before anything changes, and planned anew when somebody else wrote
    meanwhile. A key that was revoked stays revoked, and no second one of its name is made. Raises
    `ConfigInvalid`, `Conflict` when others do not stop writing, `StoreFault`.
    """
    stop_at_ms = ports.clock.monotonic_ms() + KEYS_WITHIN_MS
    for _ in range(TRIES):
        version, stored = await ports.policies.resources()
        keys = await _keys_in_question(document, stored, ports.keys)
        revoked = tuple(name for name, key in keys.items() if key.revoked_at is not None)
        wanted = [piece for piece in document.pieces if not (piece.kind == KEY and piece.name in revoked)]
        plan = plan_changes(_current(stored, keys, wanted), wanted, prune=prune)
        outcome = _outcome(stored, wanted, plan)
        check_references(outcome, document.places)
        await _check_workspaces_are_empty(plan, ports.keys)
        warnings = (
            *document.warnings,
            *_revoked_warnings(document, revoked),
            *_expiry_warnings(document, ports.clock.now()),
            *_credential_warnings(document, ports.reads_credentials),
            *_price_warnings(document, ports),
            *[warning async for warning in scope_warnings(document, outcome, ports.keys)],
        )
        changes = (*plan.changes, *_replaced_builtins(stored, outcome))
        if dry_run:
            return Applied(version, changes, (), warnings, True)
        for kind, name in plan.deletes:
            if kind == KEY and name in keys:
                await revoke_gateway_key(keys[name], ports.keys, ports.clock, actor=actor)
        try:
            version = await _write(plan, version, ports, actor)
        except Conflict:
            continue
        created, unwritten = await _write_keys(plan, keys, ports, actor, stop_at_ms)
        return Applied(version, changes, created, (*warnings, *unwritten), False)
    raise Conflict("The policy is being changed by somebody else; try again.")


def key_attributes(section: KeySection) -> KeyAttributes:
    """Give a key's section as what the key store keeps."""
    return KeyAttributes(
        name=section.name,
        workspace=section.workspace,
        user=section.user,
        metadata=section.metadata,
        models=tuple(section.models),
        providers=tuple(section.providers),
        config=section.config,
        allow_config_override=section.allow_config_override,
        expires_at=None if section.expires_at is None else read_moment(section.expires_at),
    )


def key_section(key: GatewayKey) -> KeySection:
    """Give a stored key as the section that would make it. Its grammar is not checked again."""
    return KeySection.model_construct(
        name=key.name,
        workspace=key.workspace,
        user=key.user,
        metadata=dict(key.metadata),
        models=list(key.models),
        providers=list(key.providers),
        config=key.config,
        allow_config_override=key.allow_config_override,
        expires_at=None if key.expires_at is None else utc_text(key.expires_at),
    )


async def live_keys(workspace: str, keys: Keys) -> list[GatewayKey]:
    """Give the keys of a workspace that are not revoked."""
    found: list[GatewayKey] = []
    cursor: str | None = None
    while True:
        page = await keys.list_gateway_keys(workspace=workspace, limit=PAGE, cursor=cursor)
        found += [key for key in page.rows if key.revoked_at is None]
        if page.next is None:
            return found
        cursor = page.next


async def _keys_in_question(
    document: PolicyDocument, stored: Iterable[Stored], keys: Keys
) -> dict[str, GatewayKey]:
    """Find the keys that the document or an earlier one names, by 'workspace/name'."""

    async def read(full_name: str) -> GatewayKey | None:
        workspace, _, name = full_name.partition("/")
        try:
            return await keys.get_gateway_key(name, workspace)
        except NotFound:
            return None

    names = sorted({piece.name for piece in (*document.pieces, *stored) if piece.kind == KEY})
    found: dict[str, GatewayKey] = {}
    for start in range(0, len(names), KEYS_AT_ONCE):
        some = names[start : start + KEYS_AT_ONCE]
        read_keys = await asyncio.gather(*map(read, some))
        found |= {name: key for name, key in zip(some, read_keys, strict=True) if key is not None}
    return found


def _current(
    stored: Iterable[Stored], keys: Mapping[str, GatewayKey], wanted: Sequence[Piece]
) -> list[Stored]:
    """Give the store as it is; wanted keys count as they stand, not as a document once had them."""
    origins = {piece.name: piece.origin for piece in stored if piece.kind == KEY}
    in_question = {piece.name for piece in wanted if piece.kind == KEY}
    rest = [piece for piece in stored if piece.kind != KEY or piece.name not in in_question]
    standing = [
        Piece(KEY, name, key_section(keys[name]).document(), 0, origins.get(name, ORIGIN_ADMIN))
        for name in in_question
        if name in keys
    ]
    return [*rest, *standing]


def _outcome(stored: Iterable[Stored], wanted: Sequence[Piece], plan: Changes) -> list[Stored]:
    """Give the policy as it would be; of keys, those that the document names."""
    pieces: dict[tuple[str, str], Stored] = {
        (piece.kind, piece.name): piece
        for piece in stored
        if piece.kind != KEY and (piece.kind, piece.name) not in plan.deletes
    }
    pieces.update({(piece.kind, piece.name): piece for piece in wanted})
    return sorted(pieces.values(), key=lambda piece: (KINDS.index(piece.kind), piece.position))


async def _check_workspaces_are_empty(plan: Changes, keys: Keys) -> None:
    """A key whose workspace is gone would no longer be narrowed by it."""
    for kind, slug in plan.deletes:
        if kind != WORKSPACE:
            continue
        left = [
            key for key in await live_keys(slug, keys) if (KEY, key_name(slug, key.name)) not in plan.deletes
        ]
        if left:
            names = ", ".join(key.name for key in left[:10])
            raise ConfigInvalid(f"workspace '{slug}'", f"cannot be pruned while it has keys ({names})")


def _revoked_warnings(document: PolicyDocument, revoked: Sequence[str]) -> Iterable[str]:
    for piece in document.pieces:
        if piece.kind == KEY and piece.name in revoked:
            place = document.places[(KEY, piece.name)]
            yield f"{place}: '{piece.name}' is revoked and stays so; `farebox keys create` makes a new key"


def _expiry_warnings(document: PolicyDocument, now: datetime) -> Iterator[str]:
    """Find keys of the document that are over already."""
    for piece in document.pieces:
        expires_at = piece.document.get("expires_at") if piece.kind == KEY else None
        if isinstance(expires_at, str) and read_moment(expires_at) <= now:
            yield f"{document.places[(KEY, piece.name)]}.expires_at: is in the past, so the key opens nothing"


def _credential_warnings(document: PolicyDocument, readable: tuple[str, ...]) -> Iterator[str]:
    """Find providers whose credential this gateway has no way to read."""
    for piece in document.pieces:
        is_served = piece.kind == PROVIDER and piece.document.get("type") in PROVIDER_TYPES_SERVED
        credential = piece.document.get("credential") if is_served else None
        if not isinstance(credential, str) or credential.startswith(readable):
            continue
        if credential == GOOGLE_CREDENTIAL and "audience" in piece.document:
            continue
        kinds = ", ".join(readable)
        if credential == GOOGLE_CREDENTIAL:
            kinds += ", and google where an audience names a workload identity provider"
        place = document.places[(PROVIDER, piece.name)]
        yield f"{place}.credential: this gateway cannot read '{credential}'; it reads {kinds}"


def _price_warnings(document: PolicyDocument, ports: AdminPorts) -> Iterator[str]:
    """Find negotiated prices that are hardly meant."""
    for piece in document.pieces:
        override = read_override(piece.document.get("prices"), "prices") if piece.kind == PROVIDER else None
        if override is None or ports.prices is None:
            continue
        kind, region = str(piece.document["type"]), piece.document.get("region")
        where = str(region) if region else None
        for path, words in doubtful_prices(override, kind, where, ports.prices, ports.clock.now()):
            yield f"{document.places[(PROVIDER, piece.name)]}.prices.{path}: {words}"


def _replaced_builtins(stored: Iterable[Stored], outcome: Iterable[Stored]) -> tuple[Change, ...]:
    """Name the built-in providers that go because the first document with providers of its own comes."""
    if any(piece.kind == PROVIDER for piece in stored):
        return ()
    slugs = {piece.name for piece in outcome if piece.kind == PROVIDER}
    gone = [spec.slug for spec in BUILTIN_PROVIDERS if slugs and spec.slug not in slugs]
    return tuple(Change(PROVIDER, slug, Action.REPLACED) for slug in gone)


async def _write(plan: Changes, version: int, ports: AdminPorts, actor: str) -> int:
    if not plan.writes and not plan.deletes:
        return version
    now = ports.clock.now()
    upserts = [
        Resource(each.kind, each.name, each.document, each.position, each.origin, now) for each in plan.writes
    ]
    return await ports.policies.write(
        upserts=upserts, deletes=plan.deletes, expected_version=version, actor=actor
    )


async def _write_keys(
    plan: Changes, keys: Mapping[str, GatewayKey], ports: AdminPorts, actor: str, stop_at_ms: int
) -> tuple[tuple[IssuedKey, ...], tuple[str, ...]]:
    """Write the keys of a plan; give those that were made, and a warning where not all were written.

    Raises what kept the first of them from it. Later the secrets that were made go before: they are told, and
    a second apply does the rest.
    """
    pieces = [piece for piece in plan.writes if piece.kind == KEY]
    actions = {change.name: change.action for change in plan.changes if change.kind == KEY}
    created: list[IssuedKey] = []

    async def write(piece: Stored) -> IssuedKey | FareboxError | None:
        known = keys.get(piece.name) if actions[piece.name] is Action.CHANGED else None
        try:
            return await _write_key(piece, known, ports, actor)
        except FareboxError as error:
            return error

    for start in range(0, len(pieces), KEYS_AT_ONCE):
        outcomes = await asyncio.gather(*map(write, pieces[start : start + KEYS_AT_ONCE]))
        created += [each for each in outcomes if isinstance(each, IssuedKey)]
        errors = [each for each in outcomes if isinstance(each, FareboxError)]
        if errors and not created:
            raise errors[0]
        left = len(pieces) - start - len(outcomes) + len(errors)
        if left and (errors or ports.clock.monotonic_ms() >= stop_at_ms):
            why = str(errors[0]) if errors else "time was up"
            return tuple(created), (f"{left} keys are not written yet ({why}): apply the same file again",)
    return tuple(created), ()


async def _write_key(
    piece: Stored, known: GatewayKey | None, ports: AdminPorts, actor: str
) -> IssuedKey | None:
    """Change a key that is known, or make it; give it where it was made."""
    attributes = key_attributes(KeySection.model_validate(dict(piece.document)))
    if known is None:
        try:
            return await issue_gateway_key(attributes, ports.keys, ports.clock, ports.randomness, actor=actor)
        except Conflict:  # another process was quicker; its holder has the secret
            known = await ports.keys.get_gateway_key(attributes.name, attributes.workspace)
    await change_gateway_key(known, attributes, ports.keys, actor=actor)
    return None
