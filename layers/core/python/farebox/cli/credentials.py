"""The credentials file of a data directory, and the lines that point Claude Code at the gateway."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from farebox.domain.errors import ConfigInvalid, Conflict
from farebox.http.admin.issue import KeyAttributes, issue_admin_key, issue_gateway_key
from farebox.http.admin.ports import AdminPorts

CREDENTIALS_FILE = "credentials.json"
ACTOR = "first start"
KEY_NAME = "laptop"
NAMES_TRIED = 100
DEMO_MODEL = "@demo/claude-demo"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the CLI needs to talk to a gateway. `is_new` says that the keys were made just now."""

    base_url: str
    admin_url: str
    admin_key: str
    gateway_key: str
    is_new: bool = False

    def __repr__(self) -> str:
        return f"Credentials({self.base_url})"


async def prepare_credentials(data: Path, base_url: str, admin: AdminPorts) -> Credentials:
    """Give the data directory's credentials, with this address; make keys at the first start.

    Raises `ConfigInvalid` when the file is there and cannot be read.
    """
    path = data / CREDENTIALS_FILE
    known = read_credentials(path)
    if known is None:
        admin_key, gateway_key = await _make_keys(admin)
        known = Credentials(base_url, base_url, admin_key, gateway_key, is_new=True)
    credentials = replace(known, base_url=base_url, admin_url=base_url)
    _write(path, credentials)
    return credentials


def read_credentials(path: Path) -> Credentials | None:
    """Read a credentials file; None when there is none. Raises `ConfigInvalid`."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Credentials)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise ConfigInvalid(
            str(path), f"cannot be read ({error}); move it away to have new keys made"
        ) from None


def shell_lines(credentials: Credentials) -> Iterator[str]:
    """Give the lines to paste, for a stored credential, for the caller's own login, and for the demo
    model.
    """
    key = credentials.gateway_key
    yield ""
    if credentials.is_new:
        yield "Two keys were made for you. They are shown once and kept in credentials.json (mode 600)."
        yield f"  gateway key  {key}"
        yield f"  admin key    {credentials.admin_key}"
    else:
        yield "The keys made at the first start are in credentials.json; `farebox claude` uses them."
        key = "$FAREBOX_KEY"
    common = (
        f"  export ANTHROPIC_BASE_URL={credentials.base_url}",
        "  export CLAUDE_CODE_GATEWAY_HINT_HEADERS=1",
    )
    yield ""
    yield "Claude Code with your own Claude login or key:"
    yield from common
    yield f"  export ANTHROPIC_CUSTOM_HEADERS='x-farebox-key: {key}'"
    yield ""
    yield "Claude Code with a provider credential that farebox keeps (serve --config):"
    yield from common
    yield f"  export ANTHROPIC_AUTH_TOKEN={key}"
    yield ""
    yield f"No credential yet? Add this to the second set: export ANTHROPIC_MODEL={DEMO_MODEL}"
    yield ""


async def _make_keys(admin: AdminPorts) -> tuple[str, str]:
    """Make both keys. Names of an earlier pair, whose file was lost, are taken: count on."""
    for number in range(1, NAMES_TRIED):
        name = KEY_NAME if number == 1 else f"{KEY_NAME}-{number}"
        try:
            issued = await issue_gateway_key(
                KeyAttributes(name), admin.keys, admin.clock, admin.randomness, actor=ACTOR
            )
            _, admin_key = await issue_admin_key(name, admin.keys, admin.clock, admin.randomness, actor=ACTOR)
        except Conflict:
            continue
        return admin_key, issued.secret
    raise Conflict(
        f"{NAMES_TRIED} pairs of keys were made here already; revoke some with `farebox keys revoke`."
    )


def _write(path: Path, credentials: Credentials) -> None:
    """Write the file whole or not at all, readable by its owner only."""
    fields = {
        "base_url": credentials.base_url,
        "admin_url": credentials.admin_url,
        "admin_key": credentials.admin_key,
        "gateway_key": credentials.gateway_key,
    }
    unfinished = path.with_name(f"{path.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(fields)) + b"\n")
    unfinished.replace(path)
