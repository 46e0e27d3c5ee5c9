"""`farebox replay`: book from the log what the store could not take."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from farebox.cli.admin.client import connect
from farebox.cli.options import AsJson, Data
from farebox.cli.tables import print_json

MARK = "; record: "
BATCH = 200


def replay(
    log: Annotated[Path, typer.Argument(metavar="LOG", help="The gateway's log; - for standard input.")],
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Book the requests that a log has as not settled. Those that were booked since change nothing."""
    gateway = connect(data)
    found = 0
    with sys.stdin if str(log) == "-" else log.open(encoding="utf-8", errors="replace") as lines:
        for batch in _batches(_records(lines)):
            found += gateway.post("ledger", "replay", body={"records": batch})["replayed"]
    if as_json:
        print_json({"replayed": found})
    else:
        typer.echo(f"{found} unsettled requests in the log; all are in the ledger now")


def _records(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(lines, start=1):
        _, mark, text = line.partition(MARK)
        if not mark:
            continue
        try:
            yield json.loads(text)
        except ValueError:
            raise typer.BadParameter(f"line {number}: the record is not whole") from None


def _batches(records: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    for record in records:
        batch.append(record)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
