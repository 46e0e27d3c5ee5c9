"""Every `FAREBOX_*` variable, with its default and its meaning. The only place that reads the environment."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from ipaddress import ip_address
from urllib.parse import urlsplit

from msgspec import Struct

from farebox.domain.errors import ConfigInvalid
from farebox.domain.routing.caching import MAX_AGE_S_DEFAULT, MAX_AGE_S_MAX
from farebox.domain.routing.hosts import pattern_fault

PREFIX = "FAREBOX_"


@dataclass(frozen=True, slots=True)
class Settings:
    """What can be set from outside. A field's variable is its name in capitals, behind `FAREBOX_`."""

    url: str | None = None
    admin_key: str | None = None
    gateway_key: str | None = None
    data: str = ".farebox"
    log: str = "json"
    hold_lease_s: int = 60
    hold_wait_ms: int = 2_000
    drain_s: int = 30
    connect_timeout_ms: int = 10_000
    first_byte_timeout_ms: int = 120_000
    idle_timeout_ms: int = 300_000
    total_timeout_ms: int = 1_800_000
    ping_ms: int = 15_000
    max_body_bytes: int = 33_554_432
    webhook_url: str | None = None
    bucket_shards: int = 8
    trusted_hosts: tuple[str, ...] = ()
    cache_max_age_s: int = MAX_AGE_S_DEFAULT
    cache_max_bytes: int = 268_435_456
    google_endpoint_url: str | None = None

    def __repr__(self) -> str:
        return "Settings(...)"


class Variable(Struct, frozen=True):
    """How one variable is read, and what it means. Raises `ValueError` in `read`."""

    read: Callable[[str], object]
    meaning: str


def _whole(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit() and low <= int(text) <= high):
            raise ValueError(f"must be a whole number from {low} to {high}")
        return int(text)

    return read


def _one_of(*known: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in known:
            raise ValueError(f"must be one of {', '.join(known)}")
        return text

    return read


def _http_url(text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise ValueError("must be an http or https URL")
    return text.rstrip("/")


def _safe_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        is_sound = text.isascii() and text.isprintable() and " " not in text and parts.port != 0
    except ValueError:
        raise ValueError("must be a URL") from None
    if not is_sound or not parts.hostname or parts.username is not None or parts.fragment:
        raise ValueError("must be a plain URL, without a user name or fragment")
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(parts.hostname)):
        raise ValueError("must be an https URL, or http to this machine")
    return text


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _hosts(text: str) -> tuple[str, ...]:
    hosts = tuple(host.strip().lower() for host in text.split(","))
    for host in hosts:
        fault = pattern_fault(host)
        if fault is not None:
            raise ValueError(f"must be hosts with commas between them; one of them {fault}")
    return hosts


_DAY_MS = 86_400_000

VARIABLES: Mapping[str, Variable] = {
    "url": Variable(_http_url, "Where commands find the admin plane; else `<data>/credentials.json` says"),
    "admin_key": Variable(str, "The admin key that commands send; else the one in `<data>/credentials.json`"),
    "gateway_key": Variable(
        str,
        "The gateway key that `farebox claude` gives to Claude Code; else `<data>/credentials.json` has it",
    ),
    "data": Variable(str, "The data directory of the gateway on this machine"),
    "log": Variable(
        _one_of("json", "off"), "`json` writes one line a request to standard output, `off` none"
    ),
    "hold_lease_s": Variable(_whole(1, 3_600), "How long a hold outlives a process that died"),
    "hold_wait_ms": Variable(_whole(0, 60_000), "How long a request waits for money that open requests hold"),
    "drain_s": Variable(_whole(0, 3_600), "How long open streams may go on after SIGTERM"),
    "connect_timeout_ms": Variable(_whole(1, _DAY_MS), "Upstream: time to connect"),
    "first_byte_timeout_ms": Variable(
        _whole(1, _DAY_MS), "Upstream: time from the request to the first byte"
    ),
    "idle_timeout_ms": Variable(_whole(1, _DAY_MS), "Upstream: longest silence within an answer"),
    "total_timeout_ms": Variable(_whole(1, _DAY_MS), "Upstream: time for the whole answer"),
    "ping_ms": Variable(_whole(100, _DAY_MS), "Silence after which the client gets a ping"),
    "max_body_bytes": Variable(_whole(1_024, 1_073_741_824), "Largest request body; a larger one is a 413"),
    "webhook_url": Variable(
        _safe_url, "Where budget alerts are posted (Slack's incoming webhooks fit); https, or http here"
    ),
    "bucket_shards": Variable(
        _whole(1, 64), "DynamoDB: shards of a bucket where everybody meets, from its next window on"
    ),
    "trusted_hosts": Variable(
        _hosts,
        "Hosts that a `custom_host` may lead to although their addresses are private, such as "
        "`localhost:11434,*.models.corp.example`; a laptop needs it for its own machine",
    ),
    "cache_max_age_s": Variable(
        _whole(1, MAX_AGE_S_MAX), "How long a cached answer is good where its config does not say"
    ),
    "cache_max_bytes": Variable(
        _whole(0, 1_099_511_627_776), "Room for cached answers on this machine, compressed; 0 keeps none"
    ),
    "google_endpoint_url": Variable(
        _safe_url, "Where Google's token services are reached, if not at their own hosts"
    ),
}


def load_settings(environment: Mapping[str, str]) -> Settings:
    """Read the settings. An empty variable counts as none.

    Raises `ConfigInvalid` naming the variable, without its value: it may be a secret in the wrong place.
    """
    found: dict[str, object] = {}
    for field, variable in VARIABLES.items():
        name = variable_name(field)
        text = environment.get(name, "").strip()
        if not text:
            continue
        try:
            found[field] = variable.read(text)
        except ValueError as error:
            raise ConfigInvalid(name, str(error)) from None
    return Settings(**found)  # type: ignore[arg-type]  # each variable reads the type of its field


def variable_name(field: str) -> str:
    """Give the variable of a field of `Settings`."""
    return f"{PREFIX}{field.upper()}"


def process_environment() -> dict[str, str]:
    """Give the environment of this process, for what is named in it: `env:NAME` credentials and settings."""
    return dict(os.environ)


def settings_table() -> str:
    """Write the table of docs/settings.md."""
    defaults = {field.name: field.default for field in fields(Settings)}
    lines = ["| variable | default | meaning |", "| --- | --- | --- |"]
    for field, variable in VARIABLES.items():
        default = "" if defaults[field] in (None, ()) else f"`{defaults[field]}`"
        lines.append(f"| `{variable_name(field)}` | {default} | {variable.meaning} |")
    return "\n".join(lines) + "\n"
