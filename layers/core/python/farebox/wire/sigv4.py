"""AWS Signature Version 4 in headers: what makes a request to an AWS service ours.

Source: AWS General Reference, "Create a signed AWS API request", read 2026-11; held to botocore by a test.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import quote

from msgspec import Struct
from msgspec.structs import replace

from farebox.wire.http import Headers, HttpRequest
from farebox.wire.http1.request import host_header

SIGNERS_MAX = 256
"""More credentials than one process meets, but roles are assumed anew all the time."""

_ALGORITHM = "AWS4-HMAC-SHA256"
# Whatever stands between us and the service may rewrite these.
_UNSIGNED = frozenset(
    {
        b"baggage",
        b"expect",
        b"traceparent",
        b"tracestate",
        b"transfer-encoding",
        b"user-agent",
        b"x-amzn-trace-id",
    }
)


@dataclass(frozen=True, slots=True)
class AwsCredentials:
    """What signs. `expires_at` is None for credentials that stay good."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)
    expires_at: datetime | None = None


class SigningScope(Struct, frozen=True):
    """What a signature is good for beside its day."""

    region: str
    service: str


class Signer:
    """Signs for one region and service. The day's key is kept, since deriving it takes four hashes."""

    def __init__(self, region: str, service: str) -> None:
        self._region, self._service = region, service
        self._derived: tuple[tuple[str, str], bytes] | None = None

    def sign(self, request: HttpRequest, credentials: AwsCredentials, now: datetime) -> Headers:
        """Give the request's headers with the ones that sign it; `now` is UTC.

        The target must be what is sent: percent-encoded once, without dot segments. Host is left to the
        transport.
        """
        stamp = f"{now:%Y%m%dT%H%M%SZ}"
        headers = [*request.headers, (b"x-amz-date", stamp.encode())]
        if credentials.session_token is not None:
            headers.append((b"x-amz-security-token", credentials.session_token.encode()))
        signed, canonical = _canonical_request(request, headers)
        scope = f"{stamp[:8]}/{self._region}/{self._service}/aws4_request"
        digest = hashlib.sha256(canonical).hexdigest()
        text = f"{_ALGORITHM}\n{stamp}\n{scope}\n{digest}"
        signature = _hmac(self._key(credentials.secret_access_key, stamp[:8]), text).hex()
        authorization = (
            f"{_ALGORITHM} Credential={credentials.access_key_id}/{scope}, "
            f"SignedHeaders={signed}, Signature={signature}"
        )
        return [*headers, (b"authorization", authorization.encode())]

    def _key(self, secret: str, day: str) -> bytes:
        if self._derived is None or self._derived[0] != (secret, day):
            key = f"AWS4{secret}".encode()
            for part in (day, self._region, self._service, "aws4_request"):
                key = _hmac(key, part)
            self._derived = (secret, day), key
        return self._derived[1]


class Signers:
    """A signer for each scope and set of credentials that comes along."""

    def __init__(self) -> None:
        self._signers: dict[tuple[SigningScope, str], Signer] = {}

    def signed(
        self, request: HttpRequest, scope: SigningScope, credentials: AwsCredentials, now: datetime
    ) -> HttpRequest:
        """Give the request with the headers that sign it; `now` is UTC."""
        place = (scope, credentials.access_key_id)
        signer = self._signers.get(place)
        if signer is None:
            if len(self._signers) >= SIGNERS_MAX:
                self._signers.clear()
            signer = self._signers[place] = Signer(scope.region, scope.service)
        return replace(request, headers=signer.sign(request, credentials, now))


def _canonical_request(request: HttpRequest, headers: Headers) -> tuple[str, bytes]:
    path, _, query = request.target.decode("latin-1").partition("?")
    values: dict[bytes, list[bytes]] = {b"host": [host_header(request.origin)]}
    for name, value in headers:
        if name not in _UNSIGNED:
            values.setdefault(name, []).append(b" ".join(value.split()))
    names = sorted(values)
    signed = b";".join(names)
    lines = [
        request.method,
        quote(path or "/", safe="/~").encode(),
        _canonical_query(query).encode(),
        *(name + b":" + b",".join(values[name]) for name in names),
        b"",
        signed,
        hashlib.sha256(request.body).hexdigest().encode(),
    ]
    return signed.decode(), b"\n".join(lines)


def _canonical_query(query: str) -> str:
    pairs: Iterable[tuple[str, str, str]] = (pair.partition("=") for pair in query.split("&") if pair)
    return "&".join(f"{name}={value}" for name, value in sorted((name, value) for name, _, value in pairs))


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")
