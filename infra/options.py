"""Every choice of a deployment, with its default and its meaning: the only place that reads CDK's context."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches

from farebox.domain.routing.hosts import pattern_fault

LAMBDA_PLATFORM = "lambda"
HOST_PLATFORM = "host"
LOG_DAYS = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288)
LOG_DAYS_ALLOWED = (*LOG_DAYS, 3653)
"""What CloudWatch Logs accepts. Source: API reference of PutRetentionPolicy, read 2026-11."""

UNRESERVED_MIN = 100
"""What no function may reserve of the account's quota. Source: Lambda developer guide, read 2026-11."""


class OptionInvalid(ValueError):
    """A value of the context that cannot be used; the message names it and says what can."""


@dataclass(frozen=True, slots=True)
class Options:
    """What can be set with `-c name=value`, or under "context" in cdk.json. A field is named as its key."""

    stage: str = "dev"
    account: str | None = None
    region: str | None = None
    keep_data: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)
    alert_emails: tuple[str, ...] = ()
    alert_webhooks: tuple[str, ...] = ()
    alarm_emails: tuple[str, ...] = ()
    alarm_usd_per_hour: int = 50
    alarm_first_token_ms: int = 60_000
    dashboards: bool = True
    observability: bool = True
    runbook: str = "docs/runbook.md"
    secrets: tuple[str, ...] = ("anthropic",)
    bedrock_models: tuple[str, ...] = ("anthropic.*",)
    mantle_projects: tuple[str, ...] = ()
    anthropic_workspaces: tuple[str, ...] = ()
    assume_roles: tuple[str, ...] = ()
    proxy_memory_mb: int = 512
    admin_memory_mb: int = 512
    job_memory_mb: int = 256
    proxy_concurrency: int = 0
    admin_concurrency: int = 5
    job_concurrency: int = 5
    concurrency_quota: int = 1_000
    bucket_shards: int = 8
    trusted_hosts: tuple[str, ...] = ()
    log_days: int = 30
    bundle_platform: str = LAMBDA_PLATFORM

    @property
    def reserved(self) -> int:
        """Count what functions reserve of the quota: each job its share, the sweeper one at most."""
        jobs = 3 * self.job_concurrency + min(1, self.job_concurrency)
        return self.proxy_concurrency + self.admin_concurrency + jobs


@dataclass(frozen=True, slots=True)
class Option:
    """How one value is read, and what it means. Raises `OptionInvalid` in `read`, without the name."""

    read: Callable[[object], object]
    meaning: str


def _matching(pattern: str, kind: str) -> Callable[[object], str]:
    def read(value: object) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise OptionInvalid(f"must be {kind}")
        return value

    return read


def _list_of(read_one: Callable[[object], str]) -> Callable[[object], tuple[str, ...]]:
    def read(value: object) -> tuple[str, ...]:
        texts = [text.strip() for text in value.split(",")] if isinstance(value, str) else value
        if not isinstance(texts, list):
            raise OptionInvalid("must be a list, or texts separated by commas")
        return tuple(read_one(text) for text in texts if text)

    return read


def _whole(low: int, high: int) -> Callable[[object], int]:
    def read(value: object) -> int:
        text = str(value)
        if isinstance(value, bool) or not (text.isascii() and text.isdigit() and low <= int(text) <= high):
            raise OptionInvalid(f"must be a whole number from {low} to {high}")
        return int(text)

    return read


def _host(value: object) -> str:
    text = str(value)
    fault = pattern_fault(text)
    if fault is not None:
        raise OptionInvalid(f"must be hosts, one of which {fault}")
    return text


def _log_days(value: object) -> int:
    days = _whole(1, LOG_DAYS_ALLOWED[-1])(value)
    if days not in LOG_DAYS_ALLOWED:
        raise OptionInvalid(f"must be one of {', '.join(map(str, LOG_DAYS_ALLOWED))}")
    return days


