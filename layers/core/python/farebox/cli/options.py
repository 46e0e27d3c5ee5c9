"""Options that many commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
