"""`farebox doctor`: asks everything that must be right for Claude Code to work through the gateway.

A check never stops the next one. What it finds is told with one line on how to mend it.
"""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import typer

from farebox import __version__
from farebox.cli.access.credentials import Credentials
from farebox.cli.access.entrance import Entrance, find_entrance
from farebox.cli.access.probe import Reply, ask
from farebox.cli.admin.client import AdminClient, GatewayRefused, GatewayUnreachable, connect
from farebox.cli.claude import KEY_HEADER, OTHER_ROUTES, find_credentials, header_names
from farebox.cli.options import AsJson, Data
from farebox.cli.tables import counted, print_json, say
from farebox.compose.clock import system_clock
from farebox.compose.prices import load_prices
from farebox.compose.settings import Settings, load_settings, process_environment
from farebox.domain.config import AWS_CREDENTIAL, CALLER_CREDENTIAL, DEMO_TYPE, GOOGLE_CREDENTIAL, admits
from farebox.domain.errors import FareboxError
from farebox.domain.identity import GATEWAY_KEY_PREFIX
from farebox.domain.price import PriceBook
from farebox.ports import Clock
from farebox.providers.anthropic import DEFAULT_BASE_URL
from farebox.providers.registry import PROVIDERS

CLAUDE_CODE_MODELS = ("claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5")
OPENAPI = "/admin/openapi.json"
RECENT_REQUESTS = 200
SKEW_MAX_S = 60
# The demo model writes 4 tokens every 20 ms, so this answer takes 240 ms when nobody collects it first.
STREAMED_TOKENS = 48
STREAM_SPREAD_MIN_MS = 120
STREAM_PIECES_MIN = 5

# What the credentials that stand for an identity are mended by; docs/providers.md has the rest.
_PRESENT: Mapping[str, str] = {
    AWS_CREDENTIAL: "give the gateway AWS credentials: on a laptop AWS_PROFILE, or keys in the environment",
    GOOGLE_CREDENTIAL: "without audience run `gcloud auth application-default login`; with it, give the "
    "gateway AWS credentials",
}
_VALID: Mapping[str, str] = {
    AWS_CREDENTIAL: "give the gateway's AWS identity the rights that docs/providers.md lists",
    GOOGLE_CREDENTIAL: "give the gateway's Google identity the role roles/aiplatform.user",
}

Environment = Mapping[str, str]


class State(StrEnum):
    """How a check ended. Only `fail` makes the command fail."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. `mend` says what to do about it, empty when nothing is to be done."""

    name: str
    state: State
    found: str
    mend: str = ""


def doctor_command(as_json: AsJson = False, data: Data = None) -> None:
    """Check gateway, providers, prices, streaming and environment; exit status 1 if one fails."""
    environment = process_environment()
    clock = system_clock()
    settings = load_settings(environment)
    try:
        admin = connect(data)
        credentials = _credentials(settings, data)
        base_url = credentials.base_url if credentials else settings.url or ""
        key = credentials.gateway_key if credentials else None
        health, described = ask(clock, base_url, "GET", "/healthz"), ask(clock, base_url, "GET", OPENAPI)
        version = _version(described)
        entrance = find_entrance(base_url, key, environment, is_alone=health.status == 404 and bool(version))
        checks = [_health(base_url, health, version, entrance)]
        checks += check_gateway(admin, health, entrance, load_prices(), clock)
    except GatewayUnreachable as error:
        entrance = Entrance("", None)
        checks = [Check("gateway", State.FAIL, str(error), "start it, or say where it is")]
    except (OSError, http.client.HTTPException, FareboxError) as error:
        found = f"{base_url} does not answer: {error}"
        checks = [Check("gateway", State.FAIL, found, "start `farebox serve`")]
    checks += check_environment(environment, entrance.url)
    failed = any(check.state is State.FAIL for check in checks)
    if as_json:
        print_json({"ok": not failed, "rows": [asdict(check) for check in checks], "next": None})
    else:
        for check in checks:
            say(f"{check.state:<5} {check.name}: {check.found}")
            if check.mend:
                say(f"      -> {check.mend}")
    if failed:
        raise typer.Exit(1)


def check_gateway(
    admin: AdminClient, health: Reply, entrance: Entrance, prices: PriceBook, clock: Clock
) -> Iterator[Check]:
    """Check a gateway that answers, from the outside in."""
    yield from _skew("gateway's clock", health.headers.get("date"), clock)
    try:
        providers = admin.get("providers")["rows"]
        recent = admin.get("requests", limit=RECENT_REQUESTS)["rows"]
    except (GatewayRefused, GatewayUnreachable) as error:
        mend = "check FAREBOX_ADMIN_KEY, or the admin_key of credentials.json"
        yield Check("admin key", State.FAIL, str(error), mend)
        return
    yield Check("admin key", State.OK, "the admin plane takes it")
    if entrance.key is not None:
        yield check_gateway_key(entrance.url, entrance.key, clock)
    for row in providers:
        yield from check_provider(row, entrance, clock)
    yield check_prices(prices, recent, clock.now())
    yield check_streaming(admin, providers, entrance, clock)


