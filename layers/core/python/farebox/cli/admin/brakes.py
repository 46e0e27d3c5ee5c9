"""`farebox brakes`: runaway brakes, the sessions they stopped, and lifting them for one of these."""

from __future__ import annotations

from typing import Annotated

import typer

from farebox.cli.admin.client import connect
from farebox.cli.options import AsJson, Data
from farebox.cli.tables import moment, print_json, print_table, say, usd

CAPS = ("session_usd", "agent_usd", "session_requests_per_minute", "agents_per_session")


def list_brakes(as_json: AsJson = False, data: Data = None) -> None:
    """List brakes, the sessions that they stopped for money, and the lifts in force."""
    answer = connect(data).get("brakes")
    if as_json:
        print_json(answer)
        return
    columns = ("brake", "scope", "session", "agent", "req/min", "agents")
    rows = [
        [row["name"], row["scope"], usd(row[CAPS[0]]), usd(row[CAPS[1]]), row[CAPS[2]], row[CAPS[3]]]
        for row in answer["rows"]
    ]
    print_table(columns, rows, numbers=columns[2:])
    if answer["stopped"]:
        typer.echo("\nstopped:")
        stopped = [
            [row["bucket"], row["brake"], usd(row["settled_usd"]), usd(row["limit_usd"])]
            for row in answer["stopped"]
        ]
        print_table(("session", "by brake", "spent", "limit"), stopped, numbers=("spent", "limit"))
    if answer["lifts"]:
        typer.echo("\nlifted:")
        lifts = [[row["session"], moment(row["until"]), row["reason"]] for row in answer["lifts"]]
        print_table(("session", "until UTC", "reason"), lifts)


def lift_brakes(
    session: Annotated[str, typer.Argument(metavar="SESSION", help="As the refusal names it.")],
    reason: Annotated[str, typer.Option(help="Why; it is kept in the audit log.")],
    until: Annotated[str, typer.Option("--for", help="A span such as 2h, or a time.")] = "1d",
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Let no brake stop a session for a time. What it spends meanwhile still counts."""
    body = {"session": session, "until": until, "reason": reason}
    answer = connect(data).post("brakes", "lifts", body=body)
    if as_json:
        print_json(answer)
    else:
        say(f"no brake stops session {answer['session']} until {moment(answer['until'])} UTC")
