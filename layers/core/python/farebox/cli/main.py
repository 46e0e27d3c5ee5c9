"""The `farebox` command. Commands are imported when they are called, so that `--help` is quick."""

# Imports inside functions are this file's purpose: `farebox cost` should not load a web server.
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from farebox import __version__
from farebox.cli.options import AsJson, Data, Wide, name_values
from farebox.domain.errors import FareboxError, StoreFault
from farebox.wire.shown_text import shown

Function = Callable[..., None]


def main() -> None:
    """Run the command line."""
    get_command(application())(prog_name="farebox")


def application() -> typer.Typer:
    """Build the whole command."""
    app = typer.Typer(
        cls=_Commands, add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False
    )
    app.callback()(_farebox)
    return app


def _print_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"farebox {__version__}")
        raise typer.Exit()


def _farebox(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """A governance gateway for Claude Code: budgeted before, streamed byte for byte, priced exactly."""


def _serve() -> typer.Typer:
    from farebox.cli.start import serve

    return _single(serve)


def _apply() -> typer.Typer:
    from farebox.cli.admin.apply import apply

    return _single(apply)


def _keys() -> typer.Typer:
    from farebox.cli.admin import keys

    return _group(
        {"create": keys.create, "list": keys.list_keys, "rotate": keys.rotate, "revoke": keys.revoke}
    )


def _admin_keys() -> typer.Typer:
    from farebox.cli.admin import admin_keys

    return _group(
        {"create": admin_keys.create, "list": admin_keys.list_admin_keys, "revoke": admin_keys.revoke}
    )


def _bootstrap() -> typer.Typer:
    try:
        from farebox.cli.admin.bootstrap import bootstrap
    except ModuleNotFoundError as error:
        raise StoreFault(f"farebox bootstrap needs {error.name}, which `make deploy` installs") from None

    return _single(bootstrap)


def _budgets() -> typer.Typer:
    from farebox.cli.admin import budgets

    group = _group(
        {"list": budgets.list_budgets, "raise": budgets.raise_budget, "reset": budgets.reset_budget},
        bare_is_help=False,
    )

    def bare(context: typer.Context, wide: Wide = False, as_json: AsJson = False, data: Data = None) -> None:
        if context.invoked_subcommand is None:
            budgets.list_budgets(wide, as_json, data)

    group.callback(invoke_without_command=True)(bare)
    return group


def _brakes() -> typer.Typer:
    from farebox.cli.admin import brakes

    return _group({"list": brakes.list_brakes, "lift": brakes.lift_brakes})


def _usage() -> typer.Typer:
    from farebox.cli.admin.reports import usage

    return _single(usage)


def _requests() -> typer.Typer:
    from farebox.cli.admin.reports import requests

    return _single(requests)


def _ledger() -> typer.Typer:
    from farebox.cli.admin.reports import verify_ledger

    return _group({"verify": verify_ledger})


def _replay() -> typer.Typer:
    from farebox.cli.admin.replay import replay

    return _single(replay)


def _providers() -> typer.Typer:
    from farebox.cli.admin.listings import list_providers

    return _group({"list": list_providers})


def _workspaces() -> typer.Typer:
    from farebox.cli.admin.listings import list_workspaces

    return _group({"list": list_workspaces})


def _configs() -> typer.Typer:
    from farebox.cli.admin import configs

    return _group({"list": configs.list_configs, "show": configs.show, "versions": configs.list_versions})


def _cost() -> typer.Typer:
    from farebox.cli.cost import cost_command
    from farebox.compose.prices import load_prices

    return _single(cost_command(load_prices))


def _doctor() -> typer.Typer:
    from farebox.cli.doctor import doctor_command

    return _single(doctor_command)


def _claude() -> typer.Typer:
    from farebox.cli.claude import claude_command

    return _single(claude_command)


def _backup() -> typer.Typer:
    from farebox.cli.archive import backup

    return _single(backup)


def _restore() -> typer.Typer:
    from farebox.cli.archive import restore

    return _single(restore)


_COMMANDS: Mapping[str, tuple[str, Callable[[], typer.Typer]]] = {
    "serve": ("Run the gateway on this machine.", _serve),
    "apply": ("Bring the policy in line with a file.", _apply),
    "keys": ("Create, list, rotate and revoke gateway keys.", _keys),
    "admin-keys": ("Create, list and revoke admin keys.", _admin_keys),
    "budgets": ("List budgets and what is left of them; raise or reset one.", _budgets),
    "brakes": ("List runaway brakes; lift them for a session.", _brakes),
    "usage": ("Sum up requests, tokens and cost.", _usage),
    "requests": ("List requests, newest first.", _requests),
    "ledger": ("Verify the ledger.", _ledger),
    "replay": ("Book from the log what the store could not take.", _replay),
    "providers": ("List providers.", _providers),
    "workspaces": ("List workspaces.", _workspaces),
    "configs": ("List routing configs; show one, or what it said before.", _configs),
    "cost": ("Price recorded requests exactly; needs no gateway.", _cost),
    "doctor": ("Check gateway, providers, prices, streaming and environment.", _doctor),
    "claude": ("Run Claude Code through the gateway.", _claude),
    "bootstrap": ("Make the first admin key of a deployment in AWS.", _bootstrap),
    "backup": ("Copy the store of this machine to one file.", _backup),
    "restore": ("Put a backup in the place of the store.", _restore),
}


def _single(function: Function) -> typer.Typer:
    app = typer.Typer(add_completion=False)
    app.command()(function)
    return app


def _group(functions: Mapping[str, Function], *, bare_is_help: bool = True) -> typer.Typer:
    app = typer.Typer(add_completion=False, no_args_is_help=bare_is_help)
    # Without a callback, typer would take a group of one command for that command.
    app.callback()(lambda: None)
    for name, function in functions.items():
        app.command(name)(function)
    return app


class _Commands(TyperGroup):
    """Knows every command's name and first line, and loads a command when it is called."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name, (first_line, _) in _COMMANDS.items():
            self.add_command(TyperCommand(name, help=first_line))
        name_values(self)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Put the real command in the place of its first line."""
        name, _, rest = super().resolve_command(ctx, args)
        if name is None:
            return name, None, rest
        first_line, load = _COMMANDS[name]
        loaded = get_command(load())
        loaded.help = loaded.help or first_line
        if isinstance(loaded, TyperCommand | TyperGroup):
            name_values(loaded)
        return name, loaded, rest

    def invoke(self, ctx: Any) -> Any:
        """Tell what went wrong on standard error, a line for each thing that did: exit status 1."""
        try:
            return super().invoke(ctx)
        except (FareboxError, OSError) as error:
            told = error.detail if isinstance(error, StoreFault) else str(error)
            for line in filter(None, map(str.split, told.splitlines())):
                typer.echo(shown(f"farebox: {' '.join(line)}"), err=True)
            raise typer.Exit(1) from None
