"""Commands against a running gateway: what they print, and the status that scripts go by."""

import json
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from farebox.domain.identity import is_key_text
from farebox.domain.record import Outcome
from farebox.domain.routing.breaker import Breaker, BreakerKey
from farebox.domain.routing.caching import CacheStatus
from farebox.domain.usage import Usage
from tests.cli.gateway import Gateway
from tests.support.builders import NOON, a_record

POLICY = """\
providers:
  - {slug: main, type: anthropic, models: ["claude-*"]}
  - {slug: cloud, type: openai, credential: "env:KEY"}
workspaces: [{slug: platform, config: c}]
configs: [{slug: c, config: {provider: "@main"}}]
keys: [{name: alice, workspace: platform, user: alice@example.com}]
budgets:
  - {name: platform-month, scope: {workspace: platform}, usd: 500, period: month}
  - {name: key-day, scope: {key: "*"}, usd: 0.001, period: day}
"""


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    return path


def applied(gateway: Gateway, policy: Path) -> Any:
    ran = gateway.run("apply", str(policy), "--json")
    assert ran.status == 0, ran.err
    return ran.json


def is_readable(text: str) -> bool:
    return all(len(line.rstrip()) <= 80 for line in text.splitlines())


def test_apply_prints_a_diff_and_a_new_key_once(gateway: Gateway, policy: Path) -> None:
    told = gateway.run("apply", str(policy), "--dry-run")
    assert told.out.splitlines() == [
        "+ provider main",
        "+ provider cloud",
        "+ workspace platform",
        "+ config c",
        "+ key platform/alice",
        "+ budget platform-month",
        "+ budget key-day",
        "- provider anthropic (built in)",
        "- provider demo (built in)",
        "WARNING providers[1].type: this version does not serve 'openai' and refuses its requests",
        "would be: 7 created, 2 replaced (policy version 0)",
    ]
    *_, total, key = gateway.run("apply", str(policy)).out.splitlines()
    assert total == "7 created, 2 replaced (policy version 1)"
    assert key.startswith("key platform/alice (shown once): fb-")
    policy.write_text(
        POLICY.replace("0.001", "0.002").replace("workspace: platform,", "workspace: platform, config: c,")
    )
    changed = gateway.run("apply", str(policy))
    assert (changed.status, changed.out.splitlines()) == (
        0,
        [
            "~ key platform/alice",
            '    config: (none) -> "c"',
            "~ budget key-day",
            '    usd: "0.001" -> "0.002"',
            "WARNING providers[1].type: this version does not serve 'openai' and refuses its requests",
            "2 changed, 5 unchanged (policy version 2)",
        ],
    )
    policy.write_text("providers: [{slug: main, type: demo}]")
    planned = gateway.run("apply", str(policy), "--prune", "--dry-run")
    pruned = gateway.run("apply", str(policy), "--prune")
    for ran in (planned, pruned):
        assert "- key platform/alice: revokes the key, for good" in ran.out.splitlines()
    assert pruned.out.splitlines()[-1] == "1 changed, 6 pruned (policy version 3)"


def test_apply_gives_scripts_the_created_keys(gateway: Gateway, policy: Path) -> None:
    (created,) = applied(gateway, policy)["created_keys"]
    assert created["name"] == "alice"
    assert is_key_text(created["key"])
    assert applied(gateway, policy)["created_keys"] == []


def test_a_file_that_is_wrong_is_a_line_for_each_mistake_and_status_one(
    gateway: Gateway, policy: Path
) -> None:
    policy.write_text("budgets: [{name: b, period: never, usd: 1, colour: red}]")
    ran = gateway.run("apply", str(policy))
    assert (ran.status, ran.out, ran.err) == (
        1,
        "",
        "farebox: budgets[0].period: must be minute, hour, day, week, month, total, or a number of days "
        "such as 14d\nfarebox: budgets[0].colour: unknown field\n",
    )


