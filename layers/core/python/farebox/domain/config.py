"""What administrators decide (the policy) and what one request becomes under it (the plan)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from datetime import datetime
from fnmatch import fnmatchcase

from msgspec import Struct, field
from msgspec.structs import replace

from farebox.domain.budget import Budget, OnExhausted
from farebox.domain.budget.brake import Brake
from farebox.domain.budget.rate_limit import RateLimit
from farebox.domain.price import PriceOverride
from farebox.domain.price.model_names import bedrock_id, plain_name, region_profile, vertex_id
from farebox.domain.routing.saved import RoutingConfig

CALLER_CREDENTIAL = "caller"
AWS_CREDENTIAL = "aws"
GOOGLE_CREDENTIAL = "google"
DEMO_TYPE = "demo"
AWS_TYPES = ("bedrock", "anthropic-aws")
GOOGLE_TYPES = ("vertex",)
DEFAULT_ORGANISATION = "default"
DEFAULT_WORKSPACE = "default"
ANTHROPIC_BASE_URL = "https://api.anthropic.com"

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


CLOUD_FIELDS: Mapping[str, tuple[str, ...]] = {
    "role_arn": AWS_TYPES,
    "external_id": AWS_TYPES,
    "endpoint": ("bedrock",),
    "inference_profile": ("bedrock",),
    "project": ("vertex",),
    "audience": ("vertex",),
    "service_account": ("vertex",),
    "resource": ("foundry",),
    "tenant_id": ("foundry",),
    "client_id": ("foundry",),
    "workspace_id": ("anthropic-aws",),
    "model_ids": ("bedrock", "vertex", "foundry"),
    "pass_betas": ("bedrock", "vertex", "foundry", "anthropic-aws"),
}
"""Settings that mean something to these types of providers alone."""

AWS_REGION = r"[a-z]{2}(-[a-z]+)+-[0-9]"
"""It becomes part of a host name, to which credentials go."""

_UUID = r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"
ENTRA_CLIENT = (_UUID, "the id of an application, such as 00000000-0000-0000-0000-000000000000")
# Never the tenants of people, such as 'common', where no application logs in.
ENTRA_TENANT = (
    rf"{_UUID}|[A-Za-z0-9-]{{1,63}}(\.[A-Za-z0-9-]{{1,63}}){{1,6}}",
    "the id of a tenant or one of its domains, such as ours.onmicrosoft.com",
)
AZURE_RESOURCE = (r"[A-Za-z0-9][A-Za-z0-9-]{0,62}", "the name of a resource: letters, digits and '-'")
PLATFORM_WORKSPACE = (r"[A-Za-z0-9_-]{1,128}", "the id of a workspace, such as wrkspc_01Ab")
ROLE_ARN = (
    r"arn:aws[a-z-]*:iam::[0-9]{12}:role/\S+",
    "the ARN of a role, such as arn:aws:iam::123456789012:role/claude",
)

GOOGLE_LOCATION = r"global|us|eu|[a-z]{2,20}-[a-z]{2,20}[0-9]{1,2}"
"""It becomes part of a host name, too."""

GOOGLE_PROJECT = (
    r"(?:[a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]|[0-9]{6,19}",
    "the id or the number of a Google Cloud project, such as our-project-123",
)
GOOGLE_AUDIENCE = (
    r"//iam\.googleapis\.com/projects/[0-9]+/locations/global/workloadIdentityPools/[a-z0-9-]{4,32}"
    r"/providers/[a-z0-9-]{4,32}",
    "//iam.googleapis.com/projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER",
)
GOOGLE_ACCOUNT = (
    r"[a-z0-9-]+@[a-z0-9.-]+\.gserviceaccount\.com",
    "the e-mail of a service account, such as farebox@our-project-123.iam.gserviceaccount.com",
)
"""Forms of the clouds' names: a pattern, and what it is in words."""

TYPES_OF_PORTKEY: Mapping[str, str] = {
    "vertex-ai": "vertex",
    "azure-ai": "foundry",
    "claude-platform-aws": "anthropic-aws",
    "google": "gemini",
    "mistral-ai": "mistral",
}
"""What Portkey calls types of providers, where we say it otherwise."""


class CloudSettings(Struct, frozen=True):
    """What the clouds need besides. Each provider type knows which of these it has; see docs/providers.md.

    `model_ids` says what a model is called there, such as the ARN of an application inference profile, by its
    plain name. `pass_betas` are let through beyond those that the provider is known to take.
    """

    role_arn: str | None = None
    external_id: str | None = None
    endpoint: str | None = None
    inference_profile: str | None = None
    project: str | None = None
    audience: str | None = None
    service_account: str | None = None
    resource: str | None = None
    tenant_id: str | None = None
    client_id: str | None = None
    workspace_id: str | None = None
    model_ids: Mapping[str, str] = field(default_factory=dict)
    pass_betas: tuple[str, ...] = ()


