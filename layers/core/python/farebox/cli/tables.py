"""Prints answers: JSON for scripts, tables that fit 80 columns for people."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Mapping, Sequence

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from farebox.domain.money import picodollars_from_usd, usd_short_text
from farebox.wire.shown_text import shown, shown_json

Row = Mapping[str, object]

_FORMULA_STARTS = ("=", "+", "-", "@")
_AMOUNT = re.compile(r"-?[0-9]+(\.[0-9]+)?")


def print_json(answer: object) -> None:
    """Print JSON with one value a line. Characters that could speak to a terminal are escapes."""
    print(shown_json(json.dumps(answer, indent=2, ensure_ascii=False)))


def say(line: str, *, err: bool = False) -> None:
    """Print one line for people, whatever the data in it holds."""
    typer.echo(shown(line), err=err)


def print_csv(fields: Sequence[str], rows: Sequence[Row]) -> None:
    """Print rows as CSV, with a header. No cell is a formula to whoever opens it."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(map(_csv_cell, fields))
    writer.writerows([_csv_cell(row.get(field)) for field in fields] for row in rows)


def print_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    numbers: Sequence[str] = (),
    width: int | None = None,
) -> None:
    """Print rows under their columns; `numbers` are aligned to the right and never wrapped.

    `width` is the terminal's unless it is given.
    """
    if not rows:
        print("none")
        return
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold underline")
    for column in columns:
        is_number = column in numbers
        title = Text(shown(column))
        table.add_column(title, justify="right" if is_number else "left", no_wrap=is_number, overflow="fold")
    for row in rows:
        table.add_row(*(Text(shown(cell_text(value))) for value in row))
    Console(width=width).print(table)


def counted(count: int, noun: str) -> str:
    """Write '1 request', '2 requests'."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def cell_text(value: object) -> str:
    """Write one value for people."""
    if value is None or value in ("", [], {}):
        return "-"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)


def _csv_cell(value: object) -> object:
    """A spreadsheet takes text that begins like a formula for one, unless an apostrophe stands before it."""
    if not isinstance(value, str):
        return value
    text = shown(value)
    return f"'{text}" if text.startswith(_FORMULA_STARTS) and not _AMOUNT.fullmatch(text) else text


def usd(amount: object) -> str:
    """Write a decimal amount of the admin plane for people; '-' when there is none."""
    return "-" if amount is None else usd_short_text(picodollars_from_usd(str(amount)))


def moment(text: object) -> str:
    """Write a time of the admin plane for people: UTC, to the second."""
    return "-" if text is None else str(text)[:19].replace("T", " ")
