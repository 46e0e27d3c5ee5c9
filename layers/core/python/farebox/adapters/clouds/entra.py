"""Access tokens of Microsoft Entra for an application with a client secret.

Source: "OAuth 2.0 client credentials flow on the Microsoft identity platform", learn.microsoft.com; the scope
is the one of the Foundry clients of Anthropic's SDKs. Read 2026-11.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from urllib.parse import quote, urlencode, urlsplit

import msgspec
from msgspec import Struct

from farebox.adapters.clouds.tokens import AccessToken, AccessTokens
from farebox.domain.errors import ConfigInvalid, StoreFault, UpstreamFault
from farebox.domain.routing.hosts import is_loopback
from farebox.ports import Clock, Secrets
from farebox.ports.bearer import BearerToken
from farebox.wire.http import (
    JSON_FAULTS,
    HttpAnswer,
    HttpRequest,
    Origin,
    Timeouts,
    Transport,
    is_success,
    origin_of,
    read_whole,
)

PUBLIC_CLOUD = Origin("https", "login.microsoftonline.com", 443)
FOUNDRY_SCOPE = "https://ai.azure.com/.default"
APPLICATIONS_MAX = 256
LIFE_S_MAX = 24 * 3600
_TIMEOUTS = Timeouts(connect_ms=2_000, first_byte_ms=5_000, idle_ms=5_000, total_ms=8_000)
_CODE = re.compile(r"AADSTS\d+")
_WORD = re.compile(r"[a-z_]{1,64}")
_FORM = [(b"content-type", b"application/x-www-form-urlencoded"), (b"accept", b"application/json")]


class _Given(msgspec.Struct):
    access_token: str
    expires_in: int


class _Refused(msgspec.Struct):
    error: str = ""
    error_description: str = ""


_given = msgspec.json.Decoder(_Given, strict=False).decode
_refused = msgspec.json.Decoder(_Refused).decode


class Application(Struct, frozen=True):
    """Who asks: an application that is registered in a tenant."""

    tenant_id: str
    client_id: str


class EntraTokens:
    """The tokens of every application that some provider names."""

    def __init__(self, secrets: Secrets, *, transport: Transport, clock: Clock, origin: Origin) -> None:
        self._secrets, self._transport, self._clock, self._origin = secrets, transport, clock, origin
        self._tokens: dict[tuple[Application, str], AccessTokens] = {}

    async def of(self, application: Application, reference: str) -> BearerToken:
        """Give a token of an application whose secret is behind a reference, read anew for each token.

        Raises `StoreFault`.
        """
        place = (application, reference)
        kept = self._tokens.get(place)
        if kept is None:
            if len(self._tokens) >= APPLICATIONS_MAX:
                self._tokens.clear()
            fetch = partial(self._fetch, application, reference)
            kept = self._tokens[place] = AccessTokens(fetch, self._clock)
        return await kept.current()

    async def _fetch(self, application: Application, reference: str) -> AccessToken:
        try:
            secret = await self._secrets.resolve(reference)
        except ConfigInvalid as error:
            raise StoreFault(error.message) from error
        return await entra_token(
            application, secret, transport=self._transport, origin=self._origin, clock=self._clock
        )


def entra_origin(environment: Mapping[str, str]) -> Origin:
    """Give the host of Entra: Azure's public cloud, or what AZURE_AUTHORITY_HOST says as for Azure's SDKs.

    Raises `ConfigInvalid` where a secret would travel there in clear.
    """
    host = environment.get("AZURE_AUTHORITY_HOST")
    if not host:
        return PUBLIC_CLOUD
    parts = urlsplit(host if "://" in host else f"https://{host}")
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
    if not is_safe or not parts.hostname:
        raise ConfigInvalid("AZURE_AUTHORITY_HOST", "is not a host or an https URL")
    return origin_of(parts.geturl())


async def entra_token(
    application: Application, secret: str, *, transport: Transport, origin: Origin, clock: Clock
) -> AccessToken:
    """Ask for a token for Foundry. Raises `StoreFault` naming Entra's own code, never the secret."""
    form = {
        "grant_type": "client_credentials",
        "client_id": application.client_id,
        "client_secret": secret,
        "scope": FOUNDRY_SCOPE,
    }
    target = f"/{quote(application.tenant_id, safe='')}/oauth2/v2.0/token".encode()
    asked_at = clock.now()
    try:
        request = HttpRequest(b"POST", origin, target, list(_FORM), urlencode(form).encode())
        answer = await transport.send(request, _TIMEOUTS)
        body = await read_whole(answer, "Microsoft Entra", bytes_max=1024 * 1024)
    except UpstreamFault as fault:
        raise StoreFault(f"Microsoft Entra gives no token: {fault}") from fault
    try:
        given = _given(body) if is_success(answer.status) else None
    except JSON_FAULTS:
        given = None  # not chained: the decoder's error may quote a token
    if given is None or not _is_one_line(given.access_token) or given.expires_in <= 0:
        raise StoreFault(f"Microsoft Entra gives no token: {_why(answer, body)}")
    return AccessToken(given.access_token, asked_at + timedelta(seconds=min(given.expires_in, LIFE_S_MAX)))


def _is_one_line(text: str) -> bool:
    return bool(text) and text.isascii() and text.isprintable() and " " not in text


def _why(answer: HttpAnswer, body: bytes) -> str:
    """Name the code alone: the sentence beside it names applications, and is written for an administrator."""
    if is_success(answer.status):
        return "an answer without one"
    try:
        told = _refused(body)
    except JSON_FAULTS:
        return f"HTTP {answer.status}"
    code = _CODE.search(told.error_description)
    word = told.error if _WORD.fullmatch(told.error) else f"HTTP {answer.status}"
    return f"{word} ({code[0]})" if code else word
