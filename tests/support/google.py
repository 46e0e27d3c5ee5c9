"""Google's token services and what they are shown: keys made by tests, answers, a reader of assertions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import parse_qs

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from google.auth import jwt
from google.auth.aws import AwsSecurityCredentials, RequestSigner

from farebox.wire.sigv4 import AwsCredentials
from tests.support.upstream import Reply
from tests.support.vertex import ACCOUNT, PROJECT

POOL = "//iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/farebox"
AUDIENCE = f"{POOL}/providers/proxy"
OAUTH_AUDIENCE = "https://oauth2.googleapis.com/token"
JSON = (("Content-Type", "application/json; charset=UTF-8"),)


@dataclass(frozen=True, slots=True)
class Pair:
    """A key in PEM, and what verifies its signatures."""

    private: str
    public: str
    key: RSAPrivateKey


@cache
def a_pair() -> Pair:
    key = generate_private_key(public_exponent=65_537, key_size=2_048)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return Pair(private.decode(), public.decode(), key)


def service_account_file(**fields: object) -> str:
    """Write the JSON file of a key as Google gives it out."""
    document = {
        "type": "service_account",
        "project_id": PROJECT,
        "private_key_id": "5ca1ab1e",
        "private_key": a_pair().private,
        "client_email": ACCOUNT,
        "client_id": "1234567890",
        "auth_uri": "https://accounts.google.com/o/oauth2/auth",
        "token_uri": "https://oauth2.googleapis.com/token",
        "universe_domain": "googleapis.com",
        **fields,
    }
    return json.dumps({name: value for name, value in document.items() if value is not None}, indent=2) + "\n"


def external_account_file(**fields: object) -> str:
    """Write what `gcloud iam workload-identity-pools create-cred-config --aws` does."""
    document = {
        "universe_domain": "googleapis.com",
        "type": "external_account",
        "audience": AUDIENCE,
        "subject_token_type": "urn:ietf:params:aws:token-type:aws4_request",
        "token_url": "https://sts.googleapis.com/v1/token",
        "credential_source": {
            "environment_id": "aws1",
            "regional_cred_verification_url": "https://sts.{region}.amazonaws.com?Action=GetCallerIdentity",
        },
        "service_account_impersonation_url": (
            f"https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{ACCOUNT}:generateAccessToken"
        ),
        **fields,
    }
    return json.dumps({name: value for name, value in document.items() if value is not None}, indent=2)


def login_file(**fields: object) -> str:
    """Write what `gcloud auth application-default login` does."""
    document = {
        "type": "authorized_user",
        "client_id": "client-1",
        "client_secret": "secret-of-gcloud",
        "refresh_token": "1//refresh-canary",
        **fields,
    }
    return json.dumps(document, indent=2)


def granted(token: str, *, expires_in: int = 3_599) -> Reply:
    document = {"access_token": token, "expires_in": expires_in, "token_type": "Bearer"}
    return Reply(200, JSON, (json.dumps(document).encode(),))


def impersonated(token: str, expire_time: str) -> Reply:
    return Reply(200, JSON, (json.dumps({"accessToken": token, "expireTime": expire_time}).encode(),))


def refused(code: str, description: str, *, status: int = 400) -> Reply:
    """Refuse as OAuth does."""
    document = {"error": code, "error_description": description}
    return Reply(status, JSON, (json.dumps(document).encode(),))


def form_of(body: bytes) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(body.decode()).items()}


def claims_of(assertion: str, *, audience: str = OAUTH_AUDIENCE) -> Mapping[str, object]:
    """Verify an assertion with Google's own library, whenever it was made, and give its claims."""
    claims: Mapping[str, object] = jwt.decode(  # type: ignore[no-untyped-call]
        assertion, certs=a_pair().public, audience=audience, clock_skew_in_seconds=10**9
    )
    return claims


def header_of(assertion: str) -> Mapping[str, object]:
    header: Mapping[str, object] = jwt.decode_header(assertion)  # type: ignore[no-untyped-call]
    return header


def google_signs(credentials: AwsCredentials) -> Mapping[str, Any]:
    """Give the request that Google's own library would have AWS say who we are by, signed now."""
    keys = (credentials.access_key_id, credentials.secret_access_key, credentials.session_token)
    url = "https://sts.us-east-1.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15"
    signer = RequestSigner("us-east-1")  # type: ignore[no-untyped-call]
    signed: Mapping[str, Any] = signer.get_request_options(  # type: ignore[no-untyped-call]
        AwsSecurityCredentials(*keys), url, "POST"
    )
    return signed
