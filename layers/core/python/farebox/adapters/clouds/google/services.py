"""The three services that give Google's access tokens: at Google's own hosts, whatever a credential says.

Sources: RFC 6749, RFC 7523, RFC 8693; "Method: token", docs.cloud.google.com/iam/docs/reference/sts;
"generateAccessToken", docs.cloud.google.com/iam/docs/reference/credentials. Read 2026-11.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from urllib.parse import quote, urlencode

import msgspec

from farebox.adapters.clouds.tokens import AccessToken
from farebox.domain.errors import StoreFault, UpstreamFault
from farebox.ports import Clock
from farebox.wire.http import (
    JSON_FAULTS,
    Headers,
    HttpRequest,
    Origin,
    Timeouts,
    Transport,
    is_success,
    origin_of,
    read_whole,
)

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
OAUTH, STS, IAM = "oauth2.googleapis.com", "sts.googleapis.com", "iamcredentials.googleapis.com"
TOKEN_S = 3_600
LIFE_S_MAX = 24 * 3_600
TRIES = 2

_TIMEOUTS = Timeouts(connect_ms=2_000, first_byte_ms=5_000, idle_ms=5_000, total_ms=8_000)
_ANSWER_BYTES_MAX = 262_144
_FORM: Headers = [(b"content-type", b"application/x-www-form-urlencoded")]
_JSON: Headers = [(b"content-type", b"application/json")]
_NAME = re.compile(r"[A-Za-z_]{1,64}")
# Google's own words may quote what was sent, so only its name for an error is told, and what to look at.
_NEXT_STEPS: Mapping[str, str] = {
    "invalid_grant": "is the credential still good, the account enabled, and the clock here right?",
    "invalid_client": "log in again with gcloud auth application-default login",
    "invalid_target": "is audience the workload identity provider's full name?",
    "unauthorized_client": "does the workload identity provider admit this AWS account and role?",
    "NOT_FOUND": "is there such a service account?",
    "PERMISSION_DENIED": "grant roles/iam.workloadIdentityUser on the service account, or to an account or "
    "login roles/iam.serviceAccountTokenCreator",
}


class _Granted(msgspec.Struct):
    access_token: str
    expires_in: int


class _Impersonated(msgspec.Struct, rename="camel"):
    access_token: str
    expire_time: datetime


_granted = msgspec.json.Decoder(_Granted, strict=False).decode
_impersonated = msgspec.json.Decoder(_Impersonated).decode
_object = msgspec.json.Decoder(dict[str, object]).decode


class TokenServices:
    """The services. `endpoint` takes the place of their hosts, for whoever reaches Google another way."""

    def __init__(self, transport: Transport, clock: Clock, endpoint: str | None = None) -> None:
        self.clock = clock
        self._transport = transport
        self._endpoint = origin_of(endpoint) if endpoint else None

    async def granted(self, host: str, target: str, form: Mapping[str, str]) -> AccessToken:
        """Ask for a token with a grant. Raises `StoreFault` naming Google's own code."""
        asked_at = self.clock.now()
        body = await self._post(host, target, _FORM, urlencode(form).encode())
        try:
            found = _granted(body)
        except JSON_FAULTS:
            # Not chained: the decoder's error may quote the token.
            raise StoreFault(f"{host} answered without an access token") from None
        life_s = min(max(found.expires_in, 0), LIFE_S_MAX)
        return _usable(host, found.access_token, asked_at + timedelta(seconds=life_s))

    async def impersonated(self, account: str, base: AccessToken) -> AccessToken:
        """Ask for a token of a service account that `base` may act as. Raises `StoreFault`."""
        target = f"/v1/projects/-/serviceAccounts/{quote(account, safe='@')}:generateAccessToken"
        headers = [*_JSON, (b"authorization", b"Bearer " + base.text.encode())]
        body = msgspec.json.encode({"scope": [SCOPE], "lifetime": f"{TOKEN_S}s"})
        answer = await self._post(IAM, target, headers, body)
        try:
            found = _impersonated(answer)
        except JSON_FAULTS:
            raise StoreFault(f"{IAM} answered without an access token") from None
        return _usable(IAM, found.access_token, found.expire_time)

    async def _post(self, host: str, target: str, headers: Headers, body: bytes) -> bytes:
        """Ask once more where the service failed: nothing that is asked for here is done twice by that."""
        origin = self._endpoint or Origin("https", host, 443)
        request = HttpRequest(b"POST", origin, target.encode(), headers, body)
        for number in range(1, TRIES + 1):
            try:
                answer = await self._transport.send(request, _TIMEOUTS)
                told = await read_whole(answer, host, bytes_max=_ANSWER_BYTES_MAX)
            except UpstreamFault as fault:
                if number == TRIES:
                    raise StoreFault(f"{host} gives no token: {fault}") from fault
                continue
            if is_success(answer.status):
                return told
            if answer.status < 500:
                break
        code = _code(told)
        step = f" ({_NEXT_STEPS[code]})" if code in _NEXT_STEPS else ""
        raise StoreFault(f"{host} gives no token: {code or f'HTTP {answer.status}'}{step}")


def _usable(host: str, text: str, expires_at: datetime) -> AccessToken:
    if not text or not (text.isascii() and text.isprintable()) or expires_at.tzinfo is None:
        raise StoreFault(f"{host} answered without an access token")
    return AccessToken(text, expires_at)


def _code(body: bytes) -> str:
    """Give an error's name: `error` of OAuth, `error.status` of Google's APIs."""
    try:
        error = _object(body).get("error")
    except JSON_FAULTS:
        return ""
    code = error.get("status") if isinstance(error, dict) else error
    return code if isinstance(code, str) and _NAME.fullmatch(code) else ""
