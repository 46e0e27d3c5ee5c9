"""`farebox budgets`: raises, and the wide table."""

from pathlib import Path

import pytest

from farebox.http.admin.budgets.pages import BUDGET_ROWS_MAX
from tests.cli.gateway import Gateway
from tests.support.builders import a_record

POLICY = """\
workspaces: [{slug: platform}]
keys: [{name: alice, workspace: platform}]
budgets:
  - {name: platform-month, scope: {workspace: platform}, usd: 500, period: month}
  - {name: key-day, scope: {key: "*"}, usd: 0.001, period: day}
"""


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    return path


def applied(gateway: Gateway, policy: Path) -> None:
    ran = gateway.run("apply", str(policy))
    assert ran.status == 0, ran.err


def test_a_budget_is_raised_to_an_amount_and_the_raise_is_ended(gateway: Gateway, policy: Path) -> None:
    applied(gateway, policy)
    gateway.book(a_record("req_1"))
    options = ("--until", "2h", "--reason", "release week")
    whole = gateway.run("budgets", "raise", "platform-month", "--usd", "600.50", *options)
    assert whole.out == "raised platform-month from $500.00 to $600.50 until 2026-11-23 14:00:00 UTC\n"
    one = gateway.run("budgets", "raise", "key-day", "--usd", "2", "--bucket", "alice", *options, "--json")
    assert (one.json["bucket"], one.json["limit_usd"], one.json["until"]) == (
        "alice",
        "2",
        "2026-11-23T14:00:00Z",
    )
    listed = gateway.run("budgets")
    assert [line.split() for line in listed.out.splitlines()[1:]] == [
        ["platform-month", "-", "ok", "$600.50", "$0.00033", "$600.50", "12-01", "00:00"],
        ["key-day", "alice", "ok", "$2.00", "$0.00033", "$2.00", "11-24", "00:00"],
        ["raised:", "platform-month", "until", "2026-11-23", "14:00", "UTC"],
        ["raised:", "key-day", "(alice)", "until", "2026-11-23", "14:00", "UTC"],
    ]
    assert all(len(line.rstrip()) <= 80 for line in listed.out.splitlines())
    assert gateway.run("budgets", "raise", "platform-month", "--end").out == (
        "ended the raise of platform-month\n"
    )
    ended = gateway.run("budgets", "raise", "key-day", "--bucket", "alice", "--end", "--json")
    assert ended.json == {"name": "key-day", "bucket": "alice", "ended": True}
    limits = [row["limit"] for row in gateway.run("budgets", "--json").json["rows"]]
    assert limits == ["500", "0.001"]
    again = gateway.run("budgets", "raise", "key-day", "--end")
    assert (again.status, again.err) == (1, "farebox: There is no raise of 'key-day'.\n")


def test_a_wide_list_tells_pace_and_raises_too(gateway: Gateway, policy: Path) -> None:
    applied(gateway, policy)
    gateway.book(a_record("req_1", charged_picodollars=420_000_000))
    raised = ("--until", "3d", "--reason", "release week", "--bucket", "alice")
    gateway.run("budgets", "raise", "key-day", "--usd", "0.0042", *raised)
    wide = gateway.run("budgets", "--wide")
    assert wide.out == gateway.run("budgets", "list", "--wide").out
    columns, month, day = (line.split() for line in wide.out.splitlines())
    assert " ".join(columns[8:]) == "per hour empty UTC overrun raised from until UTC reason"
    assert month[8:] == ["$0.0000007778", "-", "$0.00", "-", "-", "-"]
    assert day[7:] == [
        *("00:00", "$0.000035", "-", "$0.00", "$0.001", "11-26", "12:00", "release", "week"),
    ]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--until", "2h", "--reason", "x"], "choose one of --usd and --tokens"),
        (["--usd", "1", "--tokens", "1", "--until", "2h", "--reason", "x"], "choose one of --usd and"),
        (["--usd", "1", "--reason", "x"], "a raise needs --until and --reason"),
        (["--usd", "1", "--until", "2h"], "a raise needs --until and --reason"),
        (["--end", "--usd", "1"], "--end goes with --bucket only"),
    ],
)
def test_a_raise_that_is_called_wrongly_is_status_two(
    gateway: Gateway, options: list[str], told: str
) -> None:
    ran = gateway.run("budgets", "raise", "key-day", *options)
    assert (ran.status, ran.out) == (2, "")
    assert told in ran.err


def test_a_raise_below_the_limit_and_a_bucket_spelt_wrongly_are_told(gateway: Gateway, policy: Path) -> None:
    policy.write_text(POLICY + '  - {name: team, scope: {metadata.team: "*"}, tokens: 5, period: total}\n')
    applied(gateway, policy)
    options = ("--until", "2h", "--reason", "x")
    ran = gateway.run("budgets", "raise", "platform-month", "--usd", "499", *options)
    assert (ran.status, ran.err) == (
        1,
        "farebox: usd: must be above the present limit of $500.00: a raise goes TO an amount\n",
    )
    lines = gateway.run("budgets", "raise", "team", "--tokens", "9", "--bucket", "core", *options).out
    assert lines.splitlines() == [
        "WARNING no request has touched bucket 'core' in this window; is it spelt right?",
        "raised team (core) from 5 to 9 until 2026-11-23 14:00:00 UTC",
    ]


def test_budgets_of_more_buckets_than_one_answer_takes_are_listed_whole(
    gateway: Gateway, policy: Path
) -> None:
    policy.write_text("budgets: [{name: ever, scope: {key: '*'}, usd: 1, period: total}]")
    applied(gateway, policy)
    keys = [f"k{number:04}" for number in range(BUDGET_ROWS_MAX + 1)]
    gateway.book(*(a_record(each, key=each) for each in keys))
    told = gateway.run("budgets", "--json").json
    assert ([row["bucket"] for row in told["rows"]], told["next"]) == (keys, None)
