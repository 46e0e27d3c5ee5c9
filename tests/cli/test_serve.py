"""`farebox serve` before it serves: addresses that cannot be had, credentials, the lines to paste."""

import asyncio
import json
import logging
import socket
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from farebox.adapters.local.store import DATABASE_FILE
from farebox.cli.access.credentials import Credentials, greeting_lines, prepare_credentials
from farebox.cli.access.offer import Offer, offer_of
from farebox.cli.access.probe import is_farebox
from farebox.cli.access.program import program_line
from farebox.cli.serve import STOP_MESSAGE, _OurOwnStop
from tests.cli.gateway import run
from tests.http.admin.plane import Plane, admin_plane
from tests.support.gateway_process import GatewayProcess

FIRST, SECOND = "http://127.0.0.1:1", "http://127.0.0.1:2"
KNOWN = Credentials(FIRST, FIRST, "fba-a", "fb-g")


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_a_port_that_is_taken_is_one_clear_line(tmp_path: Path, taken: int) -> None:
    ran = run("serve", "--port", str(taken), "--data", str(tmp_path))
    assert (ran.status, ran.out, ran.err) == (
        1,
        "",
        f"farebox: Port {taken} of 127.0.0.1 is taken. Choose another with --port; --port 0 takes any free "
        "one.\n",
    )


@pytest.mark.parametrize(
    ("host", "told"),
    [
        ("no such host", "'no such host' is no address"),
        ("192.0.2.1", "This machine has no address 192.0.2.1"),
    ],
)
def test_a_host_that_is_not_here_is_one_clear_line(tmp_path: Path, host: str, told: str) -> None:
    ran = run("serve", "--host", host, "--port", "0", "--data", str(tmp_path))
    assert (ran.status, ran.out, ran.err) == (
        1,
        "",
        f"farebox: {told}; --host 127.0.0.1 is this machine alone.\n",
    )


async def prepared(plane: Plane, data: Path, base_url: str, *, live: tuple[str, ...] = ()) -> Credentials:
    return await prepare_credentials(data, base_url, plane.ports, is_live=lambda url: url in live)


def stored(data: Path) -> str:
    return str(json.loads((data / "credentials.json").read_text())["base_url"])


async def test_the_file_follows_the_gateway_to_another_address(tmp_path: Path) -> None:
    async with admin_plane(tmp_path) as plane:
        first = await prepared(plane, tmp_path, FIRST)
        second = await prepared(plane, tmp_path, SECOND)
    assert (first.is_new, first.base_url, second.is_new, second.base_url) == (True, FIRST, False, SECOND)
    assert (second.gateway_key, stored(tmp_path)) == (first.gateway_key, SECOND)


async def test_a_second_gateway_leaves_the_file_to_the_one_that_answers(tmp_path: Path) -> None:
    async with admin_plane(tmp_path) as plane:
        await prepared(plane, tmp_path, FIRST)
        second = await prepared(plane, tmp_path, SECOND, live=(FIRST,))
        assert (second.base_url, stored(tmp_path)) == (FIRST, FIRST)
        again = await prepared(plane, tmp_path, FIRST, live=(FIRST,))
    assert (again.base_url, stored(tmp_path)) == (FIRST, FIRST)
    told = list(greeting_lines(second, SECOND, "farebox claude", offer_of([("demo", "demo", "caller")])))
    assert told == [
        "",
        f"Another farebox serves this data at {FIRST}; credentials.json stays with it.",
        "To reach this one, with the keys of credentials.json:",
        f"  export FAREBOX_URL={SECOND} FAREBOX_ADMIN_KEY=fba-... FAREBOX_GATEWAY_KEY=fb-...",
        "",
    ]


def test_only_a_farebox_that_answers_counts_as_one(tmp_path: Path, taken: int) -> None:
    assert not is_farebox(f"http://127.0.0.1:{taken}")
    with GatewayProcess(tmp_path) as gateway:
        assert is_farebox(gateway.base_url)
        url = gateway.base_url
    assert not is_farebox(url)


