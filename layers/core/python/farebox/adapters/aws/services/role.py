"""Credentials of the function's role, wherever the environment says they are."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from urllib.parse import urlsplit

from farebox.adapters.aws.dynamodb.credentials import (
    CredentialSource,
    RenewedCredentials,
    StaticCredentials,
    container_credentials,
)
from farebox.domain.errors import ConfigInvalid
from farebox.ports import Clock
from farebox.wire.http import Transport, origin_of
from farebox.wire.sigv4 import AwsCredentials


def role_credentials(environment: Mapping[str, str], transport: Transport, clock: Clock) -> CredentialSource:
    """Give the source of credentials that the environment names.

    Lambda gives a function its role's keys at the start, for longer than an environment lives; with SnapStart
    and in containers it names an endpoint that gives them. Raises `ConfigInvalid` where there is neither.
    Source: AWS SDK and tools reference, "Container credential provider", read 2026-11.
    """
    endpoint = environment.get("AWS_CONTAINER_CREDENTIALS_FULL_URI")
    if endpoint:
        try:
            origin = origin_of(endpoint)
        except ValueError:
            raise ConfigInvalid("AWS_CONTAINER_CREDENTIALS_FULL_URI", "is not an http or https URL") from None
        parts = urlsplit(endpoint)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        token = environment.get("AWS_CONTAINER_AUTHORIZATION_TOKEN", "")
        return RenewedCredentials(partial(container_credentials, transport, origin, target, token), clock)
    key, secret = environment.get("AWS_ACCESS_KEY_ID"), environment.get("AWS_SECRET_ACCESS_KEY")
    if not key or not secret:
        raise ConfigInvalid("AWS_ACCESS_KEY_ID", "is not set: there are no credentials to sign with")
    return StaticCredentials(AwsCredentials(key, secret, environment.get("AWS_SESSION_TOKEN") or None))
