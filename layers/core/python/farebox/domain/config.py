"""What administrators decide (the policy) and what one request becomes under it (the plan)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from farebox.domain.budget import Budget
from farebox.domain.price_override import PriceOverride

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

    `prices` is what was negotiated over the list.
    """

    slug: str
    type: str
    credential: str = CALLER_CREDENTIAL
    base_url: str | None = None
    models: tuple[str, ...] = ()
    region: str | None = None
    prices: PriceOverride | None = None

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
    """A tenant: its default config and what it may reach. Empty tuples mean no narrowing."""

    slug: str
    config: str | None = None
    providers: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    allow_config_override: bool = True


@dataclass(frozen=True, slots=True)
class RoutingConfig:
    """A routing document saved under a slug."""

    slug: str
    document: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything that decides a request, as of one version. Providers and budgets keep the file's order."""

    version: int
    providers: tuple[ProviderSpec, ...]
    workspaces: Mapping[str, Workspace]
    configs: Mapping[str, RoutingConfig]
    budgets: tuple[Budget, ...]
    organisation: str = DEFAULT_ORGANISATION
    contact: str | None = None

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
