"""`farebox backup` and `farebox restore`: the store of a data directory as one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from farebox.cli.options import AsJson
from farebox.cli.tables import print_json, say
from farebox.compose.archive import back_up_local, restore_local
from farebox.compose.settings import load_settings, process_environment

DataDirectory = Annotated[
    Path | None, typer.Option("--data", file_okay=False, help="The data directory; else FAREBOX_DATA.")
]


def backup(
    file: Annotated[Path, typer.Argument(dir_okay=False, help="Where the copy goes; replaced whole.")],
    data: DataDirectory = None,
    as_json: AsJson = False,
) -> None:
    """Copy the store to one file, while a gateway may be running. Keys are in it as hashes only."""
    back_up_local(_directory(data), file)
    _say("backed up to", file, as_json)


def restore(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="What `farebox backup` wrote.")],
    data: DataDirectory = None,
    as_json: AsJson = False,
) -> None:
    """Put a backup in the place of the store. Refused while a gateway has it open."""
    restore_local(file, _directory(data))
    _say("restored from", file, as_json)


def _directory(data: Path | None) -> Path:
    return data or Path(load_settings(process_environment()).data)


def _say(what: str, file: Path, as_json: bool) -> None:
    if as_json:
        print_json({"file": str(file)})
    else:
        say(f"{what} {file}")
