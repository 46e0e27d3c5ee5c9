"""Writes as values: what a transaction is made of, and what also works alone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from farebox.adapters.aws.dynamodb.attributes import Value, wrapped, wrapped_item

Key = Mapping[str, Value]

# Many plain words are reserved in expressions, so every attribute is written `#name`.
_names = re.compile(r"#(\w+)").findall


class Action(Struct, frozen=True):
    """One write or check. Where its condition does not hold, DynamoDB gives back what stood there."""

    kind: str
    body: Mapping[str, Any]


def put(table: str, item: Mapping[str, Value], condition: str = "", **values: Value) -> Action:
    """Write a whole item."""
    return Action(
        "Put", {"TableName": table, "Item": wrapped_item(item), **_conditioned("", condition, values)}
    )


def update(
    table: str,
    key: Key,
    change: str,
    condition: str,
    values: Mapping[str, Value],
    *,
    names: Mapping[str, str] = {},  # read only
) -> Action:
    """Change single attributes; the item comes to be if it is not there. `names` says what `#alias` stands
    for, where it is not the attribute's own name.
    """
    body = {"TableName": table, "Key": wrapped_item(key), "UpdateExpression": change}
    return Action("Update", {**body, **_conditioned(change, condition, values, names)})


def delete(table: str, key: Key, condition: str = "", **values: Value) -> Action:
    """Take an item away."""
    return Action(
        "Delete", {"TableName": table, "Key": wrapped_item(key), **_conditioned("", condition, values)}
    )


def check(table: str, key: Key, condition: str, **values: Value) -> Action:
    """Write nothing, and let the transaction fail unless the condition holds."""
    body = {"TableName": table, "Key": wrapped_item(key)}
    return Action("ConditionCheck", {**body, **_conditioned("", condition, values)})


def expressed(
    *expressions: str,
    values: Mapping[str, Value],
    names: Mapping[str, str] = {},  # read only
) -> dict[str, Any]:
    """Give the names and values that expressions speak of: `#name` and `:name`."""
    spoken: dict[str, Any] = {}
    aliases = sorted({alias for expression in expressions for alias in _names(expression)})
    if aliases:
        spoken["ExpressionAttributeNames"] = {f"#{alias}": names.get(alias, alias) for alias in aliases}
    if values:
        spoken["ExpressionAttributeValues"] = {f":{name}": wrapped(value) for name, value in values.items()}
    return spoken


def _conditioned(
    change: str,
    condition: str,
    values: Mapping[str, Value],
    names: Mapping[str, str] = {},  # read only
) -> dict[str, Any]:
    spoken = expressed(change, condition, values=values, names=names)
    if condition:
        spoken["ConditionExpression"] = condition
        spoken["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
    return spoken
