"""The credentials file of a data directory, and what `farebox serve` says about it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from farebox.cli.access.offer import Offer
from farebox.compose.settings import load_settings, process_environment
from farebox.domain.errors import ConfigInvalid, Conflict
from farebox.http.admin.issue import KeyAttributes, issue_admin_key, issue_gateway_key
from farebox.http.admin.ports import AdminPorts

CREDENTIALS_FILE = "credentials.json"
ACTOR = "first start"
KEY_NAME = "laptop"
NAMES_TRIED = 100


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


async def prepare_credentials(
    data: Path, base_url: str, admin: AdminPorts, *, is_live: Callable[[str], bool]
) -> Credentials:
    """Give the data directory's credentials, with this address; make keys at the first start.

    The file stays as it is, and so does its address, while another gateway answers there: `is_live` tells.
    Raises `ConfigInvalid` when the file is there and cannot be read.
    """
    path = data / CREDENTIALS_FILE
    known = read_credentials(path)
    if known is None:
        admin_key, gateway_key = await _make_keys(admin)
        known = Credentials(base_url, base_url, admin_key, gateway_key, is_new=True)
    elif known.base_url != base_url and await asyncio.to_thread(is_live, known.base_url):
        return known
    credentials = replace(known, base_url=base_url, admin_url=base_url)
    write_credentials(path, credentials)
    return credentials


def credentials_path(data: Path | None) -> Path:
    """Say where commands look: in the directory that was named, else in the environment's."""
    return (data or Path(load_settings(process_environment()).data)) / CREDENTIALS_FILE


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


def write_credentials(path: Path, credentials: Credentials) -> None:
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


def greeting_lines(credentials: Credentials, base_url: str, command: str, offer: Offer) -> Iterator[str]:
    """Give what a gateway at `base_url` says at its start: new keys, and the lines to paste that work.

    `command` is `farebox claude` as it is to be called here.
    """
    yield ""
    if credentials.base_url != base_url:
        yield f"Another farebox serves this data at {credentials.base_url}; credentials.json stays with it."
        yield "To reach this one, with the keys of credentials.json:"
        yield f"  export FAREBOX_URL={base_url} FAREBOX_ADMIN_KEY=fba-... FAREBOX_GATEWAY_KEY=fb-..."
        yield ""
        return
    if credentials.is_new:
        yield "Two keys were made for you. They are shown once and kept in credentials.json (mode 600)."
        yield f"  gateway key  {credentials.gateway_key}"
        yield f"  admin key    {credentials.admin_key}"
    else:
        yield "The keys made at the first start are in credentials.json; `farebox claude` uses them."
    yield ""
    yield "For Claude Code, paste a line into another terminal in this folder, then run `claude`:"
    yield from _sets(command, offer)
    yield ""
    if credentials.is_new:
        yield from _variables(base_url, credentials.gateway_key)
        yield ""


def _variables(base_url: str, gateway_key: str) -> Iterator[str]:
    """Give Claude Code's own variables, for those who set them elsewhere: a profile or settings.json."""
    common = (f"  export ANTHROPIC_BASE_URL={base_url}", "  export CLAUDE_CODE_GATEWAY_HINT_HEADERS=1")
    yield "Or set the variables yourself. With your own Claude login or key:"
    yield from common
    yield f"  export ANTHROPIC_CUSTOM_HEADERS='x-farebox-key: {gateway_key}'"
    yield "With a credential that farebox keeps (or on the demo model: ANTHROPIC_MODEL=@demo/claude-demo):"
    yield from common
    yield f"  export ANTHROPIC_AUTH_TOKEN={gateway_key}"


def _sets(command: str, offer: Offer) -> Iterator[str]:
    if offer.of_callers:
        yield "with your own Claude login or key:"
        yield f'  eval "$({command} --own-login --print-env)"'
    if offer.of_farebox:
        yield f"with the credential that farebox keeps for {', '.join(offer.of_farebox)}:"
        yield f'  eval "$({command} --stored --print-env)"'
    if offer.demos:
        yield "on the built-in demo model, without login or cost:"
        yield f'  eval "$({command} --demo --print-env)"'
    if offer == Offer():
        yield "  no provider is served by this version; name one in the policy file"


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
