"""`farebox admin-keys`: who may change the policy and make gateway keys."""

from __future__ import annotations

from typing import Annotated

import typer

from farebox.cli.admin.client import connect
from farebox.cli.options import AsJson, Data
from farebox.cli.tables import moment, print_json, print_table, say

NameOrId = Annotated[str, typer.Argument(help="The admin key's name or id.")]


def create(
    name: Annotated[str, typer.Option(help="What the audit log calls whoever uses it.")],
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Create an admin key and print it, once."""
    answer = connect(data).post("admin-keys", body={"name": name})
    if as_json:
        print_json(answer)
        return
    say(f"admin key {answer['name']} ({answer['id']}), shown once:")
    say(f"{answer['key']}")


def list_admin_keys(as_json: AsJson = False, data: Data = None) -> None:
    """List admin keys, revoked ones included."""
    answer = connect(data).get("admin-keys")
    if as_json:
        print_json(answer)
        return
    rows = [
        [row["name"], row["state"], row["shown"], moment(row["created_at"]), row["id"]]
        for row in answer["rows"]
    ]
    print_table(("name", "state", "shown", "created", "id"), rows)


def revoke(name_or_id: NameOrId, as_json: AsJson = False, data: Data = None) -> None:
    """Revoke an admin key for good; the last one that opens stays."""
    answer = connect(data).delete("admin-keys", name_or_id)
    if as_json:
        print_json(answer)
    else:
        say(f"revoked admin key {answer['name']}")