def test_keys_live_from_creation_to_revocation(gateway: Gateway) -> None:
    created = gateway.run(
        *("keys", "create", "--name", "bob", "--user", "b@example.com", "--models", "claude-*, gpt-*"),
        *(
            "--providers",
            "demo",
            "--metadata",
            "team=core",
            "--metadata",
            "x=a=b",
            "--expires",
            "30d",
            "--json",
        ),
    ).json
    assert (created["models"], created["providers"]) == (["claude-*", "gpt-*"], ["demo"])
    assert created["metadata"] == {"team": "core", "x": "a=b"}
    assert created["expires_at"] == "2026-12-23T12:00:00Z"
    assert is_key_text(created["key"])

    listed = gateway.run("keys", "list")
    assert [line.split() for line in listed.out.splitlines()] == [
        ["name", "workspace", "state", "shown", "user", "expires"],
        ["bob", "default", "active", created["key"][:9], "b@example.com", "2026-12-23"],
    ]
    assert gateway.run("keys", "list", "--json").json["rows"][0]["id"] == created["id"]

    rotated = gateway.run("keys", "rotate", "bob", "--overlap", "2h", "--json").json
    assert rotated["old_valid_until"] == "2026-11-23T14:00:00Z"
    assert rotated["key"] != created["key"]
    told = gateway.run("keys", "rotate", created["id"]).out.splitlines()
    assert told[0] == f"key default/bob ({created['id']}), shown once:"
    assert is_key_text(told[1])
    assert told[2] == "the old secret opens until 2026-11-23 12:30:00 UTC"

    assert gateway.run("keys", "revoke", "bob").out == "revoked default/bob\n"
    assert gateway.run("keys", "list", "--json").json["rows"][0]["state"] == "revoked"
    refused = gateway.run("keys", "rotate", "bob")
    assert (refused.status, refused.err) == (
        1,
        "farebox: Key 'bob' is revoked; create a new one instead.\n",
    )


def test_a_rotated_key_of_credentials_json_is_kept_there(gateway: Gateway) -> None:
    path = gateway.data / "credentials.json"
    made = gateway.run("keys", "create", "--name", "mine", "--save", "--json")
    before = json.loads(path.read_text())
    assert before["gateway_key"] == made.json["key"]
    assert gateway.run("keys", "create", "--name", "bob").err == ""
    assert gateway.run("keys", "rotate", "bob").err == ""
    assert json.loads(path.read_text()) == before
    rotated = gateway.run("keys", "rotate", "mine", "--json")
    assert rotated.err.startswith(f"{path} holds the new key; ")
    assert json.loads(path.read_text()) == {**before, "gateway_key": rotated.json["key"]}
    assert path.stat().st_mode & 0o777 == 0o600
    assert gateway.run("keys", "revoke", "bob").err == ""
    assert gateway.run("keys", "revoke", "mine").err.startswith(
        f"WARNING this was the gateway key in {path}; "
    )


def test_a_key_that_would_be_over_at_once_is_refused(gateway: Gateway) -> None:
    ran = gateway.run("keys", "create", "--name", "late", "--expires", "2026-11-23")
    assert (ran.status, ran.err) == (1, "farebox: expires: is in the past\n")


def test_usage_takes_a_day(gateway: Gateway, policy: Path) -> None:
    gateway.book(a_record("req_1"))
    rows = {
        day: gateway.run("usage", "--since", day, "--json").json["rows"]
        for day in ("2026-11-23", "2026-11-24")
    }
    assert [len(found) for found in rows.values()] == [1, 0]


def test_a_new_key_is_printed_alone_on_its_line(gateway: Gateway) -> None:
    lines = gateway.run("keys", "create", "--name", "bob").out.splitlines()
    assert is_key_text(lines[1])


def test_lists_of_many_keys_go_on_from_a_cursor(gateway: Gateway) -> None:
    for name in ("a", "b", "c"):
        gateway.run("keys", "create", "--name", name)
    first = gateway.run("keys", "list", "--limit", "2")
    cursor = first.out.splitlines()[-1].removeprefix("more: --cursor ")
    second = gateway.run("keys", "list", "--limit", "2", "--cursor", cursor, "--json").json
    assert [row["name"] for row in second["rows"]] == ["c"]


def test_spending_is_told_in_80_columns(gateway: Gateway, policy: Path) -> None:
    applied(gateway, policy)
    gateway.book(
        a_record("req_1"),
        a_record("req_2", cost_picodollars=None, cost_status="unpriced", charged_picodollars=2_000_000_000),
    )
    requests = gateway.run("requests")
    assert [line.split() for line in requests.out.splitlines()] == [
        ["at", "UTC", "key", "model", "outcome", "input", "output", "cost"],
        ["11-23", "12:00:00", "alice", "claude-sonnet-4-5", "finished", "10", "20", "unpriced"],
        ["11-23", "12:00:00", "alice", "claude-sonnet-4-5", "finished", "10", "20", "$0.00033"],
    ]
    usage = gateway.run("usage", "--by", "user", "--since", "30d")
    assert [line.split() for line in usage.out.splitlines()] == [
        ["user", "requests", "errors", "input", "cached", "output", "cost"],
        ["alice@example.com", "2", "0", "20", "0", "40", "$0.00033"],
        ["total", "2", "0", "20", "0", "40", "$0.00033"],
    ]
    budgets = gateway.run("budgets")
    assert [line.split() for line in budgets.out.splitlines()] == [
        ["budget", "bucket", "state", "limit", "spent", "left", "resets", "UTC"],
        ["platform-month", "-", "ok", "$500.00", "$0.00233", "$500.00", "12-01", "00:00"],
        ["key-day", "alice", "exhausted", "$0.001", "$0.00233", "-$0.00133", "11-24", "00:00"],
    ]
    assert all(is_readable(ran.out) for ran in (requests, usage, budgets))
    assert gateway.run("budgets", "list").out == budgets.out


