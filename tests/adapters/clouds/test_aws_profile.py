"""Whose AWS credentials a laptop uses: the environment's, else those of the profile."""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from farebox.adapters.clouds.aws_profile import own_credentials
from farebox.domain.errors import StoreFault
from farebox.wire.sigv4 import AwsCredentials
from tests.gateway.peers import ScriptedTransport
from tests.support.builders import FixedClock


def a_home(folder: Path, *, config: str = "", credentials: str = "") -> dict[str, str]:
    """Write the two files of an AWS home, and give an environment that knows nothing but it."""
    (folder / ".aws").mkdir()
    (folder / ".aws" / "config").write_text(config)
    (folder / ".aws" / "credentials").write_text(credentials)
    return {"HOME": str(folder)}


async def found(environment: dict[str, str]) -> AwsCredentials | None:
    source = own_credentials(environment, ScriptedTransport(), FixedClock())
    return None if source is None else await source.current()


def printing(folder: Path, document: object, *, status: int = 0) -> str:
    """Write a profile whose process prints a document and ends with a status."""
    script = folder / "print.py"
    script.write_text(f"import sys\nprint({json.dumps(document)!r})\nsys.exit({status})\n")
    return f"[default]\ncredential_process = {sys.executable} {script}\n"


async def test_the_environment_comes_before_any_profile(tmp_path: Path) -> None:
    environment = a_home(tmp_path, credentials="[default]\naws_access_key_id=A\naws_secret_access_key=s\n")
    keys = {"AWS_ACCESS_KEY_ID": "AKIDENV", "AWS_SECRET_ACCESS_KEY": "secret"}
    assert await found({**environment, **keys}) == AwsCredentials("AKIDENV", "secret")


async def test_the_profile_that_is_named_is_read_from_both_files(tmp_path: Path) -> None:
    environment = a_home(
        tmp_path,
        config="[profile work]\naws_access_key_id=OLD\nregion=eu-central-1\n",
        credentials="[default]\naws_access_key_id=A\naws_secret_access_key=a\n"
        "[work]\naws_access_key_id=AKIDWORK\naws_secret_access_key=w%/+\naws_session_token=t\n",
    )
    assert await found(environment) == AwsCredentials("A", "a")
    work = AwsCredentials("AKIDWORK", "w%/+", "t")
    assert await found({**environment, "AWS_PROFILE": "work"}) == work


async def test_a_profile_may_ask_a_process(tmp_path: Path) -> None:
    printed = {
        "Version": 1,
        "AccessKeyId": "ASIAPROCESS",
        "SecretAccessKey": "p",
        "SessionToken": "t",
        "Expiration": (FixedClock().now() + timedelta(hours=1)).isoformat(),
    }
    credentials = await found(a_home(tmp_path, config=printing(tmp_path, printed)))
    assert credentials is not None
    assert (credentials.access_key_id, credentials.session_token) == ("ASIAPROCESS", "t")
    assert credentials.expires_at == FixedClock().now() + timedelta(hours=1)


@pytest.mark.parametrize(
    ("document", "status", "told"), [({"AccessKeyId": "A"}, 0, "printed no credentials"), ({}, 3, "failed")]
)
async def test_a_process_that_gives_none_is_a_fault(
    tmp_path: Path, document: object, status: int, told: str
) -> None:
    with pytest.raises(StoreFault, match=told):
        await found(a_home(tmp_path, config=printing(tmp_path, document, status=status)))


async def test_a_process_that_is_not_there_is_a_fault(tmp_path: Path) -> None:
    config = f"[default]\ncredential_process = {tmp_path}/nothing-here\n"
    with pytest.raises(StoreFault, match="cannot be started"):
        await found(a_home(tmp_path, config=config))


@pytest.mark.parametrize("config", ["", "[default]\nregion=eu-central-1\n", "not an ini file"])
async def test_whoever_has_no_profile_has_no_credentials(tmp_path: Path, config: str) -> None:
    assert await found(a_home(tmp_path, config=config)) is None
