"""How values become attributes: times as microseconds, documents as JSON, places in lists as cursors."""

from __future__ import annotations

import binascii
import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import msgspec

from farebox.domain.errors import ConfigInvalid

Value = TypeVar("Value")

MAX_KEY_BYTES = 800
"""Of a sort key's 1,024, which may have more than this in it."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_encode = msgspec.json.Encoder().encode


def microseconds(moment: datetime) -> int:
    """Count from 1970 UTC, exactly."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def moment_at(microseconds_since_epoch: int) -> datetime:
    """Give the moment back, in UTC."""
    return _EPOCH + timedelta(microseconds=microseconds_since_epoch)


def json_text(value: object) -> str:
    """Write a dataclass or plain JSON value."""
    return _encode(value).decode()


def short_key(value: object) -> str:
    """Write a value as part of a key: as JSON, in which no two look the same, or where that is long as its
    hash.
    """
    text = json_text(value)
    if len(text.encode()) <= MAX_KEY_BYTES:
        return text
    return hashlib.sha256(text.encode()).hexdigest()


def cursor_text(place: object) -> str:
    """Write a place in a list so that nobody is tempted to read it."""
    return urlsafe_b64encode(_encode(place)).decode().rstrip("=")


def cursor_place(cursor: str, kind: type[Value]) -> Value:
    """Read a place in a list back. Raises `ConfigInvalid` for a cursor that this list never gave out."""
    try:
        return msgspec.json.decode(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)), type=kind)
    except (binascii.Error, ValueError, msgspec.MsgspecError) as error:
        raise ConfigInvalid("cursor", "this is not a cursor of this list") from error
