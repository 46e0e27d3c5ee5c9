"""Who is calling: workspaces, gateway keys, and what a key looks like in text and at rest."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping
from datetime import datetime

from msgspec import Struct, field
from msgspec.structs import replace

from farebox.domain.errors import Conflict

GATEWAY_KEY_PREFIX = "fb-"
ADMIN_KEY_PREFIX = "fba-"
ENTROPY_BYTES = 32

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET_LENGTH = 43  # 62**43 > 2**256
_CHECKSUM_LENGTH = 6  # 62**6 > 2**32
_SHOWN_LENGTH = 6


class GatewayKey(Struct, frozen=True):
    """What is stored of a key. The secret itself is shown once and never kept.

    `shown` is the visible beginning, such as 'fb-3kTz9Q'. Empty `models` or `providers` mean no narrowing.
    """

    id: str
    name: str
    workspace: str
    shown: str
    created_at: datetime
    user: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    models: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    config: str | None = None
    allow_config_override: bool = True
    expires_at: datetime | None = None
    revoked_at: datetime | None = None

    def is_valid(self, now: datetime) -> bool:
        """Say whether the key opens anything at `now`."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


class AdminKey(Struct, frozen=True):
    """A key of the admin plane. It never opens the data plane, and a gateway key never opens the admin
    plane.
    """

    id: str
    name: str
    shown: str
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None

    def is_valid(self, now: datetime) -> bool:
        """Say whether the key opens anything at `now`."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


def refuse_if_changed(stored: GatewayKey | AdminKey, before: GatewayKey | None) -> None:
    """Raise `Conflict` where a key is not what it was read as; a new secret is no change of it."""
    if before is not None and replace(before, shown=stored.shown) != stored:
        raise Conflict(f"Key '{stored.name}' was changed meanwhile by somebody else; try again.")


def key_text(prefix: str, entropy: bytes) -> str:
    """Write a new key: prefix, 256 bits in base 62, and a checksum that lets scanners and us spot typing
    errors.

    Raises `ValueError` unless `entropy` is 32 bytes.
    """
    if len(entropy) != ENTROPY_BYTES:
        raise ValueError(f"a key needs {ENTROPY_BYTES} random bytes")
    secret = _base62(int.from_bytes(entropy, "big"), _SECRET_LENGTH)
    return f"{prefix}{secret}{_checksum(secret)}"


def is_key_text(text: str, prefix: str = GATEWAY_KEY_PREFIX) -> bool:
    """Say whether `text` has the form of a key. It says nothing about whether the key exists."""
    body = text[len(prefix) :]
    return (
        text.startswith(prefix)
        and len(body) == _SECRET_LENGTH + _CHECKSUM_LENGTH
        and body.isascii()
        and body.isalnum()
        and _checksum(body[:_SECRET_LENGTH]) == body[_SECRET_LENGTH:]
    )


def key_hash(text: str) -> bytes:
    """Give the SHA-256 by which a key is stored and found. 256 random bits need no slow hash."""
    return hashlib.sha256(text.encode()).digest()


def key_shown(text: str) -> str:
    """Give the beginning of a key that may be shown in lists and logs."""
    prefix, _, secret = text.partition("-")
    return f"{prefix}-{secret[:_SHOWN_LENGTH]}"


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))


def _checksum(secret: str) -> str:
    return _base62(zlib.crc32(secret.encode()), _CHECKSUM_LENGTH)
