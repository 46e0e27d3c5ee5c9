"""The policy as stored pieces: how a snapshot is built from them, and what a new document would change."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from itertools import zip_longest
from typing import Protocol, TypeGuard, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from farebox.domain.budget import TOKEN_CLASSES, Budget, OnExhausted, Raise, Scope, Unit
from farebox.domain.budget.brake import Brake
from farebox.domain.budget.rate_limit import LimitUnit, RateLimit
from farebox.domain.config import (
    DEFAULT_ORGANISATION,
    DEFAULT_WORKSPACE,
    Policy,
    ProviderSpec,
    Workspace,
    read_cloud,
)
from farebox.domain.errors import ConfigInvalid
from farebox.domain.money import picodollars_from_usd
from farebox.domain.price import read_override
from farebox.domain.routing.saved import RoutingConfig
from farebox.domain.routing.versions import versions_of

Document = Mapping[str, object]

PROVIDER = "provider"
WORKSPACE = "workspace"
CONFIG = "config"
CONFIG_VERSION = "config_version"
KEY = "key"
BUDGET = "budget"
RAISE = "raise"
RATE_LIMIT = "rate_limit"
BRAKE = "brake"
BRAKE_LIFT = "brake_lift"
SETTING = "setting"
KINDS = (
    SETTING,
    PROVIDER,
    CONFIG,
    CONFIG_VERSION,
    WORKSPACE,
    KEY,
    BUDGET,
    RAISE,
    RATE_LIMIT,
    BRAKE,
    BRAKE_LIFT,
)

# Only here is order policy: the first provider that admits a model serves it; budgets are listed as written.
ORDERED_KINDS = (PROVIDER, BUDGET)

ORIGIN_APPLY = "apply"
ORIGIN_ADMIN = "admin"
ORIGIN_BUILTIN = "builtin"
ORIGIN_VERSION = "version"

BUILTIN_PROVIDERS = (
    ProviderSpec("anthropic", "anthropic", base_url="https://api.anthropic.com"),
    ProviderSpec("demo", "demo"),
)
"""What serves while nobody has named a provider: the caller's own Anthropic login, and the demo model."""


