"""The sections of a policy document as pydantic models: every field, its grammar and its default."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from ipaddress import ip_address
from typing import Annotated, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from farebox.domain.budget import DIMENSIONS, TOKEN_CLASSES
from farebox.domain.budget.brake import AGENT, SESSION, Cap
from farebox.domain.config import (
    AZURE_RESOURCE,
    CALLER_CREDENTIAL,
    ENTRA_CLIENT,
    ENTRA_TENANT,
    GOOGLE_ACCOUNT,
    GOOGLE_AUDIENCE,
    GOOGLE_PROJECT,
    PLATFORM_WORKSPACE,
    PROVIDER_TYPES,
    ROLE_ARN,
    cloud_fault,
)
from farebox.domain.errors import ConfigInvalid
from farebox.domain.money import picodollars_from_usd, usd_text
from farebox.domain.price import read_override
from farebox.domain.price.model_names import INFERENCE_PROFILES
from farebox.domain.routing.hosts import is_loopback, is_metadata, pattern_fault
from farebox.http.moments import read_moment, utc_text

USD_MAX = 4_000_000
TOKENS_MAX = 10**18
MEMBERS_MAX = 5_000
PATTERN_LENGTH_MAX = 256
METADATA_VALUE_LENGTH_MAX = 128

_SLUG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_VERSION = re.compile(r"[1-9][0-9]{0,8}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._@+:-]{0,127}")
_PERIOD = re.compile(r"minute|hour|day|week|month|total|[1-9][0-9]{0,3}d")
_CREDENTIAL = re.compile(r"caller|aws|google|env:[A-Za-z_][A-Za-z0-9_]*|file:\S.*|secretsmanager:\S+")
_METADATA_DIMENSION = re.compile(r"metadata\.\S{1,64}")

_DEFAULT_CREDENTIALS: Mapping[str, str] = {
    "anthropic": CALLER_CREDENTIAL,
    "demo": CALLER_CREDENTIAL,
    "bedrock": "aws",
    "anthropic-aws": "aws",
    "vertex": "google",
}
_CREDENTIAL_TYPES: Mapping[str, tuple[str, ...]] = {
    "aws": ("bedrock", "anthropic-aws"),
    "google": ("vertex", "gemini"),
}


def _slug(value: str) -> str:
    if not _SLUG.fullmatch(value):
        raise ValueError("must be 1 to 64 letters, digits, '.', '_' or '-', beginning with a letter or digit")
    return value


def _config_name(value: str) -> str:
    slug, at, version = value.partition("@")
    if at and not _VERSION.fullmatch(version):
        raise ValueError("must be a config's slug, or one version of it such as resilient@3")
    _slug(slug)
    return value


def _pattern(value: str) -> str:
    if not 0 < len(value) <= PATTERN_LENGTH_MAX or not value.isprintable():
        raise ValueError(f"must be 1 to {PATTERN_LENGTH_MAX} printable characters")
    return value


def _as_text(value: object) -> object:
    """Let a whole number stand for its digits; YAML has turned 'no' into false and '1.0' into 1.0 by now."""
    if isinstance(value, bool | float | Decimal):
        raise ValueError("must be text; put it in quotes")
    return str(value) if isinstance(value, int) else value


def _as_list(value: object) -> object:
    return value if isinstance(value, list) else [value]


def _dimension(value: str) -> str:
    if value not in DIMENSIONS and not _METADATA_DIMENSION.fullmatch(value):
        raise ValueError(f"is not a dimension; known: {', '.join(DIMENSIONS)}, metadata.NAME")
    return value


def _scope_patterns(value: list[str]) -> list[str]:
    if not value or ("*" in value and len(value) > 1):
        raise ValueError("must be a value, a list of values or globs, or '*' alone for one bucket per value")
    return value


def _scope_beside_session(value: dict[str, list[str]]) -> dict[str, list[str]]:
    if SESSION in value or AGENT in value:
        raise ValueError("a brake is for each session and agent anyway; name other dimensions")
    return value


def _usd(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise ValueError("must be an amount in USD, such as 12.50")
    # repr gives the shortest digits of a float: what was written, not what the machine made of it.
    picodollars = picodollars_from_usd(repr(value) if isinstance(value, float) else value)
    if not 0 <= picodollars <= picodollars_from_usd(USD_MAX):
        raise ValueError(f"must be between 0 and {USD_MAX} USD")
    return usd_text(picodollars)


def _timezone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"'{value}' is not a time zone name such as Europe/Berlin") from None
    return value


def _base_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or not value.isprintable() or " " in value:
        raise ValueError("must be an http or https URL")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise ValueError("must have no user name, query or fragment")
    if parts.port == 0:
        raise ValueError("must have no port 0")
    if _is_address(parts.hostname) and is_metadata(parts.hostname):
        raise ValueError("must not be link-local, where clouds keep their metadata service")
    return value


def _host_pattern(value: str) -> str:
    fault = pattern_fault(value)
    if fault is not None:
        raise ValueError(fault)
    return value


def _written_as(pattern: str | re.Pattern[str], form: str) -> AfterValidator:
    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(f"must be {form}")
        return value

    return AfterValidator(check)


def _moment(value: str) -> str:
    return utc_text(read_moment(value))


Slug = Annotated[str, AfterValidator(_slug)]
ConfigName = Annotated[str, AfterValidator(_config_name)]
Name = Annotated[
    str,
    _written_as(
        _NAME, "1 to 128 letters, digits, spaces or any of '._@+:-', beginning with a letter or digit"
    ),
]
CredentialReference = Annotated[
    str,
    _written_as(
        _CREDENTIAL,
        "env:NAME, file:PATH, secretsmanager:ID, aws, google or caller; never the secret itself",
    ),
]
Pattern = Annotated[str, AfterValidator(_pattern)]
HostPattern = Annotated[str, AfterValidator(_host_pattern)]
Text = Annotated[str, BeforeValidator(_as_text), Field(max_length=METADATA_VALUE_LENGTH_MAX)]
ScopeText = Annotated[str, BeforeValidator(_as_text), AfterValidator(_pattern)]
Scope = dict[
    Annotated[str, AfterValidator(_dimension)],
    Annotated[list[ScopeText], BeforeValidator(_as_list), AfterValidator(_scope_patterns)],
]
Usd = Annotated[str, BeforeValidator(_usd)]
Tokens = Annotated[int, Field(ge=0, le=TOKENS_MAX)]
Period = Annotated[
    str,
    _written_as(_PERIOD, "minute, hour, day, week, month, total, or a number of days such as 14d"),
]
Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
Moment = Annotated[str, AfterValidator(_moment)]
TokenClasses = Annotated[list[Literal["input", "cache_read", "cache_write", "output"]], Field(min_length=1)]
AlertShare = Annotated[int, Field(ge=1, le=1000)]


class Section(BaseModel):
    """What all sections share: nothing unknown, nothing coerced."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    def document(self) -> dict[str, object]:
        """Give the JSON object that is stored: normal forms, without what equals its default."""
        return self.model_dump(mode="json", exclude_defaults=True)


