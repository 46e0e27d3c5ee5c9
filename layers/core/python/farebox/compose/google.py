"""Wires what makes Google's tokens. What signs is loaded when the first key is there to sign with."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping

from farebox.adapters.aws.dynamodb.credentials import CredentialSource
from farebox.adapters.clouds.google.credentials import GoogleCredentials, GoogleIdentity
from farebox.adapters.clouds.google.grants import Sign
from farebox.adapters.clouds.google.services import TokenServices
from farebox.ports import Clock
from farebox.wire.http import Transport

SIGNING_MODULE = "farebox.adapters.clouds.google.rs256"
DEFAULT_AWS_REGION = "us-east-1"


def google_credentials(
    environment: Mapping[str, str],
    own: CredentialSource | None,
    transport: Transport,
    clock: Clock,
    *,
    endpoint: str | None = None,
    read_login: Callable[[], str | None] = lambda: None,
) -> GoogleCredentials:
    """Wire it. `own` are the process's AWS credentials, `endpoint` is where Google is reached if not at its
    own hosts, `read_login` finds the login of whoever runs the process.
    """
    region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or DEFAULT_AWS_REGION
    identity = GoogleIdentity(own, region, read_login)
    return GoogleCredentials(TokenServices(transport, clock, endpoint), identity, load_sign)


def load_sign() -> Sign:
    """Load what signs by RS256, which only keys of service accounts need: it would take 0.1 s and 15 MB of
    each cold start.
    """
    sign: Sign = importlib.import_module(SIGNING_MODULE).sign
    return sign
