"""Credentials of a role in whatever account, from AWS STS.

Source: AWS STS API reference, AssumeRole, read 2026-11. STS answers in XML alone.
"""

from __future__ import annotations

import re
from datetime import datetime
from urllib.parse import urlencode

from msgspec import Struct

from farebox.adapters.aws.dynamodb.credentials import CredentialSource
from farebox.domain.errors import StoreFault, UpstreamFault
from farebox.ports import Clock
from farebox.wire.http import HttpRequest, Origin, Timeouts, Transport, is_success, read_whole
from farebox.wire.sigv4 import AwsCredentials, Signer

SESSION_S = 3_600
_TIMEOUTS = Timeouts(connect_ms=2_000, first_byte_ms=5_000, idle_ms=5_000, total_ms=8_000)
_UNFIT = re.compile(r"[^\w+=,.@-]")


class Role(Struct, frozen=True):
    """A role to assume. `external_id` is what its owner gave us to say, against confused deputies."""

    arn: str
    external_id: str | None
    session_name: str


async def assume_role(
    role: Role, source: CredentialSource, *, transport: Transport, origin: Origin, region: str, clock: Clock
) -> AwsCredentials:
    """Give an hour of a role's credentials. Raises `StoreFault` naming STS's own code."""
    fields = {
        "Action": "AssumeRole",
        "Version": "2011-06-15",
        "RoleArn": role.arn,
        "RoleSessionName": _UNFIT.sub("-", role.session_name)[:64],
        "DurationSeconds": str(SESSION_S),
    }
    if role.external_id is not None:
        fields["ExternalId"] = role.external_id
    try:
        form = urlencode(fields).encode()
        text = await _ask(form, await source.current(), transport, origin, region, clock)
    except UpstreamFault as fault:
        raise StoreFault(f"STS does not give the role: {fault}") from fault
    names = ("AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration")
    found = [_element(text, name) for name in names]
    if not all(found):
        code = _element(text, "Code") or "an answer without credentials"
        raise StoreFault(f"STS does not give the role: {code}")
    key, secret, token, expiration = found
    return AwsCredentials(key, secret, token, datetime.fromisoformat(expiration))


async def _ask(
    body: bytes,
    credentials: AwsCredentials,
    transport: Transport,
    origin: Origin,
    region: str,
    clock: Clock,
) -> str:
    form = [(b"content-type", b"application/x-www-form-urlencoded; charset=utf-8")]
    request = HttpRequest(b"POST", origin, b"/", form, body)
    headers = Signer(region, "sts").sign(request, credentials, clock.now())
    answer = await transport.send(HttpRequest(b"POST", origin, b"/", headers, body), _TIMEOUTS)
    text = (await read_whole(answer, "STS")).decode("utf-8", "replace")
    is_told = is_success(answer.status) or _element(text, "Code")
    return text if is_told else f"<Code>HTTP {answer.status}</Code>"


def _element(text: str, name: str) -> str:
    """Give an element's text. What is asked for here never holds markup or entities."""
    found = re.search(rf"<{name}>\s*([^<&]*?)\s*</{name}>", text)
    return found[1] if found else ""