def check_gateway_key(base_url: str, key: str, clock: Clock) -> Check:
    """List models with the gateway key: free, and refused when the key is."""
    try:
        reply = ask(clock, base_url, "GET", "/v1/models", headers={KEY_HEADER: key})
    except (OSError, http.client.HTTPException) as error:
        return Check("gateway key", State.FAIL, f"the gateway broke off: {error}", "read the gateway's log")
    if reply.status == 200:
        return Check("gateway key", State.OK, "the gateway takes it")
    if reply.status == 401:
        found = "the gateway key of this shell, or in credentials.json, is not valid"
        mend = "make a new one: farebox keys create --name NAME --save"
        return Check("gateway key", State.FAIL, found, mend)
    return Check("gateway key", State.WARN, f"not proven: {reply.message}", "read the gateway's log")


def check_provider(row: Mapping[str, Any], entrance: Entrance, clock: Clock) -> Iterator[Check]:
    """Check that a provider is served, takes the credential we keep for it, and by a gateway on this machine
    can be reached.
    """
    name = f"provider {row['slug']}"
    if row["type"] not in PROVIDERS:
        mend = "remove it from the policy file, or wait for a version that does"
        yield Check(name, State.WARN, f"type '{row['type']}' is not served by this version", mend)
        return
    if row["type"] == DEMO_TYPE:
        yield Check(name, State.OK, "built in; needs no credential")
        return
    # The clouds' own addresses follow from the region; whether they answer is proven with the credential.
    url = row.get("base_url") or (DEFAULT_BASE_URL if row["type"] == "anthropic" else None)
    if url is not None and not entrance.is_deployed:
        yield from _reach(name, url, clock)
    if row["credential"] == CALLER_CREDENTIAL:
        found = "each caller brings their own login or key; nothing to prove here"
        yield Check(f"{name}, credential", State.OK, found)
    elif not str(row["credential"]).startswith(entrance.readable):
        whose = "a deployed gateway" if entrance.is_deployed else "a gateway on a laptop"
        mend = f"put the credential in {entrance.place_for_credentials}"
        yield Check(f"{name}, credential", State.FAIL, f"{whose} cannot read {row['credential']}", mend)
    elif entrance.key is None:
        found = "not proven without a gateway key"
        yield Check(f"{name}, credential", State.WARN, found, entrance.without_key)
    else:
        yield _prove_credential(f"{name}, credential", row, entrance.url, entrance.key, clock)


def check_prices(prices: PriceBook, recent: list[dict[str, Any]], now: datetime) -> Check:
    """Check that the models in use lately, and those that Claude Code asks for by itself, have prices."""
    asked = {
        model
        for model in CLAUDE_CODE_MODELS
        if not prices.rates(provider="anthropic", model=model, region=None, at=now).is_known
    }
    unknown = sorted(asked | {str(row["model"]) for row in recent if row["cost_status"] == "unpriced"})
    if unknown:
        mend = "update farebox, or give the provider `prices` for them; until then a ceiling is charged"
        return Check("prices", State.WARN, f"no price for {', '.join(unknown)}", mend)
    priced = [row for row in recent if row["cost_status"] == "priced" and row["outcome"] != "refused"]
    used = counted(len({row["model"] for row in priced}), "model")
    lately = f", and for {used} used lately" if priced else ""
    return Check("prices", State.OK, f"known for Claude Code's defaults{lately}")


def check_streaming(
    admin: AdminClient, providers: list[dict[str, Any]], entrance: Entrance, clock: Clock
) -> Check:
    """Stream an answer of the demo model, look at when its pieces arrive, and say what it was booked at."""
    slug = next((row["slug"] for row in providers if row["type"] == DEMO_TYPE), None)
    if slug is None:
        mend = "add {slug: demo, type: demo} to the providers of the policy file to have it checked"
        return Check("streaming", State.WARN, "not checked: no provider of type demo", mend)
    if entrance.key is None:
        return Check("streaming", State.WARN, "not checked without a gateway key", entrance.without_key)
    body = {
        "model": f"@{slug}/claude-demo",
        "max_tokens": STREAMED_TOKENS,
        "stream": True,
        "messages": [{"role": "user", "content": f"demo: long {STREAMED_TOKENS}"}],
    }
    try:
        reply = ask(clock, entrance.url, "POST", "/v1/messages", body, {KEY_HEADER: entrance.key})
    except (OSError, http.client.HTTPException) as error:
        return Check("streaming", State.FAIL, f"the stream broke off: {error}", "read the gateway's log")
    judged = judge_stream(reply)
    return replace(judged, found=judged.found + _booked(admin, reply))


