"""`farebox configs`: routing configs as they are and as they were."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from farebox.cli.admin.client import connect
from farebox.cli.options import AsJson, Data
from farebox.cli.tables import print_json, print_table, say

Slug = Annotated[str, typer.Argument(help="The config's slug.")]
SlugOrVersion = Annotated[str, typer.Argument(help="The config's slug, or one version of it: slug@3.")]


def list_configs(as_json: AsJson = False, data: Data = None) -> None:
    """List routing configs."""
    answer = connect(data).get("configs")
    if as_json:
        print_json({"rows": answer["rows"], "next": answer["next"]})
        return
    rows = [
        [row["slug"], row["version"], _summary(row["config"]), row["last_updated_at"], row["origin"]]
        for row in answer["rows"]
    ]
    print_table(("slug", "version", "config", "saved", "from"), rows)


def show(slug: SlugOrVersion, as_json: AsJson = False, data: Data = None) -> None:
    """Print a config as it is, or as one version had it."""
    row = connect(data).get("configs", slug)
    if as_json:
        print_json(row)
        return
    say(f"{row['version_id']}, saved {row['created_at'] if '@' in slug else row['last_updated_at']}")
    for line in json.dumps(row["config"], indent=2, ensure_ascii=False).splitlines():
        say(line)


def list_versions(slug: Slug, as_json: AsJson = False, data: Data = None) -> None:
    """List what a config has said, newest first."""
    answer = connect(data).get("configs", slug, "versions")
    if as_json:
        print_json({"rows": answer["rows"], "next": answer["next"]})
        return
    rows = [
        [row["version_id"], row["created_at"], row["saved_by"], _summary(row["config"])]
        for row in answer["rows"]
    ]
    print_table(("version", "saved", "by", "config"), rows)


def _summary(config: dict[str, object]) -> str:
    """Say in a few words what a config does."""
    targets, strategy = config.get("targets"), config.get("strategy")
    if not isinstance(targets, list):
        return str(config.get("provider") or config.get("virtual_key") or "as asked")
    mode = strategy.get("mode", "single") if isinstance(strategy, dict) else "single"
    return f"{mode} of {len(targets)}"
