"""`farebox apply`: brings a gateway's policy in line with a file and prints what that changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from farebox.cli.admin.client import connect
from farebox.cli.options import AsJson, Data
from farebox.cli.tables import print_json, say

_MARKS = {"created": "+", "changed": "~", "pruned": "-", "replaced": "-", "unchanged": " "}

File = Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="YAML or JSON.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print what would change, and change nothing.")]
Prune = Annotated[
    bool, typer.Option("--prune", help="Remove what earlier applies created and the file no longer has.")
]


Url = Annotated[
    str | None,
    typer.Option("--url", help="Another gateway's admin URL; FAREBOX_ADMIN_KEY has the key to it."),
]


def apply(
    file: File,
    dry_run: DryRun = False,
    prune: Prune = False,
    url: Url = None,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Apply a policy file: validated whole, then created or changed by slug or name.

    Secrets of new keys are printed once.
    """
    answer = connect(data, url=url).post(
        "apply", body=file.read_bytes(), dry_run=_flag(dry_run), prune=_flag(prune)
    )
    if as_json:
        print_json(answer)
        return
    for change in answer["changes"]:
        _print_change(change)
    for warning in answer["warnings"]:
        say(f"WARNING {warning}")
    counts = {action: sum(each["action"] == action for each in answer["changes"]) for action in _MARKS}
    told = (
        ", ".join(f"{count} {action}" for action, count in counts.items() if count) or "nothing in the file"
    )
    say(f"{'would be: ' if dry_run else ''}{told} (policy version {answer['version']})")
    for created in answer["created_keys"]:
        say(f"key {created['workspace']}/{created['name']} (shown once): {created['key']}")


def _print_change(change: dict[str, Any]) -> None:
    if change["action"] == "unchanged":
        return
    kind = change["kind"].replace("_", " ")
    note = " (built in)" if change["action"] == "replaced" else ""
    if change["action"] == "pruned" and kind == "key":
        note = ": revokes the key, for good"
    say(f"{_MARKS[change['action']]} {kind} {change['name']}{note}")
    if change["action"] == "changed":
        for field in change["fields"]:
            say(f"    {field['path']}: {_value(field['before'])} -> {_value(field['after'])}")


def _value(value: object) -> str:
    return "(none)" if value is None else json.dumps(value, ensure_ascii=False)


def _flag(is_set: bool) -> str:
    return "true" if is_set else "false"
