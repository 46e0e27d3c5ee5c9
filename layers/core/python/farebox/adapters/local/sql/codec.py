"""How values become columns: times as microseconds, documents as JSON, places in a list as opaque cursors."""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import msgspec

from farebox.domain.errors import ConfigInvalid

Value = TypeVar("Value")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LARGEST = 2**63 - 1
_encode = msgspec.json.Encoder().encode


def microseconds(moment: datetime) -> int:
    """Count from 1970 UTC, exactly."""
    return (moment - _EPOCH) // _MICROSECOND


def moment_at(microseconds_since_epoch: int) -> datetime:
    """Give the moment back, in UTC."""
    return _EPOCH + timedelta(microseconds=microseconds_since_epoch)


def optional_microseconds(moment: datetime | None) -> int | None:
    """Count from 1970 UTC, or keep None."""
    return None if moment is None else microseconds(moment)


def json_text(value: object) -> str:
    """Write a dataclass or plain JSON value."""
    return _encode(value).decode()


def cursor_text(place: object) -> str:
    """Write a place in a list so that nobody is tempted to read it."""
    return urlsafe_b64encode(_encode(place)).decode().rstrip("=")


def cursor_place(cursor: str, kind: type[Value]) -> Value:
    """Read a place in a list back. Raises `ConfigInvalid` for a cursor that this list never gave out."""
    try:
        place = msgspec.json.decode(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)), type=kind)
        if any(isinstance(part, int) and abs(part) > _LARGEST for part in _parts(place)):
            raise ValueError("beyond what SQLite can compare")
        return place
    except (binascii.Error, ValueError, msgspec.MsgspecError) as error:
        raise ConfigInvalid("cursor", "this is not a cursor of this list") from error


def _parts(place: object) -> tuple[object, ...]:
    return place if isinstance(place, tuple) else (place,)
