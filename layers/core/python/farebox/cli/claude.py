"""`farebox claude`: starts Claude Code with the environment that leads it through the gateway.

Sources: code.claude.com/docs/en/llm-gateway and what Claude Code 2.1.330 was measured to send.
"""

from __future__ import annotations

import os
import shlex
import shutil
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from farebox.cli.admin.client import GatewayUnreachable
from farebox.cli.credentials import CREDENTIALS_FILE, DEMO_MODEL, Credentials, read_credentials
from farebox.cli.options import Data
from farebox.compose.settings import Settings, load_settings, process_environment
from farebox.domain.errors import FareboxError
from farebox.domain.identity import GATEWAY_KEY_PREFIX

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
        list[str] | None, typer.Argument(metavar="[-- ARGS]...", help="What Claude Code gets, after `--`.")
    ] = None,
    own_login: Annotated[
        bool, typer.Option("--own-login", help="Use your own Claude login or key for the provider.")
    ] = False,
    model: Annotated[
        str | None, typer.Option(help="Model to start with, such as claude-opus-5-5 or @slug/model.")
    ] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Use the built-in demo model; costs nothing.")] = False,
    print_env: Annotated[
        bool, typer.Option("--print-env", help="Print the lines for a shell instead of starting.")
    ] = False,
    data: Data = None,
) -> None:
    """Run Claude Code through the gateway of this directory."""
    if demo and model is not None:
        raise typer.BadParameter("choose one of --demo and --model")
    environment = process_environment()
    credentials = find_credentials(load_settings(environment), data)
    changes = environment_changes(
        environment, credentials, own_login=own_login, model=DEMO_MODEL if demo else model
    )
    if print_env:
        for line in changes.shell_lines():
            typer.echo(line)
        return
    program = find_claude(environment.get("PATH", ""), Path.cwd())
    _probe(credentials.base_url)
    os.execve(program, [program, *(arguments or ())], changes.over(environment))


def find_credentials(settings: Settings, data: Path | None) -> Credentials:
    """Read where the gateway is and the gateway key to it. Raises `GatewayUnreachable` when nothing says."""
    path = (data or Path(settings.data)) / CREDENTIALS_FILE
    credentials = read_credentials(path)
    if credentials is None:
        raise GatewayUnreachable(
            f"There is no {path}: start `farebox serve` here, or name its directory with --data."
        )
    if data is None and settings.url and settings.url != credentials.admin_url.rstrip("/"):
        raise GatewayUnreachable(
            f"FAREBOX_URL is {settings.url}, but the gateway key in {path} is for {credentials.base_url}. "
            "Unset it, or name a directory with --data."
        )
    return credentials


def environment_changes(
    environment: Mapping[str, str], credentials: Credentials, *, own_login: bool, model: str | None
) -> Changes:
    """Decide what Claude Code's environment needs, given the one there is.

    The caller's ANTHROPIC_API_KEY stays: it is what a provider with a `caller` credential is paid with.
    """
    headers = _other_headers(environment.get("ANTHROPIC_CUSTOM_HEADERS", ""))
    changed = {"ANTHROPIC_BASE_URL": credentials.base_url}
    unset = [name for name in OTHER_ROUTES if name in environment]
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