def test_usage_tells_what_the_cache_saved_where_there_is_one(gateway: Gateway, policy: Path) -> None:
    applied(gateway, policy)
    hit = a_record(
        "req_2",
        outcome=Outcome.CACHED,
        cache_status=CacheStatus.HIT,
        saved_picodollars=330_000_000,
        usage=Usage(),
        cost_picodollars=0,
        charged_picodollars=0,
    )
    gateway.book(a_record("req_1"), hit)
    usage = gateway.run("usage")
    assert [line.split() for line in usage.out.splitlines()] == [
        ["key", "requests", "errors", "input", "cached", "output", "cost", "hits", "saved"],
        ["alice", "2", "0", "10", "0", "20", "$0.00033", "1", "$0.00033"],
        ["total", "2", "0", "10", "0", "20", "$0.00033", "1", "$0.00033"],
    ]
    assert is_readable(usage.out)


def test_scripts_read_spending_as_json_and_csv(gateway: Gateway, policy: Path) -> None:
    applied(gateway, policy)
    gateway.book(a_record("req_1"))
    assert gateway.run("requests", "--session", "session_1", "--json").json["rows"][0]["id"] == "req_1"
    assert gateway.run("requests", "--session", "nobody").out == "none\n"
    assert gateway.run("usage", "--json").json["total"]["cost_usd"] == "0.00033"
    assert gateway.run("usage", "--by", "metadata.team", "--csv").out == (
        "metadata.team,requests,errors,input_tokens,cache_read_tokens,cache_write_5m_tokens,"
        "cache_write_1h_tokens,output_tokens,cost_usd,cache_hits,saved_usd\n"
        "core,1,0,10,0,0,0,20,0.00033,0,0\n"
    )
    for arguments in (["budgets", "--json"], ["budgets", "list", "--json"]):
        rows = gateway.run(*arguments).json["rows"]
        assert [(row["name"], row["settled_usd"]) for row in rows] == [
            ("platform-month", "0.00033"),
            ("key-day", "0.00033"),
        ]


def test_requests_go_on_from_a_cursor(gateway: Gateway) -> None:
    gateway.book(a_record("req_1"), a_record("req_2"))
    last = gateway.run("requests", "--limit", "1").out.splitlines()[-1]
    cursor = last.removeprefix("more: --cursor ")
    assert [row["id"] for row in gateway.run("requests", "--cursor", cursor, "--json").json["rows"]] == [
        "req_1"
    ]


def test_a_budget_is_reset_by_bucket_or_whole(gateway: Gateway, policy: Path) -> None:
    applied(gateway, policy)
    gateway.book(a_record("req_1"), a_record("req_2", key="bob"))
    assert (
        gateway.run("budgets", "reset", "key-day", "--bucket", "bob").out == "reset 1 bucket(s) of key-day\n"
    )
    settled = {row["bucket"]: row["settled"] for row in gateway.run("budgets", "--json").json["rows"][1:]}
    assert settled == {"alice": "0.00033", "bob": "0"}
    assert gateway.run("budgets", "reset", "key-day", "--json").json["bucket"] is None
    missing = gateway.run("budgets", "reset", "nothing")
    assert (missing.status, missing.err) == (1, "farebox: There is no budget 'nothing'.\n")


def test_the_ledger_is_verified(gateway: Gateway) -> None:
    gateway.book(a_record("req_1"))
    assert gateway.run("ledger", "verify").out == "the ledger is sound\n"
    assert gateway.run("ledger", "verify", "--json").json == {"ok": True, "rows": [], "next": None}


def test_a_ledger_that_has_drifted_is_status_one(gateway: Gateway, policy: Path) -> None:
    applied(gateway, policy)
    gateway.book(a_record("req_1"))
    with closing(sqlite3.connect(gateway.data / "farebox.db", isolation_level=None)) as database:
        database.execute("UPDATE bucket SET settled = settled + 1 WHERE budget = 'key-day'")
    ran = gateway.run("ledger", "verify")
    assert ran.status == 1
    assert "key-day" in ran.out
    assert ran.out.endswith("1 drift(s)\n")
    assert (gateway.run("ledger", "verify", "--json").status, ran.err) == (1, "")