def _truth(value: object) -> bool:
    known = {"true": True, "false": False}
    if str(value).lower() not in known:
        raise OptionInvalid("must be true or false")
    return known[str(value).lower()]


def _tags(value: object) -> Mapping[str, str]:
    pairs = (
        dict(pair.strip().partition("=")[::2] for pair in value.split(","))
        if isinstance(value, str)
        else value
    )
    if not isinstance(pairs, dict) or not all(
        isinstance(name, str) and name and isinstance(text, str) and text for name, text in pairs.items()
    ):
        raise OptionInvalid("must be an object of texts, or name=value pairs separated by commas")
    return pairs


_email = _matching(r"[^@\s,]+@[^@\s,]+\.[^@\s,]+", "an e-mail address")
_webhook = _matching(r"https://[^\s,]+", "an https URL")
_secret = _matching(r"[a-z0-9][a-z0-9-]{0,62}", "a short name of a-z, 0-9 and hyphens")
_model = _matching(r"[a-z0-9*][a-z0-9.*:-]*", "a Bedrock model id, * standing for any text")
_project = _matching(r"\*|[A-Za-z0-9_-]{1,128}", "the id of a project such as default, or *")
_workspace = _matching(r"\*|wrkspc_[A-Za-z0-9_-]{1,120}", "the id of a workspace such as wrkspc_01Ab, or *")
_role = _matching(
    r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+", "the whole ARN of a role, without wildcards"
)
_MEMORY = _whole(128, 10_240)
_CONCURRENCY = _whole(0, 100_000)

OPTIONS: Mapping[str, Option] = {
    "stage": Option(
        _matching(r"[a-z][a-z0-9]{0,11}", "a word of at most 12 letters and digits, beginning with a letter"),
        "What this deployment is called; part of every name. `prod` protects its data",
    ),
    "account": Option(_matching(r"\d{12}", "12 digits"), "The account it must go to; else the CLI's own"),
    "region": Option(
        _matching(r"[a-z]{2}(-[a-z]+)+-\d", "a region such as eu-central-1"),
        "The region it must go to; else the CLI's own. Goes with `account`",
    ),
    "keep_data": Option(
        _truth, "Whether tables, buckets, logs and secrets outlive their stack; true for stage `prod`"
    ),
    "tags": Option(_tags, "Tags of every resource: `-c tags=team=platform,cost=42`"),
    "alert_emails": Option(_list_of(_email), "Who is told by e-mail; each must confirm once"),
    "alert_webhooks": Option(
        _list_of(_webhook), "Where SNS posts alerts and alarms; each endpoint must confirm once"
    ),
    "alarm_emails": Option(_list_of(_email), "Who is told of alarms by e-mail; where empty, `alert_emails`"),
    "alarm_usd_per_hour": Option(
        _whole(0, 1_000_000), "What may be charged in an hour before an alarm rings; 0 for no alarm"
    ),
    "alarm_first_token_ms": Option(
        _whole(0, 900_000), "How long the slowest 1 % may take to begin before an alarm rings; 0 for no alarm"
    ),
    "dashboards": Option(_truth, "Whether there are two dashboards; an account's first three cost nothing"),
    "observability": Option(_truth, "Whether there are alarms, dashboards and saved queries at all"),
    "runbook": Option(
        _matching(r"[^\s#]+", "a path or URL"),
        "Where alarms say that the runbook is; only a URL is a link in their e-mails",
    ),
    "secrets": Option(
        _list_of(_secret),
        "Provider credentials to make a place for in Secrets Manager, as `farebox/STAGE/NAME`",
    ),
    "bedrock_models": Option(
        _list_of(_model), "What the proxy's role may invoke on Bedrock; empty for nothing"
    ),
    "mantle_projects": Option(
        _list_of(_project),
        "Projects of bedrock-mantle that it may use, such as `default`, for `endpoint: mantle`; `*` for all",
    ),
    "anthropic_workspaces": Option(
        _list_of(_workspace),
        "Workspaces of Claude Platform on AWS that it may ask, such as `wrkspc_01Ab`; `*` for all",
    ),
    "assume_roles": Option(
        _list_of(_role), "ARNs of roles that it may assume, for providers with `role_arn`"
    ),
    "proxy_memory_mb": Option(_MEMORY, "Memory of the proxy function, and with it its share of a CPU"),
    "admin_memory_mb": Option(_MEMORY, "Memory of the admin function"),
    "job_memory_mb": Option(_MEMORY, "Memory of the functions behind requests"),
    "proxy_concurrency": Option(_CONCURRENCY, "Most streams at once; 0 leaves it to the account's quota"),
    "admin_concurrency": Option(_CONCURRENCY, "Kept free for the admin plane; 0 keeps nothing"),
    "job_concurrency": Option(_CONCURRENCY, "Kept free for each job; 0 keeps nothing"),
    "concurrency_quota": Option(
        _whole(1, 1_000_000), "The account's Lambda quota, to which dashboard and alarm compare"
    ),
    "bucket_shards": Option(
        _whole(1, 64), "Shards of a bucket where everybody's requests meet, from its next window on"
    ),
    "trusted_hosts": Option(
        _list_of(_host),
        "Hosts that a `custom_host` may lead to although their addresses are private",
    ),
    "log_days": Option(_log_days, "How long logs are kept"),
    "bundle_platform": Option(
        _matching(f"{LAMBDA_PLATFORM}|{HOST_PLATFORM}", f"{LAMBDA_PLATFORM} or {HOST_PLATFORM}"),
        "`lambda`, or `host` for a cloud emulated on this machine",
    ),
}


