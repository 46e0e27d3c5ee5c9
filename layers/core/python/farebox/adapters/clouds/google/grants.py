"""What Google gives a token for: an assertion that a key signs, a login's refresh token, AWS's word for us.

Sources: "Using OAuth 2.0 for Server to Server Applications", developers.google.com; google.auth.aws of
google-auth 2.63, to which a test holds the subject token. Read 2026-11.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import datetime
from urllib.parse import quote

import msgspec

from farebox.adapters.clouds.google.documents import (
    AWS_SUBJECT_TOKEN,
    Federation,
    Login,
    ServiceAccountKey,
)
from farebox.adapters.clouds.google.services import OAUTH, SCOPE, STS, TOKEN_S, TokenServices
from farebox.adapters.clouds.tokens import AccessToken
from farebox.wire.http import HttpRequest, Origin
from farebox.wire.sigv4 import AwsCredentials, Signer

Sign = Callable[[str, bytes], bytes]
"""Signs bytes by RS256 with a private key in PEM. Raises `ValueError` for a key that is none."""

_TARGET = "/token"
_AUDIENCE = f"https://{OAUTH}{_TARGET}"
_CALLER_IDENTITY = "Action=GetCallerIdentity&Version=2011-06-15"


async def token_of_key(services: TokenServices, key: ServiceAccountKey, sign: Sign) -> AccessToken:
    """Trade an assertion of a service account's key for a token. Raises `StoreFault` and `ValueError`."""
    form = {
        "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "assertion": assertion(key, services.clock.now(), sign),
    }
    return await services.granted(OAUTH, _TARGET, form)


async def token_of_login(services: TokenServices, login: Login) -> AccessToken:
    """Trade a login's refresh token for a token. Raises `StoreFault`."""
    form = {
        "grant_type": "refresh_token",
        "client_id": login.client_id,
        "client_secret": login.client_secret,
        "refresh_token": login.refresh_token,
    }
    return await services.granted(OAUTH, _TARGET, form)


async def token_of_federation(
    services: TokenServices, federation: Federation, credentials: AwsCredentials, region: str
) -> AccessToken:
    """Trade what proves an AWS identity for a token of the workload identity pool. Raises `StoreFault`."""
    form = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "audience": federation.audience,
        "scope": SCOPE,
        "requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "subject_token_type": AWS_SUBJECT_TOKEN,
        "subject_token": subject_token(federation.audience, credentials, region, services.clock.now()),
    }
    return await services.granted(STS, "/v1/token", form)


def assertion(key: ServiceAccountKey, now: datetime, sign: Sign) -> str:
    """Write a JSON Web Token that says who asks for which scope, good for an hour."""
    header = {"alg": "RS256", "typ": "JWT", **({"kid": key.key_id} if key.key_id else {})}
    issued_at = int(now.timestamp())
    claims = {
        "iss": key.email,
        "scope": SCOPE,
        "aud": _AUDIENCE,
        "iat": issued_at,
        "exp": issued_at + TOKEN_S,
    }
    signed = f"{_base64url(msgspec.json.encode(header))}.{_base64url(msgspec.json.encode(claims))}"
    return f"{signed}.{_base64url(sign(key.private_key, signed.encode()))}"


def subject_token(audience: str, credentials: AwsCredentials, region: str, now: datetime) -> str:
    """Write a signed request that tells whoever sends it to AWS who we are; Google does.

    It is good for one audience alone, for AWS's fifteen minutes. The host is AWS's, wherever ours may be.
    """
    origin = Origin("https", f"sts.{region}.amazonaws.com", 443)
    own = [(b"host", origin.host.encode()), (b"x-goog-cloud-target-resource", audience.encode())]
    request = HttpRequest(b"POST", origin, f"/?{_CALLER_IDENTITY}".encode(), own[1:], b"")
    headers = [own[0], *Signer(region, "sts").sign(request, credentials, now)]
    document = {
        "url": f"https://{origin.host}?{_CALLER_IDENTITY}",
        "method": "POST",
        # Written as Google's own libraries write them.
        "headers": [
            {"key": name.decode().replace("authorization", "Authorization"), "value": value.decode()}
            for name, value in headers
        ],
    }
    return quote(msgspec.json.encode(document).decode(), safe="")


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
