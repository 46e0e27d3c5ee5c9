"""`farebox cost --jsonl`: exact costs of recorded requests, line by line, without a gateway."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from farebox.cli.cost_record import RecordInvalid, price_record
from farebox.domain.price import PriceBook
from farebox.wire.shown_text import shown

INVALID_LINES_EXIT = 2


def cost_command(load_prices: Callable[[], PriceBook]) -> Callable[..., None]:
    """Give the command to mount; `load_prices` is compose's."""

    def cost(
        files: Annotated[
            list[Path] | None, typer.Argument(help="Files of JSON lines; none, or -, is standard input.")
        ] = None,
        jsonl: Annotated[bool, typer.Option("--jsonl", help="One JSON object a line, in and out.")] = False,
    ) -> None:
        """Price recorded requests exactly: one JSON object a line in, one line with its cost out.

        A line that cannot be read is told on standard error, has "status": "unpriced" and an "error" in its
        place, and makes the exit status 2; the others are priced all the same.
        """
        if not jsonl:
            raise typer.BadParameter("say --jsonl: one JSON object a line is the only format so far")
        book = load_prices()
        failed = sum(_price_lines(path, book) for path in files or [Path("-")])
        if failed:
            raise typer.Exit(INVALID_LINES_EXIT)

    return cost


def _price_lines(path: Path, book: PriceBook) -> int:
    """Price one file as it is read; gives the number of lines that could not be."""
    if str(path) == "-":
        return _price_stream(sys.stdin.buffer, "", book)
    try:
        with path.open("rb") as lines:
            return _price_stream(lines, f"{path}: ", book)
    except OSError as error:
        typer.echo(f"{path}: {error.strerror}", err=True)
        return 1


def _price_stream(lines: BinaryIO, origin: str, book: PriceBook) -> int:
    failed = 0
    for number, record, error in _records(lines):
        answer: dict[str, object]
        if error is None:
            try:
                answer = price_record(record, book).line(record.get("id"))
            except RecordInvalid as invalid:
                error = str(invalid)
        if error is not None:
            failed += 1
            typer.echo(shown(f"{origin}line {number}: {error}"), err=True)
            answer = {
                "id": record.get("id"),
                "status": "unpriced",
                "usd": None,
                "picodollars": None,
                "error": error,
            }
        sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
    return failed


def _records(lines: BinaryIO) -> Iterator[tuple[int, Mapping[str, object], str | None]]:
    """Give line number, object and what is wrong with a line that is not a JSON object; skip blank lines."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield number, {}, f"not JSON ({error})"
            continue
        if isinstance(record, dict):
            yield number, record, None
        else:
            yield number, {}, "not a JSON object"