class ProviderSpec(Struct, frozen=True):
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
    cloud: CloudSettings = field(default_factory=CloudSettings)

    @property
    def uses_caller_credential(self) -> bool:
        """Whether the caller's own credential travels on to this provider."""
        return self.credential == CALLER_CREDENTIAL and self.type != DEMO_TYPE

    @property
    def has_own_credential(self) -> bool:
        """Whether farebox keeps a credential for this provider."""
        return self.credential != CALLER_CREDENTIAL

    def model_id(self, model: str) -> str:
        """Give what this provider calls a model: as configured, else as its platform writes it."""
        configured = self.cloud.model_ids.get(model) or self.cloud.model_ids.get(plain_name(model))
        if configured is not None:
            return configured
        if self.type == "bedrock":
            return bedrock_id(model, self._inference_profile)
        if self.type == "vertex":
            return vertex_id(model)
        is_foreign = self.type == "anthropic" and self.base_url not in (None, ANTHROPIC_BASE_URL)
        return model if is_foreign else plain_name(model)

    @property
    def _inference_profile(self) -> str:
        usual = "none" if self.cloud.endpoint == "mantle" else region_profile(self.region or "")
        return self.cloud.inference_profile or usual

    def model_behind(self, model: str) -> str:
        """Give the plain name of a model of this provider, also where the id is one that was configured."""
        configured = (name for name, there in self.cloud.model_ids.items() if there == model)
        return next(configured, plain_name(model))


def read_cloud(document: Mapping[str, object]) -> CloudSettings:
    """Read what a provider's checked document says of its cloud."""
    found = {name: document[name] for name in CloudSettings.__struct_fields__ if name in document}
    plain = {name: tuple(value) if isinstance(value, list) else value for name, value in found.items()}
    return CloudSettings(**plain)  # type: ignore[arg-type]  # it was checked when it was written


def cloud_fault(kind: str, named: Set[str], *, region: str | None, credential: str) -> str | None:
    """Say what is wrong with the settings that a provider names; None where nothing is."""
    for name, kinds in CLOUD_FIELDS.items():
        if name in named and kind not in kinds:
            return f"{name} goes with {' and '.join(kinds)} only, not with '{kind}'"
    if kind in AWS_TYPES and not (region and re.fullmatch(AWS_REGION, region)):
        return f"region is required for type '{kind}', such as eu-central-1"
    if kind == "vertex" and not (region and re.fullmatch(GOOGLE_LOCATION, region)):
        return "region is required for type 'vertex': global, us, eu, or a region such as us-east5"
    if kind == "vertex" and "project" not in named:
        return "type 'vertex' needs project, the id of the Google Cloud project that is billed"
    if "audience" in named and credential != GOOGLE_CREDENTIAL:
        return "audience goes with credential 'google'; any other credential says itself who asks"
    if "external_id" in named and "role_arn" not in named:
        return "external_id goes with a role_arn"
    if ("tenant_id" in named) != ("client_id" in named):
        return "tenant_id and client_id go together: an application of Microsoft Entra and where it is known"
    if kind == "foundry" and named.isdisjoint({"resource", "base_url"}):
        return "type 'foundry' needs its resource's name, or a base_url"
    return None


class Workspace(Struct, frozen=True):
    """A tenant: its default config and what it may reach. No `providers` or `models` mean no narrowing;
    `custom_hosts` are those that callers may name themselves, so none means none.
    """

    slug: str
    config: str | None = None
    providers: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    allow_config_override: bool = True
    custom_hosts: tuple[str, ...] = ()


class Policy(Struct, frozen=True):
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


class Target(Struct, frozen=True):
    """One provider to try, and the model it is asked for, as the caller writes it."""

    provider: ProviderSpec
    model: str

    @property
    def model_id(self) -> str:
        """What the provider calls the model."""
        return self.provider.model_id(self.model)

    @property
    def priced_model(self) -> str:
        """What the price depends on: the provider's own id, which says whether it is a regional one; of an
        application inference profile, which says nothing, the model behind it.
        """
        return self.model_name if self.model_id.startswith("arn:") else self.model_id

    @property
    def model_name(self) -> str:
        """What budgets and reports call it, on whatever cloud it runs."""
        return self.provider.model_behind(self.model)


def admits(patterns: tuple[str, ...], value: str) -> bool:
    """Say whether a value passes an allow-list of globs; an empty list admits everything."""
    return not patterns or any(fnmatchcase(value, pattern) for pattern in patterns)


def admits_model(patterns: tuple[str, ...], model: str) -> bool:
    """Say whether a model passes an allow-list, as it is written or by its plain name."""
    return admits(patterns, model) or admits(patterns, plain_name(model))
