"""`farebox serve`: its options. What it does is in `cli/serve.py`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from farebox.cli.access.program import program_line
from farebox.cli.serve import serve as serve_gateway
from farebox.compose.settings import Settings, load_settings, process_environment


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0 takes any free port.")] = 8787,
    data: Annotated[
        Path | None, typer.Option(file_okay=False, help="Data directory; else FAREBOX_DATA, else .farebox.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, readable=True, help="Policy file, applied at each start."),
    ] = None,
) -> None:
    """Run the gateway on this machine."""
    environment = process_environment()
    settings = load_settings(environment)
    directory = data or Path(settings.data)
    program = program_line(sys.argv[0], sys.executable, Path.cwd(), environment.get("PATH", ""))
    serve_gateway(
        settings,
        host=host,
        port=port,
        data=directory,
        config=config,
        environment=environment,
        claude=f"{program} claude{_named(directory)}",
    )


def _named(directory: Path) -> str:
    """Name a data directory for commands, unless they find it by themselves."""
    return "" if directory == Path(Settings().data) else f" --data {shlex.quote(str(directory))}"
