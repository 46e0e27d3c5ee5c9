"""What administrators decide (the policy) and what one request becomes under it (the plan)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from fnmatch import fnmatchcase

from farebox.domain.budget import Budget, OnExhausted
from farebox.domain.budget.brake import Brake
from farebox.domain.budget.rate_limit import RateLimit
from farebox.domain.price import PriceOverride
from farebox.domain.routing.saved import RoutingConfig

CALLER_CREDENTIAL = "caller"
DEMO_TYPE = "demo"
DEFAULT_ORGANISATION = "default"
DEFAULT_WORKSPACE = "default"

PROVIDER_TYPES = (
    "anthropic",
    "bedrock",
    "vertex",
    "foundry",
    "anthropic-aws",
    "openai",
    "azure-openai",
    "gemini",
    "mistral",
    "openai-compatible",
    DEMO_TYPE,
)


@dataclass(frozen=True, slots=True)
class ProviderSpec:
    """One upstream as configured. `credential` is a reference such as 'env:NAME', never a secret.

    `prices` is what was negotiated over the list. `is_host_chosen` says that `base_url` is a `custom_host` of
    a config or a caller, so that it may lead to public addresses alone.
    """

    slug: str
    type: str
    credential: str = CALLER_CREDENTIAL
    base_url: str | None = None
    models: tuple[str, ...] = ()
    region: str | None = None
    prices: PriceOverride | None = None
    is_host_chosen: bool = False

    @property
    def uses_caller_credential(self) -> bool:
        """Whether the caller's own credential travels on to this provider."""
        return self.credential == CALLER_CREDENTIAL and self.type != DEMO_TYPE

    @property
    def has_own_credential(self) -> bool:
        """Whether farebox keeps a credential for this provider."""
        return self.credential != CALLER_CREDENTIAL


@dataclass(frozen=True, slots=True)
class Workspace:
    """A tenant: its default config and what it may reach. No `providers` or `models` mean no narrowing;
    `custom_hosts` are those that callers may name themselves, so none means none.
    """

    slug: str
    config: str | None = None
    providers: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    allow_config_override: bool = True
    custom_hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything that decides a request, as of one version. Providers and budgets keep the file's order.

    `lifts` says until when no brake stops a session.
    """

    version: int
    providers: tuple[ProviderSpec, ...]
    workspaces: Mapping[str, Workspace]
    configs: Mapping[str, RoutingConfig]
    budgets: tuple[Budget, ...]
    organisation: str = DEFAULT_ORGANISATION
    contact: str | None = None
    rate_limits: tuple[RateLimit, ...] = ()
    brakes: tuple[Brake, ...] = ()
    lifts: Mapping[str, datetime] = field(default_factory=dict)

    def budgets_of(self, session_id: str | None, now: datetime) -> tuple[Budget, ...]:
        """Give the budgets that count for a session, brakes after the others; a lifted one counts and does
        not block.
        """
        if not self.brakes or session_id is None:
            return self.budgets
        caps = (budget for brake in self.brakes for budget in brake.budgets())
        if self._is_lifted(session_id, now):
            caps = (replace(budget, on_exhausted=OnExhausted.ALERT) for budget in caps)
        return (*self.budgets, *caps)

    def rate_limits_of(self, session_id: str | None, now: datetime) -> tuple[RateLimit, ...]:
        """Give the rate limits of a session, those of brakes that are not lifted after the others."""
        if not self.brakes or session_id is None or self._is_lifted(session_id, now):
            return self.rate_limits
        return (*self.rate_limits, *(limit for brake in self.brakes for limit in brake.rate_limits()))

    def _is_lifted(self, session_id: str, now: datetime) -> bool:
        until = self.lifts.get(session_id)
        return until is not None and now < until

    def provider(self, slug: str) -> ProviderSpec | None:
        """Find a provider by slug."""
        return next((spec for spec in self.providers if spec.slug == slug), None)


@dataclass(frozen=True, slots=True)
class Target:
    """One provider to try, and the model id it is asked for."""

    provider: ProviderSpec
    model: str


def admits(patterns: tuple[str, ...], value: str) -> bool:
    """Say whether a value passes an allow-list of globs; an empty list admits everything."""
    return not patterns or any(fnmatchcase(value, pattern) for pattern in patterns)
