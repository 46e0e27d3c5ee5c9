"""`farebox usage`, `requests` and `ledger`: what was spent, and on what."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from farebox.cli.admin.client import Answer, connect
from farebox.cli.options import AsJson, Data
from farebox.cli.tables import moment, print_csv, print_json, print_table, say, usd

_INPUT_FIELDS = ("input_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens")
_USAGE_FIELDS = (
    "requests",
    "errors",
    *_INPUT_FIELDS,
    "output_tokens",
    "cost_usd",
    "cache_hits",
    "saved_usd",
)


def usage(
    by: Annotated[
        str, typer.Option(help="key, user, workspace, model, provider, session or metadata.NAME.")
    ] = "key",
    since: Annotated[str | None, typer.Option(help="A span such as 30d or 12h, or a time.")] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Sum up requests, tokens and cost."""
    if as_csv and as_json:
        raise typer.BadParameter("choose one of --csv and --json")
    answer = connect(data).get("usage", by=by, since=since)
    if as_json:
        print_json(answer)
        return
    if as_csv:
        print_csv((by, *_USAGE_FIELDS), answer["rows"])
        _say_left_out(answer)
        return
    # Most have no cache of answers: a column of nothing would be in everybody's way.
    saves = bool(answer["total"]["cache_hits"])
    besides = ("hits", "saved") if saves else ()
    columns = (by, "requests", "errors", "input", "cached", "output", "cost", *besides)
    rows = [_usage_cells(row[by], row, saves=saves) for row in answer["rows"]]
    if rows:
        rows.append(_usage_cells("total", answer["total"], saves=saves))
    print_table(columns, rows, numbers=columns[1:])
    _say_left_out(answer)


def requests(
    limit: Annotated[int, typer.Option(min=1, max=1_000)] = 20,
    session: Annotated[str | None, typer.Option(help="Only this session's.")] = None,
    cursor: Annotated[str | None, typer.Option(help="The `next` of the page before.")] = None,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """List requests, newest first."""
    answer = connect(data).get("requests", limit=limit, session=session, cursor=cursor)
    if as_json:
        print_json(answer)
        return
    columns = ("at UTC", "key", "model", "outcome", "input", "output", "cost")
    rows = [
        [
            moment(row["at"])[5:],
            row["key"],
            row["model"],
            row["outcome"],
            sum(row[field] for field in _INPUT_FIELDS),
            row["output_tokens"],
            usd(row["cost_usd"]) if row["cost_usd"] is not None else row["cost_status"],
        ]
        for row in answer["rows"]
    ]
    print_table(columns, rows, numbers=("at UTC", "input", "output", "cost"))
    if answer["next"]:
        say(f"more: --cursor {answer['next']}")


def verify_ledger(as_json: AsJson = False, data: Data = None) -> None:
    """Recompute every bucket from the ledger; exit status 1 when one has drifted."""
    answer = connect(data).get("ledger", "verify")
    if as_json:
        print_json(answer)
    else:
        for row in answer["rows"]:
            say(row["drift"])
        say("the ledger is sound" if answer["ok"] else f"{len(answer['rows'])} drift(s)")
    if not answer["ok"]:
        raise typer.Exit(1)


def _say_left_out(answer: Answer) -> None:
    if left_out := answer.get("left_out"):
        typer.echo(f"{left_out} more are in the total alone; choose a shorter time with --since", err=True)


def _usage_cells(group: object, row: dict[str, Any], *, saves: bool) -> list[object]:
    cached = row["cache_read_tokens"] + row["cache_write_5m_tokens"] + row["cache_write_1h_tokens"]
    return [
        group,
        row["requests"],
        row["errors"],
        row["input_tokens"],
        cached,
        row["output_tokens"],
        usd(row["cost_usd"]),
        *((row["cache_hits"], usd(row["saved_usd"])) if saves else ()),
    ]
