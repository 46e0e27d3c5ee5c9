"""AWS for tests: MiniStack in an environment of its own, one process for each that runs tests.

Its locks are apart from ours, since it pins another botocore. Where it cannot be installed, tests that need
it skip and say why. What it does not do as DynamoDB does is listed in docs/ledger-dynamodb.md.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.apart import environment_apart

HOST = "127.0.0.1"
START_S = 20.0
SERVICES = "dynamodb,dynamodbstreams,events,s3,secretsmanager,sns,sqs"


class Ministack:
    """A running server; `port` is where."""

    def __init__(self, port: int) -> None:
        self.port = port


@pytest.fixture(scope="session")
def ministack() -> Iterator[Ministack]:
    """Start the services that functions call, once for all tests of this process."""
    with _or_skipped({"SERVICES": SERVICES}) as server:
        yield server


@contextmanager
def whole_ministack() -> Iterator[Ministack]:
    """Start every service; functions run as processes with this machine's Python."""
    with _or_skipped({"LAMBDA_EXECUTOR": "local"}) as server:
        yield server


@contextmanager
def _or_skipped(chosen: Mapping[str, str]) -> Iterator[Ministack]:
    try:
        environment_apart("ministack")
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"MiniStack cannot be installed: {error}")
    with started(chosen) as server:
        yield server


@contextmanager
def started(chosen: Mapping[str, str]) -> Iterator[Ministack]:
    """Start a server with these settings of its own. Raises `OSError` or `subprocess.SubprocessError` where
    it cannot be installed.
    """
    program = environment_apart("ministack") / "ministack"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        port = _free_port()
        # Nothing of the machine's own AWS settings leaks in.
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": folder,
            "TMPDIR": folder,
            "GATEWAY_PORT": str(port),
            "BIND_HOST": HOST,
            "LOG_LEVEL": "ERROR",
            **chosen,
        }
        with (Path(folder) / "log").open("w+b") as log:
            process = subprocess.Popen(
                [program],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            try:
                _wait_until_ready(process, port, log.name)
                yield Ministack(port)
            finally:
                # The whole group, since it runs functions as children.
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_ready(process: subprocess.Popen[bytes], port: int, log: str) -> None:
    give_up_at = time.monotonic() + START_S
    while time.monotonic() < give_up_at and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://{HOST}:{port}/_ministack/health", timeout=START_S) as answer:
                if answer.status == 200:
                    return
        except OSError:
            # It does not listen yet; there is nothing to wait on but time.
            time.sleep(0.05)
    raise RuntimeError(f"MiniStack did not start: {Path(log).read_text(errors='replace')[-2_000:]}")
