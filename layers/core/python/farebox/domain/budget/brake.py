"""Runaway brakes: what one session, or one agent of it, may spend and ask, as budgets and rate limits."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

from msgspec import Struct

from farebox.domain.budget.limit import Budget, Unit
from farebox.domain.budget.rate_limit import LimitUnit, RateLimit
from farebox.domain.budget.scope import Scope
from farebox.domain.budget.window import TOTAL

SESSION = "session"
AGENT = "agent"

# No budget or rate limit of an administrator has a slash in its name.
_PREFIX = "brake"
_EACH = ("*",)
_ANY = ("?*",)


class Cap(StrEnum):
    """What a brake caps, by the names of the policy file."""

    SESSION_USD = "session_usd"
    AGENT_USD = "agent_usd"
    SESSION_REQUESTS = "session_requests_per_minute"
    AGENTS = "agents_per_session"


class Brake(Struct, frozen=True):
    """The caps that are not None are in force. Money is picodollars, counted over a session's whole life."""

    name: str
    scope: Scope
    session_picodollars: int | None = None
    agent_picodollars: int | None = None
    session_requests_per_minute: int | None = None
    agents_per_session: int | None = None
    include_subscription: bool = False
    contact: str | None = None

    def budgets(self) -> Iterator[Budget]:
        """Give the caps that are money."""
        if self.session_picodollars is not None:
            yield self._budget(Cap.SESSION_USD, self._of_session(), self.session_picodollars)
        if self.agent_picodollars is not None:
            yield self._budget(Cap.AGENT_USD, self._of_session((AGENT, _EACH)), self.agent_picodollars)

    def rate_limits(self) -> Iterator[RateLimit]:
        """Give the caps on pace and on the number of agents."""
        requests, agents = self.session_requests_per_minute, self.agents_per_session
        if requests is not None:
            name = _cap_name(self.name, Cap.SESSION_REQUESTS)
            yield RateLimit(
                name, self._of_session(), LimitUnit.REQUESTS, requests, "minute", contact=self.contact
            )
        if agents is not None:
            scope = self._of_session((AGENT, _ANY))
            name = _cap_name(self.name, Cap.AGENTS)
            yield RateLimit(name, scope, LimitUnit.AGENTS, agents, contact=self.contact)

    def _of_session(self, *terms: tuple[str, tuple[str, ...]]) -> Scope:
        return Scope(((SESSION, _EACH), *terms, *self.scope.terms))

    def _budget(self, cap: Cap, scope: Scope, limit: int) -> Budget:
        return Budget(
            name=_cap_name(self.name, cap),
            scope=scope,
            unit=Unit.USD,
            limit=limit,
            period=TOTAL,
            include_subscription=self.include_subscription,
            alerts=(100,),
            contact=self.contact,
        )


def brake_and_cap(name: str) -> tuple[str, str] | None:
    """Tell which cap of which brake a budget or rate limit is; None when it is an administrator's own."""
    prefix, _, rest = name.partition("/")
    brake, _, cap = rest.rpartition("/")
    return (brake, cap) if prefix == _PREFIX and brake else None


def session_of(scope: Scope, bucket: str) -> str:
    """Give the session of a brake's bucket."""
    return next(iter(scope.values(bucket)), bucket)


def _cap_name(brake: str, cap: Cap) -> str:
    return f"{_PREFIX}/{brake}/{cap}"
