"""`farebox brakes` against a running admin plane."""

from pathlib import Path

import pytest

from tests.cli.gateway import Gateway

POLICY = """\
brakes:
  - {name: runaway, scope: {workspace: platform}, session_usd: 20, agents_per_session: 25}
"""


@pytest.fixture
def braked(gateway: Gateway, tmp_path: Path) -> Gateway:
    file = tmp_path / "policy.yaml"
    file.write_text(POLICY)
    assert gateway.run("apply", str(file)).status == 0
    return gateway


def test_brakes_and_lifts_are_listed_in_eighty_columns(braked: Gateway) -> None:
    told = braked.run("brakes", "lift", "s-1", "--for", "2h", "--reason", "a long migration")
    assert (told.status, told.out) == (0, "no brake stops session s-1 until 2026-11-23 14:00:00 UTC\n")
    told = braked.run("brakes", "list")
    assert (told.status, [line.split() for line in told.out.splitlines()]) == (
        0,
        [
            ["brake", "scope", "session", "agent", "req/min", "agents"],
            ["runaway", "workspace=platform", "$20.00", "-", "-", "25"],
            [],
            ["lifted:"],
            ["session", "until", "UTC", "reason"],
            ["s-1", "2026-11-23", "14:00:00", "a", "long", "migration"],
        ],
    )
    assert max(len(line.rstrip()) for line in told.out.splitlines()) <= 80


def test_scripts_get_json(braked: Gateway) -> None:
    lift = {"session": "s-1", "until": "2026-11-24T12:00:00Z", "reason": "wanted"}
    assert braked.run("brakes", "lift", "s-1", "--reason", "wanted", "--json").json == lift
    listed = braked.run("brakes", "list", "--json").json
    assert (listed["lifts"], [row["name"] for row in listed["rows"]]) == ([lift], ["runaway"])


def test_a_lift_without_a_reason_is_a_wrong_call(braked: Gateway) -> None:
    assert braked.run("brakes", "lift", "s-1").status == 2


def test_a_lift_that_is_refused_says_why(braked: Gateway) -> None:
    told = braked.run("brakes", "lift", "s-1", "--for", "soon", "--reason", "x")
    assert (told.status, told.out) == (1, "")
    assert told.err.startswith("farebox: until: must be a span such as 30d or 12h")
