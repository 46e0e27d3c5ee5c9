"""`farebox replay`: book from the log what the store could not take, or tell of ledger rows again."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from farebox.cli.admin.client import AdminClient, connect
from farebox.cli.options import AsJson, Data
from farebox.cli.tables import print_json

MARK = "; record: "
BATCH = 200

_decoder = json.JSONDecoder()


def replay(
    log: Annotated[
        Path | None, typer.Argument(metavar="[LOG]", help="The gateway's log; - for standard input.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="Instead of a log: a span such as 24h, a day, or a time.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="With --since: where to end; else now.")] = None,
    cursor: Annotated[str | None, typer.Option(help="With --since: where an earlier run stopped.")] = None,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Bring again what was lost on its way. Whatever had arrived is not counted twice.

    With LOG, the requests that the store could not take are booked from the gateway's log. With --since, the
    ledger rows of that time are told to a deployment's sums and alerts again.
    """
    if (log is None) == (since is None):
        raise typer.BadParameter("give either LOG or --since")
    if since is None and (until or cursor):
        raise typer.BadParameter("--until and --cursor go with --since")
    if log is not None:
        _book(connect(data), log, as_json)
    else:
        _announce(connect(data), {"since": since, "until": until, "cursor": cursor}, as_json)


def _book(gateway: AdminClient, log: Path, as_json: bool) -> None:
    found = 0
    with sys.stdin if str(log) == "-" else log.open(encoding="utf-8", errors="replace") as lines:
        for batch in _batches(_records(lines)):
            found += gateway.post("ledger", "replay", body={"records": batch})["replayed"]
    if as_json:
        print_json({"replayed": found})
    else:
        typer.echo(f"{found} unsettled requests in the log; all are in the ledger now")


def _announce(gateway: AdminClient, asked: dict[str, str | None], as_json: bool) -> None:
    announced = 0
    while True:
        try:
            answer = gateway.post("ledger", "announce", body=asked)
        except (OSError, KeyboardInterrupt):
            if asked["cursor"]:
                go_on = f"--since {asked['since']} --until {asked['until']} --cursor {asked['cursor']}"
                typer.echo(f"{announced} ledger rows told again so far; to go on: {go_on}", err=True)
            raise
        announced += answer["announced"]
        # Later pages end where the first one did, whatever time it is by then.
        asked = {**asked, "until": answer["until"], "cursor": answer["next"]}
        if answer["next"] is None:
            break
        typer.echo(f"{announced} ledger rows told again ...", err=True)
    if as_json:
        print_json({"announced": announced, "until": asked["until"]})
    else:
        typer.echo(f"{announced} ledger rows told to sums and alerts again")


def _records(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Find the records. A line may hold several: the AWS CLI joins messages by tabs."""
    for number, line in enumerate(lines, start=1):
        # Looked for behind the end of the record before it, since what a client sent may hold the mark too.
        end = 0
        while (found := line.find(MARK, end)) >= 0:
            try:
                record, end = _decoder.raw_decode(line, found + len(MARK))
            except ValueError:
                raise typer.BadParameter(f"line {number}: the record is not whole") from None
            yield record


def _batches(records: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    for record in records:
        batch.append(record)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
