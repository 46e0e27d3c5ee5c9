"""The command itself: help, versions, usage errors, and how it finds a gateway."""

import json
import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from farebox import __version__
from tests.cli.gateway import Gateway, run, running_gateway
from tests.http.admin.plane import ADMIN_SECRET
from tests.support.builders import a_record

COMMANDS = [
    ["serve"],
    ["apply"],
    *(["keys", name] for name in ("create", "list", "rotate", "revoke")),
    *(["budgets", name] for name in ("list", "reset")),
    ["usage"],
    ["requests"],
    ["ledger", "verify"],
    *([kind, "list"] for kind in ("providers", "workspaces", "configs")),
    *(["configs", name] for name in ("show", "versions")),
    ["cost"],
    ["backup"],
    ["restore"],
    ["doctor"],
    ["replay"],
    ["claude"],
]


@pytest.mark.parametrize("arguments", [[], *COMMANDS], ids=" ".join)
def test_every_command_explains_itself(arguments: list[str]) -> None:
    ran = run(*arguments, "--help")
    assert ran.status == 0
    assert f"Usage: farebox{''.join(f' {word}' for word in arguments)}" in ran.out.replace("root", "farebox")
    assert all(len(line) <= 80 for line in ran.out.splitlines())


def test_every_list_can_be_json() -> None:
    for arguments in COMMANDS:
        if arguments[0] not in ("serve", "cost", "claude"):
            assert "--json" in run(*arguments, "--help").out


def test_the_version_is_told() -> None:
    assert run("--version").out == f"farebox {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["nothing"],
        ["usage", "--bad"],
        ["usage", "--json", "--csv"],
        ["keys"],
        ["keys", "nothing"],
        ["keys", "create"],
        ["keys", "create", "--name", "a", "--metadata", "x"],
        ["keys", "rotate", "a", "--overlap", "soon"],
        ["keys", "list", "--limit", "0"],
        ["apply", "no-such-file.yaml"],
        ["serve", "--port", "70000"],
    ],
    ids=" ".join,
)
def test_a_wrong_call_is_status_two(arguments: list[str]) -> None:
    ran = run(*arguments)
    assert ran.status == 2
    assert ran.out == "" or arguments == ["keys"]


@pytest.mark.parametrize("group", ["", "keys", "ledger", "providers", "workspaces", "configs", "brakes"])
def test_a_bare_group_shows_its_help_and_is_a_wrong_call(group: str) -> None:
    bare, asked = run(*group.split()), run(*group.split(), "--help")
    assert (bare.status, asked.status) == (2, 0)
    assert "Usage: " in bare.out + bare.err
    assert " ".join((bare.out + bare.err).split()) == " ".join(asked.out.split())


def test_help_names_values_in_capitals_and_flags_not_at_all() -> None:
    told = "".join(run(*arguments, "--help").out for arguments in COMMANDS)
    options = [line for line in told.splitlines() if line.startswith("│ --") or line.startswith("│ *")]
    assert not [line for line in options if "<bool>" in line or ("--" in line and "<" in line.split("  ")[1])]
    serve = run("serve", "--help").out.split()
    assert [serve[serve.index(option) + 1] for option in ("--port", "--data", "--config")] == [
        "INTEGER",
        "DIR",
        "FILE",
    ]


def test_a_wrong_command_suggests_the_right_one() -> None:
    assert "Did you mean 'usage'?" in run("usge").err


def test_without_a_gateway_it_says_how_to_name_one(tmp_path: Path) -> None:
    ran = run("usage", "--data", str(tmp_path))
    assert (ran.status, ran.err) == (
        1,
        f"farebox: There is no {tmp_path}/credentials.json: start `farebox serve` here, name its directory "
        "with --data, or set FAREBOX_URL and FAREBOX_ADMIN_KEY.\n",
    )


def test_a_gateway_that_is_gone_is_told_as_such(tmp_path: Path) -> None:
    with running_gateway(tmp_path) as gone:
        pass
    ran = gone.run("usage")
    assert (ran.status, ran.err) == (
        1,
        f"farebox: No gateway answers at {gone.url} (connection refused). Is `farebox serve` running?\n",
    )


def test_a_deployment_that_does_not_answer_is_told_without_words_of_the_laptop() -> None:
    named = {"FAREBOX_URL": "https://gone.lambda-url.invalid", "FAREBOX_ADMIN_KEY": ADMIN_SECRET}
    ran = run("usage", **named, HTTPS_PROXY="http://127.0.0.1:9", NO_PROXY="")
    assert ran.status == 1
    assert ran.err.startswith("farebox: No gateway answers at https://gone.lambda-url.invalid (")
    assert ran.err.endswith(
        "). Check that this is the AdminUrl of the stage that you mean, that it is still deployed, "
        "and that your network and proxy let you there.\n"
    )


def test_the_environment_names_a_gateway(gateway: Gateway) -> None:
    named = {"FAREBOX_URL": f"{gateway.url}/", "FAREBOX_ADMIN_KEY": ADMIN_SECRET}
    assert run("keys", "list", "--json", **named).json == {"rows": [], "next": None}