class Stored(Protocol):
    """A piece of policy as the store gives it back (`ports.Resource`)."""

    @property
    def kind(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def document(self) -> Document: ...
    @property
    def position(self) -> int: ...
    @property
    def origin(self) -> str: ...


StoredType = TypeVar("StoredType", bound=Stored)


class Piece(Struct, frozen=True):
    """One entry of a policy document: the validated JSON object, and where it stands among its kind.

    A gateway key is named 'workspace/name', since key names are unique per workspace.
    """

    kind: str
    name: str
    document: Document
    position: int = 0
    origin: str = ORIGIN_APPLY


class Action(StrEnum):
    """What becomes of a piece; REPLACED is said of one that was built in and is no longer there."""

    CREATED = "created"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    PRUNED = "pruned"
    REPLACED = "replaced"


class FieldChange(Struct, frozen=True):
    """`path` is within the piece, such as 'scope.workspace'; None stands for a field that is not there."""

    path: str
    before: object
    after: object


class Change(Struct, frozen=True):
    """What becomes of one piece, field by field."""

    kind: str
    name: str
    action: Action
    fields: tuple[FieldChange, ...] = ()


class Changes(Struct, frozen=True):
    """A document against the store: `changes` for people, `writes` and `deletes` for the store."""

    changes: tuple[Change, ...]
    writes: tuple[Piece, ...]
    deletes: tuple[tuple[str, str], ...]


def build_policy(version: int, resources: Iterable[tuple[str, str, Document]]) -> Policy:
    """Build the snapshot that requests are decided by from (kind, name, document), in the order given.

    Raises `ConfigInvalid` for a document that no validation can have let through.
    """
    kinds: dict[str, list[tuple[str, Document]]] = {kind: [] for kind in KINDS}
    for kind, name, document in resources:
        kinds.setdefault(kind, []).append((name, document))
    settings = {name: _text(document, "value") for name, document in kinds[SETTING]}
    contact = settings.get("contact")
    workspaces = {name: _workspace(name, document) for name, document in kinds[WORKSPACE]}
    return Policy(
        version=version,
        providers=tuple(_provider(*each) for each in kinds[PROVIDER]) or BUILTIN_PROVIDERS,
        workspaces={DEFAULT_WORKSPACE: Workspace(DEFAULT_WORKSPACE), **workspaces},
        configs=_configs(kinds[CONFIG], [document for _, document in kinds[CONFIG_VERSION]]),
        budgets=tuple(
            _budget(name, document, contact, raises=[raised for _, raised in kinds[RAISE]])
            for name, document in kinds[BUDGET]
        ),
        organisation=settings.get("organisation") or DEFAULT_ORGANISATION,
        contact=contact,
        rate_limits=tuple(_rate_limit(name, document, contact) for name, document in kinds[RATE_LIMIT]),
        brakes=tuple(_brake(name, document, contact) for name, document in kinds[BRAKE]),
        lifts={name: datetime.fromisoformat(_text(doc, "until")) for name, doc in kinds[BRAKE_LIFT]},
    )


def plan_changes(current: Iterable[Stored], wanted: Sequence[Piece], *, prune: bool) -> Changes:
    """Compare a document with the store.

    What the document does not mention stays, behind what it mentions, except that `prune` removes what came
    from a document. A piece keeps the origin it was first stored with.
    """
    before = {(piece.kind, piece.name): piece for piece in current}
    changes: list[Change] = []
    writes: list[Piece] = []
    for piece in wanted:
        old = before.pop((piece.kind, piece.name), None)
        change = _change(old, piece)
        changes.append(change)
        if change.action is not Action.UNCHANGED:
            writes.append(piece if old is None else replace(piece, origin=old.origin))
    pruned = [old for old in before.values() if prune and old.origin == ORIGIN_APPLY]
    pruned += raises_of({old.name for old in pruned if old.kind == BUDGET}, before.values())
    changes += [Change(old.kind, old.name, Action.PRUNED) for old in pruned]
    deletes = tuple((old.kind, old.name) for old in pruned)
    kept = [old for key, old in before.items() if key not in deletes]
    return Changes(tuple(changes), (*writes, *_moved_behind(kept, wanted)), deletes)


def raise_name(budget: str, bucket: str | None) -> str:
    """Name a raise among the pieces of a policy: one for a whole budget, and one for each of its buckets."""
    return budget if bucket is None else f"{budget}/{bucket}"


def raises_of(budgets: Collection[str], stored: Iterable[StoredType]) -> list[StoredType]:
    """Find the raises of budgets, which go when their budget goes."""
    return [piece for piece in stored if piece.kind == RAISE and piece.document.get("budget") in budgets]


def limit_of(document: Document) -> tuple[Unit, int]:
    """Read `usd` or `tokens` of a stored budget or raise: picodollars or tokens."""
    if "usd" in document:
        return Unit.USD, picodollars_from_usd(_text(document, "usd"))
    return Unit.TOKENS, _whole(document, "tokens")


def key_name(workspace: str, name: str) -> str:
    """Name a gateway key among the pieces of a policy."""
    return f"{workspace}/{name}"


def _change(old: Stored | None, new: Piece) -> Change:
    if old is None:
        return Change(new.kind, new.name, Action.CREATED, tuple(_differences({}, new.document)))
    fields = list(_differences(old.document, new.document))
    if new.kind in ORDERED_KINDS and old.position != new.position:
        fields.append(FieldChange("position", old.position, new.position))
    return Change(new.kind, new.name, Action.CHANGED if fields else Action.UNCHANGED, tuple(fields))


def _differences(before: Document, after: Document, path: str = "") -> Iterator[FieldChange]:
    for name in [*before, *(name for name in after if name not in before)]:
        inner = f"{path}.{name}" if path else name
        yield from _difference(before.get(name), after.get(name), inner)


def _difference(old: object, new: object, path: str) -> Iterator[FieldChange]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        yield from _differences(old, new, path)
    elif _has_objects(old) and _has_objects(new):
        for index, (left, right) in enumerate(zip_longest(old, new)):
            yield from _difference(left, right, f"{path}[{index}]")
    elif old != new:
        yield FieldChange(path, old, new)


def _has_objects(value: object) -> TypeGuard[list[object]]:
    """Whether it is a list such as a config's targets, of which one by one can be told."""
    return isinstance(value, list) and any(isinstance(each, Mapping) for each in value)


def _moved_behind(kept: Sequence[Stored], wanted: Sequence[Piece]) -> Iterator[Piece]:
    """Give the kept pieces whose place is now taken, each at its new place."""
    for kind in ORDERED_KINDS:
        free = sum(piece.kind == kind for piece in wanted)
        rest = sorted((old for old in kept if old.kind == kind), key=lambda old: (old.position, old.name))
        for old in rest:
            if old.position < free:
                yield Piece(kind, old.name, old.document, free, old.origin)
            free = max(free, old.position) + 1


def _configs(saved: Iterable[tuple[str, Document]], versions: Iterable[Document]) -> dict[str, RoutingConfig]:
    known = versions_of(versions)
    return {
        slug: RoutingConfig(slug, _mapping(document, "config"), max(older, default=1), older)
        for slug, document in saved
        for older in [known.get(slug, {})]
    }


def _provider(slug: str, document: Document) -> ProviderSpec:
    return ProviderSpec(
        slug=slug,
        type=_text(document, "type"),
        credential=_text(document, "credential"),
        base_url=_optional_text(document, "base_url"),
        models=_texts(document, "models"),
        region=_optional_text(document, "region"),
        cloud=read_cloud(document),
        prices=read_override(document.get("prices"), "prices"),
    )


def _workspace(slug: str, document: Document) -> Workspace:
    return Workspace(
        slug=slug,
        config=_optional_text(document, "config"),
        providers=_texts(document, "providers"),
        models=_texts(document, "models"),
        allow_config_override=document.get("allow_config_override") is not False,
        custom_hosts=_texts(document, "custom_hosts"),
    )


def _budget(name: str, document: Document, contact: str | None, *, raises: Iterable[Document] = ()) -> Budget:
    unit, limit = limit_of(document)
    alerts = document.get("alerts", (50, 80, 100))
    return Budget(
        name=name,
        scope=_scope(document),
        unit=unit,
        limit=limit,
        period=_text(document, "period"),
        timezone=_optional_text(document, "timezone") or "UTC",
        week_starts=_optional_text(document, "week_starts") or "monday",
        on_exhausted=OnExhausted(_optional_text(document, "on_exhausted") or "block"),
        include_subscription=document.get("include_subscription") is True,
        count=_texts(document, "count") or TOKEN_CLASSES,
        alerts=tuple(share for share in alerts if isinstance(share, int))
        if isinstance(alerts, Iterable)
        else (),
        contact=_optional_text(document, "contact") or contact,
        clamp=document.get("clamp") is True,
        raises=tuple(_raises(name, unit, raises)),
    )


def _rate_limit(name: str, document: Document, contact: str | None) -> RateLimit:
    unit = next((unit for unit in LimitUnit if unit in document), LimitUnit.REQUESTS)
    return RateLimit(
        name=name,
        scope=_scope(document),
        unit=unit,
        limit=_whole(document, unit),
        per=_optional_text(document, "per") or "",
        count=_texts(document, "count") or TOKEN_CLASSES,
        contact=contact,
    )


def _brake(name: str, document: Document, contact: str | None) -> Brake:
    return Brake(
        name=name,
        scope=_scope(document),
        session_picodollars=_optional_usd(document, "session_usd"),
        agent_picodollars=_optional_usd(document, "agent_usd"),
        session_requests_per_minute=_optional_whole(document, "session_requests_per_minute"),
        agents_per_session=_optional_whole(document, "agents_per_session"),
        include_subscription=document.get("include_subscription") is True,
        contact=contact,
    )


def _raises(budget: str, unit: Unit, documents: Iterable[Document]) -> Iterator[Raise]:
    for document in documents:
        if document.get("budget") != budget:
            continue
        raised_unit, limit = limit_of(document)
        # A budget may have been turned from dollars to tokens since.
        if raised_unit is unit:
            until = datetime.fromisoformat(_text(document, "until"))
            yield Raise(limit, until, _text(document, "reason"), _optional_text(document, "bucket"))


def _text(document: Document, name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str):
        raise ConfigInvalid(name, "the stored policy has no text here")
    return value


def _optional_text(document: Document, name: str) -> str | None:
    return None if document.get(name) is None else _text(document, name)


def _texts(document: Document, name: str) -> tuple[str, ...]:
    value = document.get(name, ())
    if not isinstance(value, list | tuple) or not all(isinstance(each, str) for each in value):
        raise ConfigInvalid(name, "the stored policy has no list of texts here")
    return tuple(value)


def _whole(document: Document, name: str) -> int:
    value = document.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ConfigInvalid(name, "the stored policy has no whole number here")
    return value


def _optional_whole(document: Document, name: str) -> int | None:
    return None if document.get(name) is None else _whole(document, name)


def _optional_usd(document: Document, name: str) -> int | None:
    return None if document.get(name) is None else picodollars_from_usd(_text(document, name))


def _scope(document: Document) -> Scope:
    scope = _mapping(document, "scope")
    return Scope(tuple((dimension, _texts(scope, dimension)) for dimension in scope))


def _mapping(document: Document, name: str) -> Document:
    value = document.get(name, {})
    if not isinstance(value, Mapping):
        raise ConfigInvalid(name, "the stored policy has no object here")
    return value
