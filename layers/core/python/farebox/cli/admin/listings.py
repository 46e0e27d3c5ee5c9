"""`farebox providers|workspaces list`: the policy as it stands."""

from __future__ import annotations

from farebox.cli.admin.client import connect
from farebox.cli.options import AsJson, Data
from farebox.cli.tables import print_json, print_table


def list_providers(as_json: AsJson = False, data: Data = None) -> None:
    """List providers in the order in which they are asked for a model."""
    answer = connect(data).get("providers")
    if as_json:
        print_json(answer)
        return
    rows = [
        [row["slug"], row["type"], row["credential"], row.get("models", ["*"]), row["origin"]]
        for row in answer["rows"]
    ]
    print_table(("slug", "type", "credential", "models", "from"), rows)


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