class ModelPrices(Section):
    """One negotiated price row, USD per million tokens."""

    input: Usd
    output: Usd
    cache_read: Usd | None = None
    cache_write_5m: Usd | None = None
    cache_write_1h: Usd | None = None


class Prices(Section):
    """A negotiated multiplier on list prices, price rows per model, or both (rows are not multiplied)."""

    multiplier: Usd | None = None
    models: dict[Pattern, ModelPrices] = Field(default_factory=dict)


class ProviderSection(Section):
    """One upstream. `credential` says where the secret is; it is never the secret."""

    slug: Slug
    type: Annotated[str, AfterValidator(lambda value: _one_of(value, PROVIDER_TYPES))]
    credential: CredentialReference
    base_url: Annotated[str, AfterValidator(_base_url)] | None = None
    allow_plain_http: bool = False
    region: Pattern | None = None
    models: list[Pattern] = Field(default_factory=list)
    role_arn: Annotated[str, _written_as(*ROLE_ARN)] | None = None
    external_id: Annotated[str, Field(min_length=2, max_length=1_224)] | None = None
    endpoint: Literal["invoke", "messages", "mantle"] | None = None
    inference_profile: (
        Annotated[str, AfterValidator(lambda value: _one_of(value, INFERENCE_PROFILES))] | None
    ) = None
    project: Annotated[str, BeforeValidator(_as_text), _written_as(*GOOGLE_PROJECT)] | None = None
    audience: Annotated[str, _written_as(*GOOGLE_AUDIENCE)] | None = None
    service_account: Annotated[str, _written_as(*GOOGLE_ACCOUNT)] | None = None
    resource: Annotated[str, _written_as(*AZURE_RESOURCE)] | None = None
    tenant_id: Annotated[str, _written_as(*ENTRA_TENANT)] | None = None
    client_id: Annotated[str, _written_as(*ENTRA_CLIENT)] | None = None
    workspace_id: Annotated[str, _written_as(*PLATFORM_WORKSPACE)] | None = None
    model_ids: dict[Pattern, Pattern] = Field(default_factory=dict)
    pass_betas: list[Pattern] = Field(default_factory=list)
    prices: Annotated[Prices, AfterValidator(lambda value: _readable_prices(value))] | None = None

    @model_validator(mode="before")
    @classmethod
    def fill_credential(cls, value: object) -> object:
        """Take the one credential that a provider type usually has."""
        if isinstance(value, dict) and "credential" not in value:
            usual = _DEFAULT_CREDENTIALS.get(str(value.get("type")))
            return {**value, "credential": usual} if usual else value
        return value

    @model_validator(mode="after")
    def check_combinations(self) -> ProviderSection:
        """Refuse a credential of another cloud, and secrets over plain HTTP beyond this machine."""
        fitting = _CREDENTIAL_TYPES.get(self.credential)
        if fitting is not None and self.type not in fitting:
            raise ValueError(f"credential '{self.credential}' fits only {' and '.join(fitting)}")
        fault = cloud_fault(self.type, self.model_fields_set, region=self.region, credential=self.credential)
        if fault is not None:
            raise ValueError(fault)
        if self.client_id is not None and self.credential == CALLER_CREDENTIAL:
            raise ValueError("credential must say where the secret of client_id is, not 'caller'")
        parts = urlsplit(self.base_url or "")
        if parts.scheme == "http" and not self.allow_plain_http and not is_loopback(parts.hostname or ""):
            raise ValueError(
                "base_url is plain http to another machine; use https, or set allow_plain_http: true"
            )
        return self


