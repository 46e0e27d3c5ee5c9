"""How many buckets one request could touch, at most: a transaction takes so many writes and no more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from farebox.domain.budget import Budget
from farebox.domain.errors import ConfigInvalid

MAX_TOUCHES = 90
"""Of the 100 writes of a transaction; the hold, the ledger row and the checks beside them need a few."""

_WILD = frozenset("*?[")


def refuse_too_wide(budgets: Iterable[Budget]) -> None:
    """Raise `ConfigInvalid` where one request could touch more budgets than one step takes."""
    touched = most_touched(budgets)
    if touched > MAX_TOUCHES:
        raise ConfigInvalid(
            "budgets", f"one request could touch {touched} of them; at most {MAX_TOUCHES} are possible here"
        )


def most_touched(budgets: Iterable[Budget]) -> int:
    """Give an upper bound of the budgets that one request draws on.

    A request has one value in each dimension, so of the budgets that name values there, only those of one
    value count.
    """
    named: dict[str, Counter[str]] = {}
    everywhere = 0
    for budget in budgets:
        dimension, values = _named_values(budget)
        if dimension is None:
            everywhere += 1
        else:
            named.setdefault(dimension, Counter()).update(values)
    return everywhere + sum(max(counts.values()) for counts in named.values())


def _named_values(budget: Budget) -> tuple[str | None, frozenset[str]]:
    for dimension, patterns in budget.scope.terms:
        if patterns and not any(_WILD & set(pattern) for pattern in patterns):
            return dimension, frozenset(patterns)
    return None, frozenset()
