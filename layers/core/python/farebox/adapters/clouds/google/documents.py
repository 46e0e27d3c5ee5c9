"""The credentials that Google writes as JSON files, read for what we need of them and held to Google's hosts.

Source: AIP-4110 to AIP-4117, google.aip.dev/auth. Read 2026-11.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec
from msgspec import Struct

from farebox.domain.config import GOOGLE_ACCOUNT, GOOGLE_AUDIENCE
from farebox.domain.errors import ConfigInvalid

# A file's own `token_uri` could have the assertion sent anywhere. We ask one place, and these are its names.
GOOGLE_TOKEN_URIS = frozenset(
    {
        "https://oauth2.googleapis.com/token",
        "https://accounts.google.com/o/oauth2/token",
        "https://www.googleapis.com/oauth2/v4/token",
    }
)
AWS_SUBJECT_TOKEN = "urn:ietf:params:aws:token-type:aws4_request"

_IMPERSONATION = re.compile(
    r"https://iamcredentials\.googleapis\.com/v1/projects/-/serviceAccounts/(?P<account>[^/:]+):generateAccessToken"
)
_object = msgspec.json.Decoder(dict[str, object]).decode


@dataclass(frozen=True, slots=True)
class ServiceAccountKey:
    """A key of a service account: whoever has it is the account, until somebody revokes it."""

    email: str
    key_id: str
    private_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Login:
    """What `gcloud auth application-default login` leaves behind."""

    client_id: str
    client_secret: str = field(repr=False)
    refresh_token: str = field(repr=False)


class Federation(Struct, frozen=True):
    """A workload identity provider that admits AWS, and the account to act as, if it says one."""

    audience: str
    account: str | None = None


Document = ServiceAccountKey | Login | Federation


def read_document(reference: str, text: str) -> Document:
    """Read a credential. Raises `ConfigInvalid` naming the reference and what is wrong, never a value."""
    try:
        document = _object(text)
    except (msgspec.MsgspecError, RecursionError):
        # Not chained: the decoder's error may quote the secret.
        raise ConfigInvalid(reference, "the credential is not a JSON object") from None
    if document.get("universe_domain", "googleapis.com") != "googleapis.com":
        raise ConfigInvalid(reference, "universe_domain is not googleapis.com, the only one that is served")
    match document.get("type"):
        case "service_account":
            return _service_account(reference, document)
        case "authorized_user":
            names = ("client_id", "client_secret", "refresh_token")
            return Login(*(_text(reference, document, name) for name in names))
        case "external_account":
            return _federation(reference, document)
    raise ConfigInvalid(
        reference, "the JSON has no type that is served: service_account, authorized_user or external_account"
    )


def _service_account(reference: str, document: Mapping[str, object]) -> ServiceAccountKey:
    if document.get("token_uri", "https://oauth2.googleapis.com/token") not in GOOGLE_TOKEN_URIS:
        raise ConfigInvalid(reference, "token_uri is not Google's, and nothing is sent anywhere else")
    email = _text(reference, document, "client_email")
    key_id = document.get("private_key_id")
    private_key = _text(reference, document, "private_key")
    return ServiceAccountKey(email, key_id if isinstance(key_id, str) else "", private_key)


def _federation(reference: str, document: Mapping[str, object]) -> Federation:
    """Of where it would be asked and what would be asked for credentials we take nothing: we know both."""
    if document.get("subject_token_type") != AWS_SUBJECT_TOKEN:
        raise ConfigInvalid(reference, "the external account is not one of AWS, the only kind that is served")
    audience = _text(reference, document, "audience")
    if not re.fullmatch(GOOGLE_AUDIENCE[0], audience):
        raise ConfigInvalid(reference, f"audience must be {GOOGLE_AUDIENCE[1]}")
    url = document.get("service_account_impersonation_url")
    if url is None:
        return Federation(audience)
    found = _IMPERSONATION.fullmatch(url) if isinstance(url, str) else None
    if found is None or not re.fullmatch(GOOGLE_ACCOUNT[0], found["account"]):
        raise ConfigInvalid(reference, "service_account_impersonation_url is not Google's")
    return Federation(audience, found["account"])


def _text(reference: str, document: Mapping[str, object], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str) or not value:
        raise ConfigInvalid(reference, f"the JSON has no {name}")
    return value