@pytest.mark.parametrize(
    ("providers", "options"),
    [
        ([("a", "anthropic", "caller")], ["--own-login"]),
        ([("a", "anthropic", "env:KEY"), ("b", "openai", "env:KEY")], ["--stored"]),
        ([("a", "anthropic", "caller"), ("d", "demo", "caller")], ["--own-login", "--demo"]),
        ([("b", "openai", "env:KEY")], []),
    ],
)
def test_only_lines_that_work_are_printed(providers: list[tuple[str, str, str]], options: list[str]) -> None:
    told = list(greeting_lines(KNOWN, FIRST, "bin/farebox claude", offer_of(providers)))
    lines = [line.strip() for line in told if "eval" in line]
    assert lines == [f'eval "$(bin/farebox claude {option} --print-env)"' for option in options]
    assert KNOWN.gateway_key not in "".join(told)
    assert any("no provider is served" in line for line in told) == (not options)


def test_new_keys_are_shown_once() -> None:
    new = Credentials(FIRST, FIRST, "fba-a", "fb-g", is_new=True)
    told = list(greeting_lines(new, FIRST, "farebox claude", Offer(demos=("demo",))))
    assert [line for line in told if "fb-g" in line or "fba-a" in line] == [
        "  gateway key  fb-g",
        "  admin key    fba-a",
        "  export ANTHROPIC_CUSTOM_HEADERS='x-farebox-key: fb-g'",
        "  export ANTHROPIC_AUTH_TOKEN=fb-g",
    ]
    assert told.count(f"  export ANTHROPIC_BASE_URL={FIRST}") == 2
    assert told.count("  export CLAUDE_CODE_GATEWAY_HINT_HEADERS=1") == 2


@pytest.mark.parametrize(
    ("called_as", "search_path", "line"),
    [
        (".venv/bin/farebox", "/usr/bin", ".venv/bin/farebox"),
        ("/home/u/x y/.venv/bin/farebox", "/usr/bin", ".venv/bin/farebox"),
        ("/opt/far away/farebox", "/usr/bin", "'/opt/far away/farebox'"),
        ("/lib/farebox/__main__.py", "/usr/bin", ".venv/bin/python -m farebox"),
    ],
)
def test_lines_call_the_program_as_it_was_called(called_as: str, search_path: str, line: str) -> None:
    folder = Path("/home/u/x y")
    assert program_line(called_as, "/home/u/x y/.venv/bin/python", folder, search_path) == line


def test_a_program_on_the_path_is_called_by_its_name() -> None:
    python = Path(sys.executable)
    assert program_line(str(python), "", Path("/nowhere"), str(python.parent)) == python.name


def test_a_background_task_that_dies_is_told_and_stops_the_server(tmp_path: Path) -> None:
    with GatewayProcess(tmp_path) as gateway:
        file = gateway.data / DATABASE_FILE
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(
            "INSERT INTO threshold (budget, unit, bucket, window_key, limit_amount, threshold, decided_at_us,"
            " document) VALUES ('b', 'usd', '', 'total', 1, 50, 0, 'no crossing')"
        )
    with GatewayProcess(tmp_path) as gateway:
        assert gateway.process.wait(20) == 0
    told = "".join(gateway.errors)
    assert "a background task died; the gateway stops" in told
    assert "JSON is malformed" in told
    assert "never retrieved" not in told


def record(message: str, *values: object, error: BaseException | None = None) -> logging.LogRecord:
    info = (type(error), error, None) if error else None
    return logging.LogRecord("uvicorn.error", logging.ERROR, "", 0, message, values, info)


def test_streams_that_are_cut_at_the_stop_are_one_line_and_no_traceback() -> None:
    told = _OurOwnStop()
    cut = record("Cancel %s running task(s), timeout graceful shutdown exceeded", 1)
    assert told.filter(cut)
    assert (cut.levelname, cut.getMessage()) == ("WARNING", "cut 1 open request: FAREBOX_DRAIN_S is over")
    own = record("Exception in ASGI application\n", error=asyncio.CancelledError(STOP_MESSAGE))
    assert not told.filter(own)


@pytest.mark.parametrize(
    "error", [asyncio.CancelledError("other"), asyncio.CancelledError(), ValueError("x")]
)
def test_real_errors_are_never_hidden(error: BaseException) -> None:
    assert _OurOwnStop().filter(record("Exception in ASGI application\n", error=error))