def _booked(admin: AdminClient, reply: Reply) -> str:
    """Say what a request was booked at; nothing where it was not."""
    try:
        rows = admin.get("requests", limit=RECENT_REQUESTS)["rows"]
    except (GatewayRefused, GatewayUnreachable):
        return ""
    own_id = reply.headers.get("x-farebox-request-id")
    booked = next((row["charged_usd"] for row in rows if row["id"] == own_id), None)
    return f"; booked as a demo request of ${booked}" if booked and reply.status == 200 else ""


def judge_stream(reply: Reply) -> Check:
    """Say whether an answer of the demo model came event by event, whole, with its ping."""
    if reply.status != 200:
        mend = "give this gateway key the demo provider and some budget to have it checked"
        return Check("streaming", State.WARN, f"not checked: {reply.message}", mend)
    if b"event: message_stop" not in reply.body:
        mend = "find out what between here and the gateway cuts connections"
        return Check("streaming", State.FAIL, "the stream ended before message_stop", mend)
    spread_ms = reply.at_ms[-1] - reply.at_ms[0]
    if len(reply.at_ms) < STREAM_PIECES_MIN or spread_ms < STREAM_SPREAD_MIN_MS:
        found = f"buffered: {counted(len(reply.at_ms), 'piece')} within {spread_ms} ms"
        mend = "switch off response buffering in the proxy or load balancer before the gateway"
        return Check("streaming", State.FAIL, found, mend)
    if b"event: ping" not in reply.body:
        mend = "find out what between here and the gateway rewrites event streams"
        return Check("streaming", State.FAIL, "pings do not arrive", mend)
    found = f"unbuffered: {len(reply.at_ms)} pieces over {spread_ms} ms; pings pass"
    return Check("streaming", State.OK, found)


def check_environment(environment: Environment, base_url: str) -> list[Check]:
    """Look for variables of Claude Code, in this shell, that fight each other or the gateway."""
    token = environment.get("ANTHROPIC_AUTH_TOKEN", "")
    named = environment.get("ANTHROPIC_BASE_URL", "").rstrip("/")
    header = KEY_HEADER in header_names(environment.get("ANTHROPIC_CUSTOM_HEADERS", ""))
    has_key = header or token.startswith(GATEWAY_KEY_PREFIX)
    found = []
    for name in (each for each in OTHER_ROUTES if environment.get(each)):
        found.append(_env(State.FAIL, f"{name} leads Claude Code around the gateway", f"unset {name}"))
    if has_key and not named:
        text = "a gateway key is set and ANTHROPIC_BASE_URL is not: it would be sent to Anthropic"
        found.append(_env(State.FAIL, text, f"export ANTHROPIC_BASE_URL={base_url or 'URL'}"))
    if named and base_url and named != base_url.rstrip("/"):
        text = f"ANTHROPIC_BASE_URL is {named}, this gateway is {base_url}"
        found.append(_env(State.WARN, text, f"export ANTHROPIC_BASE_URL={base_url}"))
    if named and named == base_url.rstrip("/") and not has_key:
        text = "ANTHROPIC_BASE_URL is this gateway, and no gateway key is set"
        found.append(_env(State.FAIL, text, 'eval "$(farebox claude --print-env)"'))
    if environment.get("ANTHROPIC_API_KEY") and token:
        text = "ANTHROPIC_API_KEY and ANTHROPIC_AUTH_TOKEN are both set, and Claude Code sends both"
        mend = "unset ANTHROPIC_API_KEY, unless it is to pay a provider with credential `caller`"
        found.append(_env(State.WARN, text, mend))
    if header and token.startswith(GATEWAY_KEY_PREFIX):
        text = (
            f"a gateway key in ANTHROPIC_AUTH_TOKEN stands in the way of the login that {KEY_HEADER} is for"
        )
        found.append(_env(State.WARN, text, "unset ANTHROPIC_AUTH_TOKEN"))
    if named and environment.get("CLAUDE_CODE_GATEWAY_HINT_HEADERS") != "1":
        text = "hint headers are off: rows cannot tell agents apart"
        found.append(_env(State.WARN, text, "export CLAUDE_CODE_GATEWAY_HINT_HEADERS=1"))
    how = "nothing fights" if named else "not set up here; `farebox claude` does it"
    return found or [_env(State.OK, how, "")]


def _credentials(settings: Settings, data: Path | None) -> Credentials | None:
    """Give the credentials file of this gateway. With FAREBOX_URL there need be none."""
    try:
        return find_credentials(settings, data)
    except GatewayUnreachable:
        return None


