"""The AWS credentials of whoever runs a gateway on a laptop: from the environment, else from their profile.

Source: AWS SDKs and tools reference, "Shared config and credentials files", read 2026-11.
"""

from __future__ import annotations

import asyncio
import configparser
import shlex
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from pathlib import Path

import msgspec

from farebox.adapters.aws.dynamodb.credentials import CredentialSource, RenewedCredentials, StaticCredentials
from farebox.adapters.aws.services.role import role_credentials
from farebox.domain.errors import ConfigInvalid, StoreFault
from farebox.ports import Clock
from farebox.wire.http import Transport
from farebox.wire.sigv4 import AwsCredentials

PROCESS_WITHIN_S = 30


class _Printed(msgspec.Struct, rename="pascal"):
    """What a `credential_process` prints."""

    access_key_id: str
    secret_access_key: str
    session_token: str | None = None
    expiration: datetime | None = None


_printed = msgspec.json.Decoder(_Printed).decode


def own_credentials(
    environment: Mapping[str, str], transport: Transport, clock: Clock
) -> CredentialSource | None:
    """Give the source of AWS credentials that environment and profile name; None where there is none.

    `aws configure export-credentials` as `credential_process` makes a profile of any kind work, SSO included.
    """
    try:
        return role_credentials(environment, transport, clock)
    except ConfigInvalid:
        profile = _profile(environment)
    if "aws_access_key_id" in profile and "aws_secret_access_key" in profile:
        token = profile.get("aws_session_token") or None
        return StaticCredentials(
            AwsCredentials(profile["aws_access_key_id"], profile["aws_secret_access_key"], token)
        )
    command = profile.get("credential_process")
    return RenewedCredentials(partial(_from_process, command), clock) if command else None


def _profile(environment: Mapping[str, str]) -> Mapping[str, str]:
    """Read a profile from both files; the credentials file says more."""
    name = environment.get("AWS_PROFILE") or environment.get("AWS_DEFAULT_PROFILE") or "default"
    home = Path(environment.get("HOME") or "~").expanduser() / ".aws"
    config = _section(
        Path(environment.get("AWS_CONFIG_FILE") or home / "config"),
        name if name == "default" else f"profile {name}",
    )
    credentials = _section(Path(environment.get("AWS_SHARED_CREDENTIALS_FILE") or home / "credentials"), name)
    return {**config, **credentials}


def _section(file: Path, name: str) -> Mapping[str, str]:
    parser = configparser.RawConfigParser()
    try:
        parser.read(file.expanduser(), encoding="utf-8")
    except (OSError, UnicodeDecodeError, configparser.Error):
        return {}
    return dict(parser[name]) if parser.has_section(name) else {}


async def _from_process(command: str) -> AwsCredentials:
    try:
        process = await asyncio.create_subprocess_exec(
            *shlex.split(command), stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
        )
    except (OSError, ValueError) as flaw:
        raise StoreFault("the credential_process of the AWS profile cannot be started") from flaw
    try:
        async with asyncio.timeout(PROCESS_WITHIN_S):
            printed, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        raise StoreFault("the credential_process of the AWS profile does not end") from None
    if process.returncode != 0:
        raise StoreFault(f"the credential_process of the AWS profile failed ({process.returncode})")
    try:
        found = _printed(printed)
    except msgspec.MsgspecError:
        raise StoreFault("the credential_process of the AWS profile printed no credentials") from None
    return AwsCredentials(found.access_key_id, found.secret_access_key, found.session_token, found.expiration)
