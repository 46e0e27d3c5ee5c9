"""What stands behind an option in the help: one word in capitals, and nothing behind a flag."""

from __future__ import annotations

from collections.abc import Mapping

from typer import Context
from typer.core import TyperCommand, TyperGroup, TyperOption

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
    context = Context(command)
    for parameter in command.get_params(context):
        if parameter.metavar is None and isinstance(parameter, TyperOption):
            parameter.metavar = _WORDS.get(parameter.display_type(context))
        elif parameter.metavar is None:
            parameter.metavar = str(parameter.name).upper()
    if isinstance(command, TyperGroup):
        for inner in command.commands.values():
            if isinstance(inner, TyperCommand | TyperGroup):
                name_values(inner)
