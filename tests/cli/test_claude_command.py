"""`farebox claude`: which environment Claude Code gets, and what happens when it cannot be started."""

import json
import os
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from farebox.cli.access.credentials import Credentials
from farebox.cli.claude import Changes, ClaudeMissing, environment_changes, find_claude
from tests.cli.gateway import Gateway, run
from tests.support.builders import a_secret

CREDENTIALS = Credentials("http://127.0.0.1:8787", "http://127.0.0.1:8787", "fba-admin", "fb-key")
GATEWAY = {
    "ANTHROPIC_BASE_URL": "http://127.0.0.1:8787",
    "ANTHROPIC_AUTH_TOKEN": "fb-key",
    "CLAUDE_CODE_GATEWAY_HINT_HEADERS": "1",
}
OWN_LOGIN = {
    "ANTHROPIC_BASE_URL": "http://127.0.0.1:8787",
    "ANTHROPIC_CUSTOM_HEADERS": "x-farebox-key: fb-key",
    "CLAUDE_CODE_GATEWAY_HINT_HEADERS": "1",
}
# Prints what it was started with, as JSON.
RECORDER = """#!{python}
import json, os, sys
names = [name for name in os.environ if name.startswith(("ANTHROPIC_", "CLAUDE_"))]
print(json.dumps({{"arguments": sys.argv[1:], "environment": {{name: os.environ[name] for name in names}}}}))
sys.exit(7)
"""


def changes(own_login: bool = False, model: str | None = None, **environment: str) -> Changes:
    return environment_changes(environment, CREDENTIALS, own_login=own_login, model=model)


