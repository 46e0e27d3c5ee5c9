"""How much one request could touch, at most: a transaction takes so many writes and no more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from farebox.domain.budget import Scope
from farebox.domain.config import Policy
from farebox.domain.errors import ConfigInvalid

MAX_TOUCHES = 90
"""Of the 100 writes of a transaction; the hold, the ledger row and the checks beside them need a few."""

_WILD = frozenset("*?[")


def refuse_too_wide(policy: Policy) -> None:
    """Raise `ConfigInvalid` where one request could touch more budgets than one step takes, or rate limits of
    more scopes. Those of brakes count as well.
    """
    caps = [budget.scope for brake in policy.brakes for budget in brake.budgets()]
    _refuse("budgets", [*(budget.scope for budget in policy.budgets), *caps])
    limits = [*policy.rate_limits, *(limit for brake in policy.brakes for limit in brake.rate_limits())]
    # The limits of one scope are one write; so are those of some scopes together.
    _refuse("rate_limits", {limit.scope for limit in limits})


def most_touched(scopes: Iterable[Scope]) -> int:
    """Give an upper bound of the scopes that cover one request.

    A request has one value in each dimension, so of the scopes that name values there, only those of one
    value count.
    """
    named: dict[str, Counter[str]] = {}
    everywhere = 0
    for scope in scopes:
        dimension, values = _named_values(scope)
        if dimension is None:
            everywhere += 1
        else:
            named.setdefault(dimension, Counter()).update(values)
    return everywhere + sum(max(counts.values()) for counts in named.values())


def _refuse(section: str, scopes: Iterable[Scope]) -> None:
    touched = most_touched(scopes)
    if touched > MAX_TOUCHES:
        raise ConfigInvalid(
            section, f"one request could touch {touched} of them; at most {MAX_TOUCHES} are possible here"
        )


def _named_values(scope: Scope) -> tuple[str | None, frozenset[str]]:
    for dimension, patterns in scope.terms:
        if patterns and not any(_WILD & set(pattern) for pattern in patterns):
            return dimension, frozenset(patterns)
    return None, frozenset()
