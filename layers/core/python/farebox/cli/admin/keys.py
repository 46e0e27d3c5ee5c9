"""`farebox keys`: create, list, rotate and revoke gateway keys."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from farebox.cli.access.credentials import Credentials, credentials_path, read_credentials, write_credentials
from farebox.cli.admin.client import connect
from farebox.cli.options import AsJson, Data
from farebox.cli.tables import moment, print_json, print_table, say
from farebox.domain.identity import key_shown

_SPAN = re.compile(r"([0-9]{1,6})([smhd]?)")
_UNITS_S = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}

NameOrId = Annotated[str, typer.Argument(metavar="NAME_OR_ID")]
Workspace = Annotated[str | None, typer.Option(help="The key's workspace, when the name alone is not clear.")]


def create(
    name: Annotated[str, typer.Option(help="Unique in its workspace.")],
    workspace: Annotated[str, typer.Option()] = "default",
    user: Annotated[str | None, typer.Option(help="Whose usage it is.")] = None,
    models: Annotated[str | None, typer.Option(help="Globs it may ask for, with commas between.")] = None,
    providers: Annotated[str | None, typer.Option(help="Slugs it may reach, with commas between.")] = None,
    config: Annotated[str | None, typer.Option(help="Slug of its default config.")] = None,
    metadata: Annotated[list[str] | None, typer.Option(metavar="K=V", help="May be repeated.")] = None,
    expires: Annotated[
        str | None, typer.Option(help="A span such as 30d, a day, or a time; not in the past.")
    ] = None,
    save: Annotated[
        bool, typer.Option("--save", help="Keep it in credentials.json, for `farebox claude`.")
    ] = False,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Create a gateway key and print its secret, once."""
    wanted: dict[str, object] = {
        "name": name,
        "workspace": workspace,
        "user": user,
        "models": _split(models, "--models"),
        "providers": _split(providers, "--providers"),
        "config": config,
        "metadata": _pairs(metadata or []),
        "expires": expires,
    }
    body = {field: value for field, value in wanted.items() if value not in (None, [], {})}
    client = connect(data)
    kept = _kept(data, "--save") if save else None
    answer = client.post("api-keys", body=body)
    _print_secret(answer, as_json)
    if kept is not None:
        _keep(*kept, str(answer["key"]))


def list_keys(
    workspace: Annotated[str | None, typer.Option(help="Only this workspace's.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000)] = 1_000,
    cursor: Annotated[str | None, typer.Option(help="The `next` of the page before.")] = None,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """List gateway keys, revoked ones included."""
    answer = connect(data).get("api-keys", workspace=workspace, limit=limit, cursor=cursor)
    if as_json:
        print_json(answer)
        return
    columns = ("name", "workspace", "state", "shown", "user", "expires")
    rows = [
        [
            row["name"],
            row["workspace"],
            row["state"],
            row["shown"],
            row["user"],
            moment(row["expires_at"])[:10],
        ]
        for row in answer["rows"]
    ]
    print_table(columns, rows)
    if answer["next"]:
        say(f"more: --cursor {answer['next']}")


def rotate(
    name_or_id: NameOrId,
    overlap: Annotated[
        str, typer.Option(help="For how long the old secret still opens: 0, 30m, 12h.")
    ] = "30m",
    workspace: Workspace = None,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Give a key a new secret and print it, once."""
    match = _SPAN.fullmatch(overlap)
    if match is None:
        raise typer.BadParameter("must be 0 or a span such as 30m or 12h", param_hint="--overlap")
    body = {"overlap_s": int(match[1]) * _UNITS_S[match[2]]}
    client = connect(data)
    kept = _kept_key(data, client.get("api-keys", name_or_id, workspace=workspace))
    answer = client.post("api-keys", name_or_id, "rotate", body=body, workspace=workspace)
    _print_secret(answer, as_json)
    if kept is not None:
        _keep(*kept, str(answer["key"]))
    if not as_json:
        say(f"the old secret opens until {moment(answer['old_valid_until'])} UTC")


def revoke(
    name_or_id: NameOrId, workspace: Workspace = None, as_json: AsJson = False, data: Data = None
) -> None:
    """Revoke a key for good."""
    answer = connect(data).delete("api-keys", name_or_id, workspace=workspace)
    if as_json:
        print_json(answer)
    else:
        say(f"revoked {answer['workspace']}/{answer['name']}")
    if kept := _kept_key(data, answer):
        say(
            f"WARNING this was the gateway key in {kept[0]}; "
            "`farebox keys create --name NAME --save` puts another in its place",
            err=True,
        )


def _print_secret(answer: dict[str, object], as_json: bool) -> None:
    if as_json:
        print_json(answer)
    else:
        say(f"key {answer['workspace']}/{answer['name']} ({answer['id']}), shown once:")
        say(f"{answer['key']}")


def _kept(data: Path | None, option: str) -> tuple[Path, Credentials]:
    path = credentials_path(data)
    credentials = read_credentials(path)
    if credentials is None:
        raise typer.BadParameter(f"there is no {path} to keep a key in", param_hint=option)
    return path, credentials


def _kept_key(data: Path | None, row: Mapping[str, object]) -> tuple[Path, Credentials] | None:
    """Give the credentials file here, if it is this key that it holds."""
    path = credentials_path(data)
    credentials = read_credentials(path)
    if credentials is None or key_shown(credentials.gateway_key) != row["shown"]:
        return None
    return path, credentials


def _keep(path: Path, credentials: Credentials, key: str) -> None:
    write_credentials(path, replace(credentials, gateway_key=key))
    say(f"{path} holds the new key; shells that are set up with the old one need it too", err=True)


def _split(text: str | None, option: str) -> list[str]:
    """Take a list apart. One that is there and empty, such as an unset variable's, would narrow nothing."""
    if text is None:
        return []
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise typer.BadParameter("must name at least one, with commas between", param_hint=option)
    return parts


def _pairs(texts: list[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    if not all(name and equals for name, equals, _ in pairs):
        raise typer.BadParameter("must read NAME=VALUE", param_hint="--metadata")
    return {name: value for name, _, value in pairs}
