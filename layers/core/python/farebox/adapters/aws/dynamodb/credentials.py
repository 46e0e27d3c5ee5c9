"""Where the credentials that sign come from, renewed before they run out."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

import msgspec

from farebox.adapters.renewed import Renewed
from farebox.domain.errors import StoreFault, UpstreamFault
from farebox.wire.http import JSON_FAULTS, HttpRequest, Origin, Timeouts, Transport, read_whole
from farebox.wire.sigv4 import AwsCredentials

_TIMEOUTS = Timeouts(connect_ms=1_000, first_byte_ms=2_000, idle_ms=2_000, total_ms=3_000)


class CredentialSource(Protocol):
    """Gives credentials that are good now."""

    async def current(self) -> AwsCredentials:
        """Give them; cheap to call for each request. Raises `StoreFault`."""

    def distrust(self, credentials: AwsCredentials) -> None:
        """Say that the service refused these: the next ones must be others, if there are any."""


class StaticCredentials:
    """The ones a process was started with."""

    def __init__(self, credentials: AwsCredentials) -> None:
        self._credentials = credentials

    async def current(self) -> AwsCredentials:
        return self._credentials

    def distrust(self, credentials: AwsCredentials) -> None:
        """There are no others."""


RenewedCredentials = Renewed[AwsCredentials]
"""Those that are fetched, when first needed and again before they expire."""


class _Document(msgspec.Struct, rename="pascal"):
    access_key_id: str
    secret_access_key: str
    token: str
    expiration: datetime


_document = msgspec.json.Decoder(_Document).decode


async def container_credentials(
    transport: Transport, origin: Origin, target: str, authorization: str
) -> AwsCredentials:
    """Ask the endpoint that AWS_CONTAINER_CREDENTIALS_FULL_URI names (SnapStart, containers).

    Raises `StoreFault`. Source: AWS SDK reference, container credential provider, read 2026-11.
    """
    request = HttpRequest(b"GET", origin, target.encode(), [(b"authorization", authorization.encode())])
    try:
        answer = await transport.send(request, _TIMEOUTS)
        body = await read_whole(answer, "the credential endpoint")
        if answer.status != 200:
            raise StoreFault(f"the credential endpoint answered {answer.status}")
        found = _document(body)
    except (UpstreamFault, *JSON_FAULTS) as fault:
        raise StoreFault(f"the credential endpoint gave no credentials: {fault}") from fault
    return AwsCredentials(found.access_key_id, found.secret_access_key, found.token, found.expiration)