def install_recorder(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(RECORDER.format(python=sys.executable))
    path.chmod(0o755)
    return path


def start(folder: Path, *arguments: str, path: Path, **environment: str) -> tuple[str, str]:
    """Run `farebox claude` as a process of its own, since it becomes Claude Code; give what both said."""
    done = subprocess.run(
        [sys.executable, "-m", "farebox", "claude", *arguments],
        cwd=folder,
        env={"PATH": str(path), "HOME": str(folder), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 7
    return done.stdout, done.stderr


def test_a_stored_credential_wants_address_key_and_hints() -> None:
    assert changes() == Changes(GATEWAY)


def test_the_own_login_stays_and_our_key_travels_in_a_header() -> None:
    assert changes(own_login=True, ANTHROPIC_AUTH_TOKEN="sk-ant-oat01-mine") == Changes(OWN_LOGIN)


def test_a_gateway_key_that_would_stand_in_the_place_of_the_login_is_taken_away() -> None:
    assert changes(own_login=True, ANTHROPIC_AUTH_TOKEN="fb-old") == Changes(
        OWN_LOGIN, ("ANTHROPIC_AUTH_TOKEN",)
    )


def test_headers_set_for_other_reasons_are_kept() -> None:
    kept = 'x-team: core\nX-Portkey-Metadata: {"a": "b:c"}'
    assert changes(own_login=True, ANTHROPIC_CUSTOM_HEADERS=kept).set["ANTHROPIC_CUSTOM_HEADERS"] == (
        f"{kept}\nx-farebox-key: fb-key"
    )
    assert changes(ANTHROPIC_CUSTOM_HEADERS=kept).set["ANTHROPIC_CUSTOM_HEADERS"] == kept


@pytest.mark.parametrize("own_login", [False, True])
def test_the_key_of_another_gateway_is_not_sent_along(own_login: bool) -> None:
    old = "X-Farebox-Key: fb-old\n\nx-portkey-api-key: pk-other\nx-team: core"
    headers = changes(own_login, ANTHROPIC_CUSTOM_HEADERS=old).set["ANTHROPIC_CUSTOM_HEADERS"]
    assert headers.splitlines() == ["x-team: core", *(["x-farebox-key: fb-key"] if own_login else [])]


def test_a_header_variable_that_holds_nothing_else_is_taken_away() -> None:
    assert changes(ANTHROPIC_CUSTOM_HEADERS="x-farebox-key: fb-old") == Changes(
        GATEWAY, ("ANTHROPIC_CUSTOM_HEADERS",)
    )


def test_ways_around_the_gateway_are_closed() -> None:
    wanted = ("CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_VERTEX")
    assert changes(CLAUDE_CODE_USE_VERTEX="1", CLAUDE_CODE_USE_BEDROCK="1", HOME="x") == Changes(
        GATEWAY, wanted
    )


def test_changes_replace_add_and_remove() -> None:
    assert Changes({"A": "new", "C": "3"}, ("B",)).over({"A": "old", "B": "2", "D": "4"}) == {
        "A": "new",
        "C": "3",
        "D": "4",
    }


def test_keys_are_not_shown_by_accident() -> None:
    assert "fb-key" not in repr(changes())


def test_the_path_comes_before_the_project(tmp_path: Path) -> None:
    on_path = install_recorder(tmp_path / "bin/claude")
    local = install_recorder(tmp_path / "project/node_modules/.bin/claude")
    assert find_claude(str(tmp_path / "bin"), tmp_path / "project") == str(on_path)
    assert find_claude(str(tmp_path / "empty"), tmp_path / "project") == str(local)


def test_a_missing_program_is_told_with_the_line_that_installs_it(tmp_path: Path) -> None:
    with pytest.raises(ClaudeMissing) as caught:
        find_claude(str(tmp_path), tmp_path)
    assert str(caught.value) == (
        "Claude Code is not on the PATH. Install it with `npm install -g @anthropic-ai/claude-code`."
    )


def test_it_becomes_claude_code_with_all_arguments_and_its_status(gateway: Gateway, tmp_path: Path) -> None:
    install_recorder(tmp_path / "bin/claude")
    arguments = ("--data", str(gateway.data), "--stored", "--", "-p", "Say 'hi'", "--model", "x")
    printed, said = start(tmp_path, *arguments, path=tmp_path / "bin")
    assert said == ""
    assert json.loads(printed) == {
        "arguments": ["-p", "Say 'hi'", "--model", "x"],
        "environment": {**GATEWAY, "ANTHROPIC_BASE_URL": gateway.url, "ANTHROPIC_AUTH_TOKEN": "fb-x"},
    }


def test_the_demo_model_is_one_option(gateway: Gateway, tmp_path: Path) -> None:
    install_recorder(tmp_path / "node_modules/.bin/claude")
    printed, said = start(
        tmp_path,
        "--data",
        str(gateway.data),
        "--demo",
        path=tmp_path / "empty",
        ANTHROPIC_API_KEY="sk-ant-mine",
    )
    assert said == ""
    assert json.loads(printed) == {
        "arguments": [],
        "environment": {
            **GATEWAY,
            "ANTHROPIC_BASE_URL": gateway.url,
            "ANTHROPIC_AUTH_TOKEN": "fb-x",
            "ANTHROPIC_API_KEY": "sk-ant-mine",
            "ANTHROPIC_MODEL": "@demo/claude-demo",
        },
    }


def test_the_printed_lines_make_the_same_environment(gateway: Gateway) -> None:
    headers = "x-note: it's $HOME\nx-farebox-key: fb-old"
    shell = {"ANTHROPIC_CUSTOM_HEADERS": headers, "CLAUDE_CODE_USE_BEDROCK": "1"}
    ran = run("claude", "--own-login", "--print-env", "--data", str(gateway.data), **shell)
    assert ran.status == 0
    program = "import json, os; print(json.dumps(dict(os.environ)))"
    script = f"{ran.out}{shlex.join([sys.executable, '-c', program])}"
    done = subprocess.run(["sh", "-c", script], env={**shell}, capture_output=True, text=True, check=True)
    found = {name: value for name, value in json.loads(done.stdout).items() if name.startswith(("A", "C"))}
    assert {name: value for name, value in found.items() if name != "LC_CTYPE"} == {
        "ANTHROPIC_BASE_URL": gateway.url,
        "ANTHROPIC_CUSTOM_HEADERS": "x-note: it's $HOME\nx-farebox-key: fb-x",
        "CLAUDE_CODE_GATEWAY_HINT_HEADERS": "1",
    }


def test_a_gateway_that_does_not_run_is_told_before_claude_code_tries_for_minutes(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    fields = {"base_url": url, "admin_url": url, "admin_key": "fba-x", "gateway_key": "fb-x"}
    (tmp_path / "credentials.json").write_text(json.dumps(fields))
    program = install_recorder(tmp_path / "bin/claude")
    search_path = os.pathsep.join((str(program.parent), os.environ["PATH"]))
    ran = run("claude", "--data", str(tmp_path), PATH=search_path)
    assert (ran.status, ran.out) == (1, "")
    assert ran.err == f"farebox: No gateway answers at {url}. Is `farebox serve` running?\n"


def test_without_credentials_it_says_how_to_get_some(tmp_path: Path) -> None:
    ran = run("claude", "--data", str(tmp_path))
    assert (ran.status, ran.err) == (
        1,
        f"farebox: There is no {tmp_path}/credentials.json: start `farebox serve` here, name its "
        "directory with --data, or set FAREBOX_URL and FAREBOX_GATEWAY_KEY.\n",
    )


def test_the_key_of_one_gateway_is_not_used_for_another(gateway: Gateway) -> None:
    ran = run("claude", FAREBOX_URL="https://farebox.example.com", FAREBOX_DATA=str(gateway.data))
    assert ran.status == 1
    assert ran.err.startswith("farebox: FAREBOX_URL is https://farebox.example.com, but the gateway key in ")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--demo", "--model", "claude-opus-5-5"], "choose one of --demo and --model"),
        (["--demo", "--own-login"], "--demo goes without --own-login and --stored"),
        (["--demo", "--stored"], "--demo goes without --own-login and --stored"),
        (["--print-env", "--", "-p", "Hi."], "--print-env starts nothing"),
        (["--key-file", "no-such-file"], "no-such-file"),
    ],
)
def test_options_that_contradict_each_other_are_a_wrong_call(arguments: list[str], told: str) -> None:
    ran = run("claude", *arguments, COLUMNS="200")
    assert (ran.status, ran.out) == (2, "")
    assert told in ran.err


OWN = {"slug": "mine", "type": "anthropic"}
KEPT = {"slug": "kept", "type": "anthropic", "credential": "env:KEY"}
UNSERVED = {"slug": "cloud", "type": "openai", "credential": "env:KEY"}
DEMO = {"slug": "toy", "type": "demo"}
BY_OWN = "using your own Claude login or key, which {} takes; farebox keeps no credential"
BY_STORED = "using the credential that farebox keeps for kept; --own-login uses your own"


@pytest.mark.parametrize(
    ("providers", "variable", "why"),
    [
        ([], "ANTHROPIC_CUSTOM_HEADERS", BY_OWN.format("anthropic")),
        ([OWN, UNSERVED, DEMO], "ANTHROPIC_CUSTOM_HEADERS", BY_OWN.format("mine")),
        ([OWN, KEPT], "ANTHROPIC_AUTH_TOKEN", BY_STORED),
        ([KEPT, DEMO], "ANTHROPIC_AUTH_TOKEN", BY_STORED),
        ([DEMO], "ANTHROPIC_AUTH_TOKEN", "the gateway has no provider but the demo model; --demo uses it"),
    ],
)
def test_the_set_of_variables_follows_what_the_gateway_has(
    gateway: Gateway, tmp_path: Path, providers: list[dict[str, str]], variable: str, why: str
) -> None:
    file = tmp_path / "policy.json"
    file.write_text(json.dumps({"providers": providers} if providers else {}))
    assert gateway.run("apply", str(file)).status == 0
    ran = gateway.run("claude", "--print-env")
    assert (ran.status, ran.err) == (0, f"farebox: {why}\n")
    named = [line.removeprefix("export ").partition("=")[0] for line in ran.out.splitlines()]
    assert sorted(named) == sorted(("ANTHROPIC_BASE_URL", "CLAUDE_CODE_GATEWAY_HINT_HEADERS", variable))


def test_the_demo_model_is_asked_for_by_its_own_slug(gateway: Gateway, tmp_path: Path) -> None:
    file = tmp_path / "policy.json"
    file.write_text(json.dumps({"providers": [OWN, DEMO]}))
    gateway.run("apply", str(file))
    assert "export ANTHROPIC_MODEL=@toy/claude-demo" in gateway.run("claude", "--demo", "--print-env").out
    file.write_text(json.dumps({"providers": [OWN]}))
    gateway.run("apply", str(file), "--prune")
    ran = gateway.run("claude", "--demo", "--print-env")
    assert (ran.status, ran.out) == (1, "")
    assert ran.err.startswith("farebox: this gateway has no demo model: add {slug: demo, type: demo}")


def test_the_lines_for_another_model_take_the_demo_model_away() -> None:
    assert changes(ANTHROPIC_MODEL="@toy/claude-demo") == Changes(GATEWAY, ("ANTHROPIC_MODEL",))
    assert changes(ANTHROPIC_MODEL="claude-opus-5-5") == Changes(GATEWAY)


def test_a_colleague_needs_an_address_and_a_key_and_nothing_else(gateway: Gateway, tmp_path: Path) -> None:
    secret = a_secret(7)
    (tmp_path / "key").write_text(f"{secret}\n")
    install_recorder(tmp_path / "bin/claude")
    named = {"FAREBOX_URL": gateway.url, "FAREBOX_DATA": "nowhere"}
    ways: tuple[tuple[list[str], dict[str, str]], ...] = (
        (["--key-file", str(tmp_path / "key")], {}),
        ([], {"FAREBOX_GATEWAY_KEY": secret}),
    )
    for arguments, more in ways:
        printed, said = start(tmp_path, *arguments, path=tmp_path / "bin", **named, **more)
        assert json.loads(printed)["environment"] == {
            **GATEWAY,
            "ANTHROPIC_BASE_URL": gateway.url,
            "ANTHROPIC_AUTH_TOKEN": secret,
        }
        assert said.startswith("farebox: taking it that the gateway keeps a credential; --own-login uses ")


def test_a_key_file_that_holds_something_else_is_refused_without_repeating_it(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("sk-ant-CANARY")
    ran = run("claude", "--key-file", str(file), FAREBOX_URL="http://127.0.0.1:9")
    assert (ran.status, ran.err) == (
        1,
        f"farebox: {file}: holds no gateway key (fb-...), or more than one\n",
    )
