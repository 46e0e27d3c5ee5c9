"""`farebox claude`: starts Claude Code with the environment that leads it through the gateway.

Sources: code.claude.com/docs/en/llm-gateway and what Claude Code 2.1.330 was measured to send.
"""

from __future__ import annotations

import os
import shlex
import shutil
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from farebox.cli.access.credentials import CREDENTIALS_FILE, Credentials, read_credentials
from farebox.cli.access.offer import DEMO_NAME, Offer, offer_of
from farebox.cli.admin.client import GatewayRefused, GatewayUnreachable, connect
from farebox.cli.options import Data
from farebox.compose.settings import Settings, load_settings, process_environment
from farebox.domain.errors import ConfigInvalid, FareboxError
from farebox.domain.identity import GATEWAY_KEY_PREFIX, is_key_text

KEY_HEADER = "x-farebox-key"
LOCAL_CLAUDE = Path("node_modules/.bin/claude")
PROBE_S = 3.0
# Each makes Claude Code ignore ANTHROPIC_BASE_URL and go around the gateway.
OTHER_ROUTES = (
    "CLAUDE_CODE_USE_ANTHROPIC_AWS",
    "CLAUDE_CODE_USE_ANTHROPIC_GOOGLE_CLOUD",
    "CLAUDE_CODE_USE_BEDROCK",
    "CLAUDE_CODE_USE_FOUNDRY",
    "CLAUDE_CODE_USE_GATEWAY",
    "CLAUDE_CODE_USE_MANTLE",
    "CLAUDE_CODE_USE_VERTEX",
)
# Headers in which a gateway key is looked for before the two that Claude Code sends by itself.
KEY_HEADERS = (KEY_HEADER, "x-portkey-api-key")

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class ClaudeMissing(FareboxError):
    """Claude Code is not installed where we look."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What the environment of Claude Code needs: variables to set and variables to take away."""

    set: Mapping[str, str]
    unset: Sequence[str] = ()

    def __repr__(self) -> str:
        return f"Changes(set={sorted(self.set)}, unset={sorted(self.unset)})"

    def over(self, environment: Mapping[str, str]) -> dict[str, str]:
        """Give the environment with the changes made."""
        kept = {name: value for name, value in environment.items() if name not in self.unset}
        return {**kept, **self.set}

    def shell_lines(self) -> list[str]:
        """Write them for a POSIX shell."""
        unset = [f"unset {name}" for name in self.unset]
        return unset + [f"export {name}={shlex.quote(value)}" for name, value in self.set.items()]


def claude_command(
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="ARGS", help="What Claude Code gets, after `--`.")
    ] = None,
    own_login: Annotated[
        bool | None,
        typer.Option(
            "--own-login/--stored",
            help="Pay with your own Claude login or key, or with a credential that farebox keeps; "
            "else as the gateway's providers are set up.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Model to start with, such as claude-opus-5-5 or @slug/model.")
    ] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Use the built-in demo model; costs nothing.")] = False,
    print_env: Annotated[
        bool, typer.Option("--print-env", help="Print the lines for a shell instead of starting.")
    ] = False,
    key_file: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="File with the gateway key; else FAREBOX_GATEWAY_KEY."
        ),
    ] = None,
    data: Data = None,
) -> None:
    """Run Claude Code through the gateway that FAREBOX_URL names, or that of this directory."""
    _check_flags(arguments, own_login, model, demo=demo, print_env=print_env)
    environment = process_environment()
    credentials = find_credentials(load_settings(environment), data, key_file)
    program = "" if print_env else find_claude(environment.get("PATH", ""), Path.cwd())
    if not print_env:
        _probe(credentials.base_url)
    if demo:
        own_login, model = False, _demo_model(data)
    if own_login is None:
        own_login, why = choose_login(data)
        typer.echo(f"farebox: {why}", err=True)
    changes = environment_changes(environment, credentials, own_login=own_login, model=model)
    if print_env:
        for line in changes.shell_lines():
            typer.echo(line)
        return
    os.execve(program, [program, *(arguments or ())], changes.over(environment))


def find_credentials(settings: Settings, data: Path | None, key_file: Path | None = None) -> Credentials:
    """Find where the gateway is, and the gateway key to it.

    Raises `GatewayUnreachable` when nothing says, `ConfigInvalid` when the file holds no key.
    """
    key = settings.gateway_key if data is None else None
    if key_file is not None:
        key = _read_key(key_file)
    if data is None and settings.url and key:
        return Credentials(settings.url, settings.url, "", key)
    path = (data or Path(settings.data)) / CREDENTIALS_FILE
    credentials = read_credentials(path)
    if credentials is None:
        raise GatewayUnreachable(
            f"There is no {path}: start `farebox serve` here, name its directory with --data, "
            "or set FAREBOX_URL and FAREBOX_GATEWAY_KEY."
        )
    if data is None and settings.url and settings.url != credentials.admin_url.rstrip("/"):
        raise GatewayUnreachable(
            f"FAREBOX_URL is {settings.url}, but the gateway key in {path} is for {credentials.base_url}. "
            "Set FAREBOX_GATEWAY_KEY to the key for it, or unset FAREBOX_URL."
        )
    return replace(credentials, gateway_key=key or credentials.gateway_key)


