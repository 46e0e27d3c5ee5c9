"""`farebox budgets`: what is left, how fast it goes, and the two ways to give more: a raise and a reset."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from farebox.cli.admin.client import Answer, connect
from farebox.cli.options import AsJson, Data, Wide
from farebox.cli.tables import moment, print_json, print_table, say, usd

WIDE_COLUMNS = 180

_NARROW = ("budget", "bucket", "state", "limit", "spent", "left", "resets UTC")
_WIDE = (*_NARROW, "per hour", "empty UTC", "overrun", "raised from", "until UTC", "reason")

BudgetName = Annotated[str, typer.Argument(metavar="NAME")]
Bucket = Annotated[str | None, typer.Option(help="Only this bucket; else all of the budget's.")]


def list_budgets(wide: Wide = False, as_json: AsJson = False, data: Data = None) -> None:
    """List what every budget has left in its current window."""
    answer = connect(data).get_all("budgets")
    if as_json:
        print_json(answer)
        return
    if wide:
        rows = [[*_cells(row), *_more_cells(row)] for row in answer["rows"]]
        print_table(_WIDE, rows, numbers=_WIDE[3:-1], width=WIDE_COLUMNS)
        return
    print_table(_NARROW, [_cells(row) for row in answer["rows"]], numbers=_NARROW[3:])
    for row in answer["rows"]:
        if row["raised_until"] is not None:
            say(f"raised: {_named(row)} until {moment(row['raised_until'])[:16]} UTC")


def raise_budget(
    name: BudgetName,
    usd_limit: Annotated[
        str | None,
        typer.Option("--usd", help="Raise the limit TO this amount, above the present one; not BY it."),
    ] = None,
    tokens: Annotated[int | None, typer.Option(help="The same for a budget of tokens.")] = None,
    until: Annotated[
        str | None, typer.Option(help="When it ends by itself: a span such as 2h or 3d, or a time.")
    ] = None,
    reason: Annotated[str | None, typer.Option(help="Why; kept in the audit log.")] = None,
    bucket: Bucket = None,
    end: Annotated[bool, typer.Option("--end", help="End the raise now instead.")] = False,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Raise a budget's limit to an amount for a time. It replaces an earlier raise of the same bucket."""
    path = ("policies", "usage-limits", name, "raises")
    if end:
        if (usd_limit, tokens, until, reason) != (None, None, None, None):
            raise typer.BadParameter("--end goes with --bucket only")
        connect(data).delete(*path, bucket=bucket)
        if as_json:
            print_json({"name": name, "bucket": bucket, "ended": True})
        else:
            say(f"ended the raise of {name}{f' ({bucket})' if bucket else ''}")
        return
    if (usd_limit is None) == (tokens is None):
        raise typer.BadParameter("choose one of --usd and --tokens")
    if until is None or reason is None:
        raise typer.BadParameter("a raise needs --until and --reason")
    asked = {"usd": usd_limit, "tokens": tokens, "until": until, "reason": reason, "bucket": bucket}
    body = {field: value for field, value in asked.items() if value is not None}
    _print_raise(connect(data).post(*path, body=body), as_json)


def reset_budget(name: BudgetName, bucket: Bucket = None, as_json: AsJson = False, data: Data = None) -> None:
    """Start a budget's current window anew by a correcting entry in the ledger."""
    body = {} if bucket is None else {"bucket": bucket}
    answer = connect(data).post("policies", "usage-limits", name, "reset", body=body)
    if as_json:
        print_json(answer)
    else:
        say(f"reset {answer['buckets_reset']} bucket(s) of {name}")


def _print_raise(answer: Answer, as_json: bool) -> None:
    if as_json:
        print_json(answer)
        return
    for warning in answer["warnings"]:
        say(f"WARNING {warning}")
    is_usd = answer["limit_usd"] is not None
    before, after = (usd(each) if is_usd else str(each) for each in (answer["raised_from"], answer["limit"]))
    say(f"raised {_named(answer)} from {before} to {after} until {moment(answer['until'])} UTC")


def _cells(row: dict[str, Any]) -> list[object]:
    return [
        row["name"],
        row["bucket"],
        row["state"],
        *(_amount(row, field) for field in ("limit", "settled", "available")),
        moment(row["window"]["end"])[5:16] if row["window"]["end"] else "never",
    ]


def _more_cells(row: dict[str, Any]) -> list[object]:
    return [
        _amount(row, "burn_rate_per_hour"),
        _minute(row["forecast_exhausted_at"]),
        usd(row["overrun_usd"]),
        _amount(row, "raised_from"),
        _minute(row["raised_until"]),
        row["raise_reason"],
    ]


def _amount(row: dict[str, Any], field: str) -> str:
    if row[field] is None:
        return "-"
    return usd(row[field]) if row["unit"] == "usd" else str(row[field])


def _minute(text: str | None) -> str | None:
    return None if text is None else moment(text)[5:16]


def _named(row: dict[str, Any]) -> str:
    return f"{row['name']} ({row['bucket']})" if row["bucket"] else str(row["name"])
