"""DynamoDB's JSON: each value wrapped in a tag that names its type.

Source: DynamoDB API reference, AttributeValue, read 2026-11; held to boto3's serialiser by a test.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, TypeAlias

Value: TypeAlias = "str | int | bool | bytes | frozenset[str] | list[Value] | dict[str, Value] | None"
Item: TypeAlias = dict[str, Value]
Wire: TypeAlias = Mapping[str, Any]
"""An item or a single value as it travels: the one place where JSON is not yet ours."""

MAX_DIGITS = 38
_TOO_LARGE = 10**MAX_DIGITS


def wrapped(value: Value) -> dict[str, Any]:
    """Give a value its tag. Raises `TypeError` for a float or another foreign type, `ValueError` for a number
    that DynamoDB would round or an empty set.
    """
    if isinstance(value, str):
        return {"S": value}
    if value is None:
        return {"NULL": True}
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, int):
        if abs(value) >= _TOO_LARGE:
            raise ValueError(f"a number of more than {MAX_DIGITS} digits")
        return {"N": str(value)}
    if isinstance(value, bytes):
        return {"B": b64encode(value).decode()}
    if isinstance(value, frozenset):
        if not value:
            raise ValueError("an empty set")
        return {"SS": sorted(value)}
    if isinstance(value, list):
        return {"L": [wrapped(each) for each in value]}
    if isinstance(value, dict):
        return {"M": wrapped_item(value)}
    raise TypeError(f"a {type(value).__name__} is no attribute")


def wrapped_item(item: Mapping[str, Value]) -> dict[str, Any]:
    """Give every attribute of an item its tag."""
    return {name: wrapped(value) for name, value in item.items()}


def unwrapped(value: Wire) -> Value:
    """Take the tag off. Raises `ValueError` for a tag or a number that we never store."""
    ((tag, content),) = value.items()
    match tag:
        case "S" | "BOOL":
            plain: Value = content
            return plain
        case "N":
            return _integer(content)
        case "NULL":
            return None
        case "B":
            return b64decode(content)
        case "SS":
            return frozenset(content)
        case "L":
            return [unwrapped(each) for each in content]
        case "M":
            return unwrapped_item(content)
    raise ValueError(f"an attribute of type {tag}")


def unwrapped_item(item: Wire) -> Item:
    """Take the tags off an item."""
    return {name: unwrapped(value) for name, value in item.items()}


def _integer(text: str) -> int:
    number = Decimal(text)
    if number != number.to_integral_value():
        raise ValueError(f"{text} is not a whole number")
    return int(number)