def _env(state: State, found: str, mend: str) -> Check:
    return Check("environment", state, found, mend)


def _version(described: Reply) -> str:
    """Give the version that an admin plane describes itself with; empty where it is none."""
    try:
        return str(json.loads(described.body)["info"]["version"])
    except (ValueError, KeyError, TypeError):
        return ""


def _health(base_url: str, health: Reply, version: str, entrance: Entrance) -> Check:
    if not version or (health.status != 200 and not entrance.is_deployed):
        mend = "check base_url in credentials.json, or FAREBOX_URL"
        return Check("gateway", State.FAIL, f"what answers at {base_url} is not farebox", mend)
    if version != __version__:
        found = f"{base_url} is version {version}, this command is {__version__}"
        return Check("gateway", State.WARN, found, "use the same version of both")
    if entrance.is_deployed:
        return Check("gateway", State.OK, f"{base_url} is the admin plane of a deployment, version {version}")
    return Check("gateway", State.OK, f"{base_url} answers, version {version}")


def _skew(name: str, date: str | None, clock: Clock) -> Iterator[Check]:
    """Compare a Date header with our clock; nothing to say where there is none."""
    try:
        skew_s = int((parsedate_to_datetime(date) - clock.now()).total_seconds()) if date else None
    except (ValueError, TypeError):
        return
    if skew_s is None:
        return
    if abs(skew_s) > SKEW_MAX_S:
        mend = "set both clocks by NTP; budgets and key expiry go by the gateway's"
        yield Check(name, State.WARN, f"{skew_s:+d} s from the clock here", mend)
    else:
        yield Check(name, State.OK, f"within {SKEW_MAX_S} s of the clock here")


def _reach(name: str, url: str, clock: Clock) -> Iterator[Check]:
    """Connect as the gateway does, without a proxy, and let the provider say what time it is."""
    try:
        reply = ask(clock, url, "HEAD", "/")
    except ssl.SSLError as error:
        mend = "trust the certificate of the proxy in between, or mend base_url"
        yield Check(name, State.FAIL, f"no TLS with {url}: {error.reason or error}", mend)
        return
    except (OSError, http.client.HTTPException, FareboxError) as error:
        mend = "open the way from here to it: DNS, firewall, base_url; the gateway uses no proxy"
        yield Check(name, State.FAIL, f"{url} cannot be reached: {error}", mend)
        return
    yield Check(name, State.OK, f"{url} can be reached")
    yield from _skew(f"{name}, clock", reply.headers.get("date"), clock)


def _prove_credential(name: str, row: Mapping[str, Any], base_url: str, key: str, clock: Clock) -> Check:
    """Count tokens through the gateway: free, and refused by the provider when the credential is wrong."""
    allowed = tuple(row.get("models") or ())
    literal = [pattern for pattern in allowed if not set(pattern) & set("*?[")]
    known = [model for model in reversed(CLAUDE_CODE_MODELS) if admits(allowed, model)]
    model = next(iter(known + literal), None)
    if model is None:
        mend = "name one model without a wildcard to have it checked"
        return Check(name, State.WARN, f"not proven: no model known for {', '.join(allowed)}", mend)
    body = {"model": f"@{row['slug']}/{model}", "messages": [{"role": "user", "content": "Hello"}]}
    try:
        reply = ask(clock, base_url, "POST", "/v1/messages/count_tokens", body, {KEY_HEADER: key})
    except (OSError, http.client.HTTPException) as error:
        return Check(name, State.FAIL, f"the gateway broke off: {error}", "read the gateway's log")
    return judge_credential(name, str(row["credential"]), reply)


def judge_credential(name: str, reference: str, reply: Reply) -> Check:
    """Say what the answer to a free token count tells about the credential behind it."""
    if reply.is_of_provider and reply.status in (401, 403):
        found = f"the provider refuses {reference}: {reply.message}"
        return Check(name, State.FAIL, found, _VALID.get(reference, f"put a valid key behind {reference}"))
    if reply.is_of_provider and reply.status < 500:
        return Check(name, State.OK, f"the provider takes {reference}")
    if reply.is_of_provider:
        return Check(name, State.WARN, f"the provider fails: {reply.message}", "try again later")
    if reply.status == 401:
        return Check(name, State.WARN, f"not proven: {reply.message}", "make a gateway key that is valid")
    if reply.status == 400:
        mend = "run doctor with a gateway key that may use this provider"
        return Check(name, State.WARN, f"not proven: {reply.message}", mend)
    if reply.status in (502, 504):
        mend = "this is the network between gateway and provider, not the credential"
        return Check(name, State.FAIL, reply.message, mend)
    mend = _PRESENT.get(reference, f"make {reference} readable for the gateway")
    return Check(name, State.FAIL, reply.message, mend)
