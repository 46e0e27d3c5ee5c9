"""How a bucket stands, read from its one item or from those of its shards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from farebox.adapters.aws.dynamodb.attributes import Item, Value
from farebox.adapters.aws.ledger.buckets.rooms import Pool
from farebox.domain.budget import Budget, Standing


def number(item: Mapping[str, Value], name: str) -> int:
    """Read an amount that is 0 until it first moves."""
    return cast(int, item.get(name, 0))


def standing_of(budget: Budget, items: Iterable[Item | None]) -> Standing:
    """Add a bucket up under its budget's present limit."""
    there = [item for item in items if item is not None]
    closed_up_to = marked_limit(there)
    return Standing(
        sum(number(item, "settled") for item in there),
        sum(number(item, "held") for item in there),
        closed_up_to is not None and closed_up_to >= budget.limit,
    )


def marked_limit(items: Iterable[Item]) -> int | None:
    """Give the limit up to which a bucket is closed."""
    return max((number(item, "exhausted_limit") for item in items if "exhausted_limit" in item), default=None)


def pool_of(items: Sequence[Item | None]) -> Pool | None:
    """Read the rooms of all shards; None where they were read in the midst of a change of them all."""
    shards: list[Mapping[str, Value]] = [item or {} for item in items]
    belonging = {(item.get("room_limit"), "is_overdrawn" in item) for item in shards}
    if len(belonging) > 1:
        return None
    ((limit, is_overdrawn),) = belonging
    return Pool(tuple(number(item, "room") for item in shards), cast("int | None", limit), is_overdrawn)


def count_of_shards(items: Iterable[Item]) -> int:
    """Give how many shards a wide bucket has; 0 where nobody has used it."""
    return max((number(item, "shards") for item in items), default=0)