def test_the_policy_is_listed(gateway: Gateway, policy: Path) -> None:
    applied(gateway, policy)
    listed = {kind: gateway.run(kind, "list").out for kind in ("providers", "workspaces", "configs")}
    assert {kind: [line.split() for line in text.splitlines()] for kind, text in listed.items()} == {
        "providers": [
            ["slug", "type", "credential", "models", "from"],
            ["main", "anthropic", "caller", "claude-*", "apply"],
            ["cloud", "openai", "env:KEY", "*", "apply"],
        ],
        "workspaces": [
            ["slug", "config", "providers", "models", "from"],
            ["default", "-", "*", "*", "builtin"],
            ["platform", "c", "*", "*", "apply"],
        ],
        "configs": [
            ["slug", "version", "config", "saved", "from"],
            ["c", "1", "@main", "2026-11-23T12:00:00Z", "apply"],
        ],
    }
    for kind in listed:
        assert gateway.run(kind, "list", "--json").json["next"] is None


def test_circuit_breakers_that_failed_lately_are_listed_with_the_providers(gateway: Gateway) -> None:
    key, until = BreakerKey("main", "claude-opus-5-5", "eu"), NOON + timedelta(seconds=30)
    gateway.break_circuit(Breaker(key, 1, NOON, 5, 3, NOON, until))
    told = gateway.run("providers", "list").out.splitlines()[-2:]
    assert [line.split() for line in told] == [
        ["provider", "model", "region", "state", "failures", "open_until"],
        ["main", "claude-opus-5-5", "eu", "open", "3", "2026-11-23T12:00:30Z"],
    ]
    assert gateway.run("providers", "list", "--json").json["breakers"] == [
        {
            "provider": "main",
            "model": "claude-opus-5-5",
            "region": "eu",
            "workspace": None,
            "host": None,
            "state": "open",
            "failures": 3,
            "requests": 5,
            "opened_at": "2026-11-23T12:00:00Z",
            "open_until": "2026-11-23T12:00:30Z",
        }
    ]


def test_a_config_is_shown_as_it_is_and_as_it_was(gateway: Gateway, policy: Path) -> None:
    applied(gateway, policy)
    fallback = {"strategy": {"mode": "fallback"}, "targets": [{"provider": "@main"}, {"provider": "@cloud"}]}
    changed = policy.with_name("changed.json")
    changed.write_text(json.dumps({"configs": [{"slug": "c", "config": fallback}]}))
    told = gateway.run("apply", str(changed), "--dry-run").out
    assert '    config.provider: "@main" -> (none)' in told.splitlines()
    applied(gateway, changed)
    now, before = gateway.run("configs", "show", "c"), gateway.run("configs", "show", "c@1")
    assert now.out.partition("\n")[0] == "c@2, saved 2026-11-23T12:00:00Z"
    assert json.loads(now.out.partition("\n")[2]) == fallback
    assert json.loads(before.out.partition("\n")[2]) == {"provider": "@main"}
    assert gateway.run("configs", "show", "c@1", "--json").json["config"] == {"provider": "@main"}
    versions = [line.split() for line in gateway.run("configs", "versions", "c").out.splitlines()]
    assert [row[0] for row in versions] == ["version", "c@2", "c@1"]
    assert versions[1][3:] == ["fallback", "of", "2"]
    assert [row["version"] for row in gateway.run("configs", "versions", "c", "--json").json["rows"]] == [
        2,
        1,
    ]
    assert "There is no version 'c@9'" in gateway.run("configs", "show", "c@9").err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["usage", "--by", "colour"], "by: must be one of key, user"),
        (["usage", "--since", "soon"], "since: must be a span"),
        (["keys", "revoke", "nobody"], "There is no key 'nobody'."),
        (
            ["keys", "create", "--name", "a", "--workspace", "nowhere"],
            "workspace: there is no workspace 'nowhere'",
        ),
        (["requests", "--cursor", "x"], "cursor: "),
    ],
)
def test_a_refusal_is_one_line_on_standard_error_and_status_one(
    gateway: Gateway, arguments: list[str], told: str
) -> None:
    ran = gateway.run(*arguments)
    assert (ran.status, ran.out) == (1, "")
    assert ran.err.startswith(f"farebox: {told}")
    assert ran.err.count("\n") == 1


def test_text_from_outside_is_printed_as_it_is(gateway: Gateway) -> None:
    gateway.book(a_record("req_1", user="[bold]x[/bold]"))
    assert "[bold]x[/bold]" in gateway.run("usage", "--by", "user").out
