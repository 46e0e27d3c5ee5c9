"""Makes and changes keys: the only place where a secret is in clear, on its way to whoever asked for it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from msgspec import Struct, field
from msgspec.structs import replace

from farebox.domain.config import DEFAULT_WORKSPACE
from farebox.domain.errors import Conflict
from farebox.domain.identity import (
    ADMIN_KEY_PREFIX,
    ENTROPY_BYTES,
    GATEWAY_KEY_PREFIX,
    AdminKey,
    GatewayKey,
    key_hash,
    key_shown,
    key_text,
)
from farebox.ports import Clock, Keys, Randomness

ID_BYTES = 10


class KeyAttributes(Struct, frozen=True):
    """What an administrator decides about a gateway key."""

    name: str
    workspace: str = DEFAULT_WORKSPACE
    user: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    models: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    config: str | None = None
    allow_config_override: bool = True
    expires_at: datetime | None = None


class IssuedKey(Struct, frozen=True):
    """A key and its secret, which is shown once and not kept."""

    key: GatewayKey
    secret: str

    def __repr__(self) -> str:
        return f"IssuedKey({self.key!r})"


async def issue_gateway_key(
    attributes: KeyAttributes, keys: Keys, clock: Clock, randomness: Randomness, *, actor: str
) -> IssuedKey:
    """Make a gateway key. Raises `Conflict` when the workspace has a key of this name that is not revoked."""
    secret = key_text(GATEWAY_KEY_PREFIX, randomness.bytes(ENTROPY_BYTES))
    key = GatewayKey(
        id=f"key_{randomness.bytes(ID_BYTES).hex()}",
        name=attributes.name,
        workspace=attributes.workspace,
        shown=key_shown(secret),
        created_at=clock.now(),
        user=attributes.user,
        metadata=attributes.metadata,
        models=attributes.models,
        providers=attributes.providers,
        config=attributes.config,
        allow_config_override=attributes.allow_config_override,
        expires_at=attributes.expires_at,
    )
    await keys.add_gateway_key(key, key_hash(secret), actor=actor)
    return IssuedKey(key, secret)


async def issue_admin_key(
    name: str, keys: Keys, clock: Clock, randomness: Randomness, *, actor: str
) -> tuple[AdminKey, str]:
    """Make an admin key and give it with its secret. Raises `Conflict` for a name in use."""
    secret = key_text(ADMIN_KEY_PREFIX, randomness.bytes(ENTROPY_BYTES))
    key_id = f"adm_{randomness.bytes(ID_BYTES).hex()}"
    key = AdminKey(id=key_id, name=name, shown=key_shown(secret), created_at=clock.now())
    await keys.add_admin_key(key, key_hash(secret), actor=actor)
    return key, secret


async def change_gateway_key(
    key: GatewayKey, attributes: KeyAttributes, keys: Keys, *, actor: str
) -> GatewayKey:
    """Give a key other attributes. Name, workspace, secret and a revocation stay.

    Raises `NotFound`, and `Conflict` where somebody else has changed the key since it was read: what they
    narrowed it to would be lost.
    """
    changed = replace(
        key,
        user=attributes.user,
        metadata=attributes.metadata,
        models=attributes.models,
        providers=attributes.providers,
        config=attributes.config,
        allow_config_override=attributes.allow_config_override,
        expires_at=attributes.expires_at,
    )
    await keys.update_gateway_key(changed, before=key, actor=actor)
    return changed


async def rotate_gateway_key(
    key: GatewayKey, overlap: timedelta, keys: Keys, clock: Clock, randomness: Randomness, *, actor: str
) -> tuple[IssuedKey, datetime]:
    """Give a key a new secret and say until when the old one opens. Raises `Conflict` for a revoked key."""
    if key.revoked_at is not None:
        raise Conflict(f"Key '{key.name}' is revoked; create a new one instead.")
    secret = key_text(GATEWAY_KEY_PREFIX, randomness.bytes(ENTROPY_BYTES))
    old_valid_until = clock.now() + overlap
    shown = key_shown(secret)
    await keys.add_secret(key.id, key_hash(secret), shown, old_valid_until, actor=actor)
    return IssuedKey(replace(key, shown=shown), secret), old_valid_until


async def revoke_gateway_key(key: GatewayKey, keys: Keys, clock: Clock, *, actor: str) -> GatewayKey:
    """Revoke a key for good; a second time changes nothing."""
    if key.revoked_at is not None:
        return key
    revoked = replace(key, revoked_at=clock.now())
    await keys.update_gateway_key(revoked, actor=actor)
    return revoked