def read_options(context: Mapping[str, object]) -> Options:
    """Read the options out of the whole context. Raises `OptionInvalid` naming the key.

    A key of ours that is misspelt is an error too; those with a colon or hyphen are CDK's own.
    """
    ours = {name: value for name, value in context.items() if not re.search(r"[:/-]", name)}
    for name in ours:
        if name not in OPTIONS:
            near = get_close_matches(name, OPTIONS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(OPTIONS)}"
            raise OptionInvalid(f"context {name}: is not known; {hint}")
    found = {name: _read_one(name, value) for name, value in ours.items() if value is not None}
    if ("account" in found) != ("region" in found):
        raise OptionInvalid("context account and region: set both or neither")
    found.setdefault("keep_data", found.get("stage") == "prod")
    options = Options(**found)  # type: ignore[arg-type]  # each option reads the type of its field
    _check_reservations(options)
    return options


def _check_reservations(options: Options) -> None:
    """Raise `OptionInvalid` where Lambda would refuse to reserve so much."""
    free = options.concurrency_quota - options.reserved
    if options.reserved and free < UNRESERVED_MIN:
        raise OptionInvalid(
            f"context concurrency_quota: leaves {free} free when {options.reserved} are reserved, and Lambda "
            f"wants {UNRESERVED_MIN}; set proxy_concurrency, admin_concurrency and job_concurrency lower"
        )


def _read_one(name: str, value: object) -> object:
    try:
        return OPTIONS[name].read(value)
    except OptionInvalid as error:
        raise OptionInvalid(f"context {name}: {error}, not {value!r}") from None


def options_table() -> str:
    """Write the table of docs/deploy.md."""
    defaults = {field.name: field.default for field in fields(Options)}
    lines = ["| option | default | meaning |", "| --- | --- | --- |"]
    for name, option in OPTIONS.items():
        lines.append(f"| `{name}` | {_shown(defaults[name])} | {option.meaning} |")
    return "\n".join(lines) + "\n"


def _shown(default: object) -> str:
    if isinstance(default, tuple):
        return f"`{','.join(default)}`" if default else ""
    return f"`{str(default).lower()}`" if isinstance(default, str | int) else ""