def test_the_data_directory_may_be_named_in_the_environment(gateway: Gateway) -> None:
    assert run("keys", "list", "--json", FAREBOX_DATA=str(gateway.data)).status == 0


def test_a_named_data_directory_beats_the_environment(gateway: Gateway) -> None:
    elsewhere = {"FAREBOX_URL": "http://127.0.0.1:9", "FAREBOX_ADMIN_KEY": "fba-other"}
    assert run("keys", "list", "--data", str(gateway.data), **elsewhere).status == 0


def test_the_key_of_a_file_is_not_sent_to_another_address(gateway: Gateway) -> None:
    ran = run("keys", "list", FAREBOX_URL="http://127.0.0.1:9", FAREBOX_DATA=str(gateway.data))
    assert (ran.status, ran.err) == (
        1,
        "farebox: FAREBOX_URL is http://127.0.0.1:9; set FAREBOX_ADMIN_KEY to the admin key for it.\n",
    )


def test_a_wrong_admin_key_is_refused(gateway: Gateway) -> None:
    ran = run("keys", "list", FAREBOX_URL=gateway.url, FAREBOX_ADMIN_KEY="fba-wrong")
    assert (ran.status, ran.err) == (
        1,
        "farebox: This needs a valid farebox admin key: send Authorization: Bearer fba-... or "
        "x-portkey-api-key.\n",
    )


def test_a_setting_that_is_wrong_is_named() -> None:
    ran = run("usage", FAREBOX_URL="localhost")
    assert (ran.status, ran.err) == (1, "farebox: FAREBOX_URL: must be an http or https URL\n")


class _Elsewhere(BaseHTTPRequestHandler):
    """Something that is no gateway: redirects under /r, plain text elsewhere."""

    def do_GET(self) -> None:
        self.send_response(302 if self.path.startswith("/r") else 200)
        self.send_header("location", "/stolen")
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.mark.parametrize(
    ("path", "told"),
    [("", "is not a farebox admin plane."), ("/r", "answered with HTTP status 302 and no explanation.")],
)
def test_what_is_no_gateway_is_told_as_such_and_redirects_are_not_followed(path: str, told: str) -> None:
    with HTTPServer(("127.0.0.1", 0), _Elsewhere) as server:
        thread = Thread(target=server.handle_request)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}{path}"
        ran = run("usage", FAREBOX_URL=url, FAREBOX_ADMIN_KEY=ADMIN_SECRET)
        thread.join()
    assert ran.status == 1
    assert told in ran.err


def test_a_backup_brings_back_what_was_there(tmp_path: Path) -> None:
    data, copy = tmp_path / "data", tmp_path / "copy.db"
    with running_gateway(data) as gateway:
        gateway.book(a_record("req_1"))
        assert gateway.run("backup", str(copy)).out == f"backed up to {copy}\n"
        gateway.book(a_record("req_2"))
        refused = gateway.run("restore", str(copy))
        assert (refused.status, refused.err) == (
            1,
            f"farebox: {data}/farebox.db is in use; stop the gateway first\n",
        )
    assert run("restore", str(copy), "--data", str(data), "--json").json == {"file": str(copy)}
    with running_gateway(data) as gateway:
        assert [row["id"] for row in gateway.run("requests", "--json").json["rows"]] == ["req_1"]


def test_there_is_nothing_to_back_up_where_no_gateway_ever_ran(tmp_path: Path) -> None:
    ran = run("backup", str(tmp_path / "copy.db"), "--data", str(tmp_path))
    assert (ran.status, ran.err) == (1, f"farebox: There is no gateway data in '{tmp_path}'.\n")
    assert list(tmp_path.iterdir()) == []


def test_cost_prices_without_a_gateway(tmp_path: Path) -> None:
    usage = {"input_tokens": 1_000_000, "output_tokens": 0}
    line = {"id": "1", "provider": "anthropic", "model": "claude-sonnet-4-5", "usage": usage}
    path = tmp_path / "usage.jsonl"
    path.write_text(json.dumps(line) + "\n")
    ran = run("cost", "--jsonl", str(path))
    assert (ran.status, ran.json["usd"]) == (0, "3")


def test_the_installed_command_loads_no_web_server_for_its_help() -> None:
    script = (
        "import sys; sys.argv = ['farebox', '--help']\n"
        "from farebox.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    code = end.code\n"
        "heavy = {'fastapi', 'pydantic', 'uvicorn', 'sqlite3', 'yaml'} & set(sys.modules)\n"
        "print(code, sorted(heavy), file=sys.stderr)\n"
    )
    environment = {**os.environ, "COLUMNS": "80"}
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True
    )
    assert ran.stderr == "0 []\n"
    assert "Run the gateway on this machine." in ran.stdout


def test_python_dash_m_is_the_same_command(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "farebox", "usage", "--data", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1
    assert ran.stderr.startswith("farebox: There is no ")