def choose_login(data: Path | None) -> tuple[bool, str]:
    """Say whether the caller's own login is what the gateway's providers are paid with, and why."""
    try:
        offer = ask_offer(data)
    except (GatewayRefused, GatewayUnreachable) as error:
        why = "taking it that the gateway keeps a credential; --own-login uses your own"
        return False, f"{why}. Its providers are not known here: {error}"
    if offer.wants_own_login:
        slugs = ", ".join(offer.of_callers)
        return True, f"using your own Claude login or key, which {slugs} takes; farebox keeps no credential"
    if offer.of_farebox:
        slugs = ", ".join(offer.of_farebox)
        return False, f"using the credential that farebox keeps for {slugs}; --own-login uses your own"
    return False, "the gateway has no provider but the demo model; --demo uses it"


def ask_offer(data: Path | None) -> Offer:
    """Ask the admin plane which providers there are. Raises `GatewayRefused` and `GatewayUnreachable`."""
    rows = connect(data).get("providers")["rows"]
    return offer_of((row["slug"], row["type"], row["credential"]) for row in rows)


def environment_changes(
    environment: Mapping[str, str], credentials: Credentials, *, own_login: bool, model: str | None
) -> Changes:
    """Decide what Claude Code's environment needs, given the one there is.

    The caller's ANTHROPIC_API_KEY stays: it is what a provider with a `caller` credential is paid with.
    """
    headers = _other_headers(environment.get("ANTHROPIC_CUSTOM_HEADERS", ""))
    changed = {"ANTHROPIC_BASE_URL": credentials.base_url}
    unset = [name for name in OTHER_ROUTES if name in environment]
    if model is None and environment.get("ANTHROPIC_MODEL", "").endswith(f"/{DEMO_NAME}"):
        unset.append("ANTHROPIC_MODEL")  # the lines for --demo were here before
    if own_login:
        headers.append(f"{KEY_HEADER}: {credentials.gateway_key}")
        if environment.get("ANTHROPIC_AUTH_TOKEN", "").startswith(GATEWAY_KEY_PREFIX):
            unset.append("ANTHROPIC_AUTH_TOKEN")  # it would stand in the place of the login
    else:
        changed["ANTHROPIC_AUTH_TOKEN"] = credentials.gateway_key
    if headers:
        changed["ANTHROPIC_CUSTOM_HEADERS"] = "\n".join(headers)
    elif "ANTHROPIC_CUSTOM_HEADERS" in environment:
        unset.append("ANTHROPIC_CUSTOM_HEADERS")
    changed["CLAUDE_CODE_GATEWAY_HINT_HEADERS"] = "1"
    if model is not None:
        changed["ANTHROPIC_MODEL"] = model
    return Changes(changed, tuple(unset))


def find_claude(search_path: str, folder: Path) -> str:
    """Find the program: on the PATH, else in the folder's node_modules. Raises `ClaudeMissing`."""
    found = shutil.which("claude", path=search_path)
    if found is not None:
        return found
    local = folder / LOCAL_CLAUDE
    if os.access(local, os.X_OK):
        return str(local)
    raise ClaudeMissing(
        "Claude Code is not on the PATH. Install it with `npm install -g @anthropic-ai/claude-code`."
    )


def header_names(lines: str) -> list[str]:
    """Give the names in a value of ANTHROPIC_CUSTOM_HEADERS, in lower case."""
    return [line.partition(":")[0].strip().lower() for line in lines.splitlines() if line.strip()]


def _check_flags(
    arguments: Sequence[str] | None,
    own_login: bool | None,
    model: str | None,
    *,
    demo: bool,
    print_env: bool,
) -> None:
    if demo and model is not None:
        raise typer.BadParameter("choose one of --demo and --model")
    if demo and own_login is not None:
        raise typer.BadParameter("--demo goes without --own-login and --stored: it needs no credential")
    if print_env and arguments:
        raise typer.BadParameter("--print-env starts nothing, so it takes no arguments for Claude Code")


def _demo_model(data: Path | None) -> str:
    """Name the demo model as this gateway does; where nobody tells, as a gateway does by itself."""
    try:
        found = ask_offer(data).demo_model
    except (GatewayRefused, GatewayUnreachable):
        return f"@demo/{DEMO_NAME}"
    if found is None:
        raise ConfigInvalid(
            "", "this gateway has no demo model: add {slug: demo, type: demo} to the providers of its file"
        )
    return found


def _read_key(file: Path) -> str:
    key = file.read_text(encoding="utf-8", errors="replace").strip()
    if not is_key_text(key):
        raise ConfigInvalid(str(file), "holds no gateway key (fb-...), or more than one")
    return key


def _other_headers(lines: str) -> list[str]:
    """Keep the headers that somebody set for other reasons: a gateway key among them may be another one's."""
    return [line for line in lines.splitlines() if line.strip() and header_names(line)[0] not in KEY_HEADERS]


def _probe(base_url: str) -> None:
    """Say at once that nobody listens; Claude Code would try for three minutes first."""
    parts = urlsplit(base_url)
    if parts.hostname not in _LOOPBACK:
        return
    try:
        socket.create_connection((parts.hostname, parts.port or 80), timeout=PROBE_S).close()
    except OSError:
        raise GatewayUnreachable(f"No gateway answers at {base_url}. Is `farebox serve` running?") from None
