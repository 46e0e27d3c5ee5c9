"""What is printed of data that others chose."""

from __future__ import annotations

import json
import os

import pytest

from farebox.cli.tables import print_csv, print_json, print_table, say
from tests.cli.gateway import Gateway, run
from tests.support.builders import a_record

ESCAPE = "\x1b]0;owned\x07\u202e"
TOLD = r"\x1b]0;owned\x07\u202e"

Captured = pytest.CaptureFixture[str]


def test_a_table_and_a_line_spell_out_what_would_speak_to_the_terminal(capsys: Captured) -> None:
    print_table((f"by {ESCAPE}", "cost"), [[ESCAPE, 1]], width=80)
    say(f"key {ESCAPE}\nforged")
    head, row, line = capsys.readouterr().out.splitlines()
    assert (head.split(), row.split()) == (["by", TOLD, "cost"], [TOLD, "1"])
    assert line == rf"key {TOLD}\nforged"


def test_json_has_the_data_itself_behind_escapes(capsys: Captured) -> None:
    answer = {"name": f"{ESCAPE}\x9b", "who": "Zoë"}
    print_json(answer)
    out = capsys.readouterr().out
    assert json.loads(out) == answer
    assert out == '{\n  "name": "\\u001b]0;owned\\u0007\\u202e\\u009b",\n  "who": "Zoë"\n}\n'


def test_a_cell_of_csv_is_text_or_a_number_and_never_a_formula(capsys: Captured) -> None:
    names = ["=1+1", "+1-2", "-cmd", "@sum", "\t=1", "a=1", "core", ESCAPE]
    amounts: list[object] = [1, "0.0116", "-0.5", None, "", "-", "2026-11-23", 0]
    rows = [{"team": name, "cost": amount} for name, amount in zip(names, amounts, strict=True)]
    print_csv(("team", "cost"), rows)
    assert capsys.readouterr().out.splitlines() == [
        "team,cost",
        "'=1+1,1",
        "'+1-2,0.0116",
        "'-cmd,-0.5",
        "'@sum,",
        r"\t=1,",
        "a=1,'-",
        "core,2026-11-23",
        f"{TOLD},0",
    ]


def test_an_error_repeats_nothing_that_speaks_to_the_terminal(gateway: Gateway) -> None:
    ran = gateway.run("keys", "revoke", ESCAPE)
    assert (ran.status, ran.err) == (1, f"farebox: There is no key '{TOLD}'.\n")


def test_json_of_a_command_escapes_what_a_caller_wrote(gateway: Gateway) -> None:
    gateway.book(a_record("req_1", model=ESCAPE + "\x9b"))
    ran = gateway.run("requests", "--json")
    assert ran.json["rows"][0]["model"] == ESCAPE + "\x9b"
    assert ran.out.replace("\n", "").isprintable()


def test_a_line_that_cannot_be_priced_is_told_without_its_controls(tmp_path: os.PathLike[str]) -> None:
    path = os.path.join(tmp_path, "records")
    with open(path, "w", encoding="utf-8") as file:
        file.write(json.dumps({"id": "1", "provider": ESCAPE, "model": "m", "usage": {}, ESCAPE: 1}) + "\n")
    ran = run("cost", "--jsonl", path)
    assert (ran.out + ran.err).replace("\n", "").isprintable()


@pytest.mark.parametrize("option", ["--models", "--providers"])
@pytest.mark.parametrize("value", ["", ",", " ", "claude-*,", ",,"])
def test_an_empty_list_of_what_a_key_may_use_is_a_usage_error(
    gateway: Gateway, option: str, value: str
) -> None:
    ran = gateway.run("keys", "create", "--name", "narrow", option, value)
    assert (ran.status, ran.out) == (2, "")
    assert gateway.run("keys", "list", "--json").json["rows"] == []