class WorkspaceSection(Section):
    """A tenant: its default config and what it may reach."""

    slug: Slug
    config: ConfigName | None = None
    providers: list[Pattern] = Field(default_factory=list)
    models: list[Pattern] = Field(default_factory=list)
    allow_config_override: bool = True
    custom_hosts: list[HostPattern] = Field(default_factory=list)


class KeySection(Section):
    """A gateway key. Its secret is made by farebox and shown once."""

    name: Name
    workspace: Slug = "default"
    user: Pattern | None = None
    metadata: dict[Pattern, Text] = Field(default_factory=dict)
    models: list[Pattern] = Field(default_factory=list)
    providers: list[Pattern] = Field(default_factory=list)
    config: ConfigName | None = None
    allow_config_override: bool = True
    expires_at: Moment | None = None


class BudgetSection(Section):
    """A limit per window on a scope."""

    name: Name
    scope: Scope = Field(default_factory=dict)
    usd: Usd | None = None
    tokens: Tokens | None = None
    count: TokenClasses | None = None
    period: Period
    timezone: Annotated[str, AfterValidator(_timezone)] = "UTC"
    week_starts: Weekday = "monday"
    on_exhausted: Literal["block", "alert"] = "block"
    include_subscription: bool = False
    alerts: list[AlertShare] = Field(default=[50, 80, 100])
    clamp: bool = False
    contact: Pattern | None = None

    @model_validator(mode="after")
    def check_unit(self) -> BudgetSection:
        """Hold the budget to one unit."""
        if (self.usd is None) == (self.tokens is None):
            raise ValueError("needs exactly one of usd and tokens")
        if self.count is not None and self.tokens is None:
            raise ValueError(
                f"count chooses among token classes ({', '.join(TOKEN_CLASSES)}); it needs tokens"
            )
        if self.clamp and self.on_exhausted == "alert":
            raise ValueError("clamp makes requests fit; a budget that only alerts refuses none")
        return self


class RateLimitSection(Section):
    """A limit on how fast a scope may ask, or on how much at once."""

    name: Name
    scope: Scope = Field(default_factory=dict)
    requests: Tokens | None = None
    tokens: Tokens | None = None
    concurrent: Annotated[int, Field(ge=0, le=MEMBERS_MAX)] | None = None
    count: TokenClasses | None = None
    per: Literal["second", "minute", "hour", "day", "week"] | None = None

    @model_validator(mode="after")
    def check_unit(self) -> RateLimitSection:
        """Hold the rate limit to one unit, and a window to where one is counted."""
        if [self.requests, self.tokens, self.concurrent].count(None) != 2:
            raise ValueError("needs exactly one of requests, tokens and concurrent")
        if (self.per is None) != (self.concurrent is not None):
            raise ValueError("per goes with requests and tokens, which need it, and not with concurrent")
        if self.count is not None and self.tokens is None:
            raise ValueError("count chooses among token classes; it needs tokens")
        return self


class BrakeSection(Section):
    """What one session, or one agent of it, may do before an administrator has to look."""

    name: Name
    scope: Annotated[Scope, AfterValidator(_scope_beside_session)] = Field(default_factory=dict)
    session_usd: Usd | None = None
    agent_usd: Usd | None = None
    session_requests_per_minute: Tokens | None = None
    agents_per_session: Annotated[int, Field(ge=0, le=MEMBERS_MAX)] | None = None
    include_subscription: bool = False

    @model_validator(mode="after")
    def check_caps(self) -> BrakeSection:
        """Refuse a brake that stops nothing."""
        if all(getattr(self, cap) is None for cap in Cap):
            raise ValueError(f"needs at least one of {', '.join(Cap)}")
        return self


def _readable_prices(value: Prices) -> Prices:
    try:
        read_override(value.document(), "prices")
    except ConfigInvalid as error:
        raise ValueError(error.message) from None
    return value


def _one_of(value: str, known: tuple[str, ...]) -> str:
    if value not in known:
        raise ValueError(f"'{value}' is not one of {', '.join(known)}")
    return value


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
