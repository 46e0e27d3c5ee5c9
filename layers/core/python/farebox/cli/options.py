"""Options that many commands share, and how the help names what stands behind each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        file_okay=False,
        help="Data directory whose credentials.json is used; else FAREBOX_URL and FAREBOX_ADMIN_KEY.",
    ),
]
Wide = Annotated[
    bool, typer.Option("--wide", help="Burn rate, forecast, overrun and raises too; wants 160 columns.")
]

_WORDS: Mapping[str, str] = {
    "<bool>": "",
    "<str>": "TEXT",
    "<int>": "INTEGER",
    "<int range>": "INTEGER",
    "<file>": "FILE",
    "<dir>": "DIR",
    "<path>": "PATH",
}


def name_values(command: TyperCommand | TyperGroup) -> None:
    """Name the values of a command's options, and of its subcommands', where nothing else names them."""
    context = typer.Context(command)
    for parameter in command.get_params(context):
        if parameter.metavar is None and isinstance(parameter, TyperOption):
            parameter.metavar = _WORDS.get(parameter.display_type(context))
        elif parameter.metavar is None:
            parameter.metavar = str(parameter.name).upper()
    if isinstance(command, TyperGroup):
        for inner in command.commands.values():
            if isinstance(inner, TyperCommand | TyperGroup):
                name_values(inner)
