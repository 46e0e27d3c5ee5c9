"""`farebox providers|workspaces list`: the policy as it stands."""

from __future__ import annotations

from farebox.cli.admin.client import connect
from farebox.cli.options import AsJson, Data
from farebox.cli.tables import print_json, print_table, say


def list_providers(as_json: AsJson = False, data: Data = None) -> None:
    """List providers in the order in which they are asked for a model, and circuit breakers below them."""
    plane = connect(data)
    answer, breakers = plane.get("providers"), plane.get("admin", "breakers")["rows"]
    if as_json:
        print_json({**answer, "breakers": breakers})
        return
    rows = [
        [row["slug"], row["type"], row["credential"], row.get("models", ["*"]), row["origin"]]
        for row in answer["rows"]
    ]
    print_table(("slug", "type", "credential", "models", "from"), rows)
    if breakers:
        say("")
        columns = ("provider", "model", "region", "state", "failures", "open_until")
        print_table(columns, [[row[column] for column in columns] for row in breakers])


def list_workspaces(as_json: AsJson = False, data: Data = None) -> None:
    """List workspaces and what they are narrowed to."""
    answer = connect(data).get("admin", "workspaces")
    if as_json:
        print_json(answer)
        return
    rows = [
        [row["slug"], row.get("config"), row.get("providers", ["*"]), row.get("models", ["*"]), row["origin"]]
        for row in answer["rows"]
    ]
    print_table(("slug", "config", "providers", "models", "from"), rows)
