"""`farebox serve` as people run it: a process of its own on loopback, with its own data folder."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

HOST = "127.0.0.1"
READY = f"listening on http://{HOST}:"
START_S = 90.0
STOP_S = 40.0
COMMAND_S = 30.0


class GatewayProcess:
    """A running gateway. `output` and `errors` collect what it prints, line by line.

    `environment` is all that the process sees beside PATH and HOME, so nothing leaks in from the machine.
    """

    def __init__(
        self,
        folder: Path,
        *,
        config: str | None = None,
        environment: Mapping[str, str] | None = None,
        arguments: Sequence[str] = (),
    ) -> None:
        self.data = folder / ".farebox"
        self.port = free_port()
        self.output: list[str] = []
        self.errors: list[str] = []
        self._folder = folder
        self._config = config
        self._arguments = arguments
        self._environment = {"PATH": os.environ["PATH"], "HOME": str(folder), **(environment or {})}
        self._changed = threading.Condition()
        self._readers: list[threading.Thread] = []
        self._process: subprocess.Popen[str] | None = None
        self._credentials: Mapping[str, str] = {}

    @property
    def base_url(self) -> str:
        return self._credentials["base_url"]

    @property
    def gateway_key(self) -> str:
        return self._credentials["gateway_key"]

    @property
    def admin_key(self) -> str:
        return self._credentials["admin_key"]

    @property
    def process(self) -> subprocess.Popen[str]:
        assert self._process is not None, "the gateway has not been started"
        return self._process

    def start(self) -> None:
        """Start, or start again, and wait until it listens. Raises `RuntimeError` with what it said."""
        self.output.clear()
        self.errors.clear()
        arguments = ["serve", "--port", str(self.port), "--data", str(self.data), *self._arguments]
        if self._config is not None:
            file = self._folder / "farebox.yaml"
            file.write_text(self._config, encoding="utf-8")
            arguments += ["--config", str(file)]
        self._process = subprocess.Popen(
            [farebox(), *arguments],
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._readers = [
            threading.Thread(target=self._collect, args=(stream, lines), daemon=True)
            for stream, lines in ((self._process.stdout, self.output), (self._process.stderr, self.errors))
        ]
        for reader in self._readers:
            reader.start()
        try:
            self._wait_until_ready()
        except RuntimeError:
            self.stop()
            raise
        self._credentials = json.loads((self.data / "credentials.json").read_text(encoding="utf-8"))

    def stop(self) -> int:
        """Send SIGTERM, wait for it to drain, and give its exit status."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            status = self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait(STOP_S)
        for reader in self._readers:
            reader.join(STOP_S)
        for stream in (self.process.stdout, self.process.stderr):
            if stream:
                stream.close()
        return status

    def kill(self) -> None:
        """End it with SIGKILL, as a crash would."""
        self.process.kill()
        self.stop()

    def run(
        self, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a farebox command against this gateway, whose credentials file it finds by itself."""
        return subprocess.run(
            [farebox(), *arguments],
            cwd=self._folder,
            env={**self._environment, **(environment or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
            check=False,
        )

    def json(self, *arguments: str) -> Any:
        """Run a farebox command with `--json`; it must succeed."""
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, f"farebox {arguments}: {done.stdout}{done.stderr}"
        return json.loads(done.stdout)

    def rows(self, *arguments: str) -> list[dict[str, Any]]:
        """Run a listing command and give its rows."""
        found: list[dict[str, Any]] = self.json(*arguments)["rows"]
        return found

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _collect(self, stream: Any, lines: list[str]) -> None:
        for line in stream:
            with self._changed:
                lines.append(line)
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    def _wait_until_ready(self) -> None:
        def is_settled() -> bool:
            return self._is_ready() or self.process.poll() is not None or not self._readers[0].is_alive()

        with self._changed:
            self._changed.wait_for(is_settled, START_S)
        if not self._is_ready():
            said = "".join([*self.output, *self.errors])
            raise RuntimeError(f"farebox serve did not start (status {self.process.poll()}):\n{said}")

    def _is_ready(self) -> bool:
        return any(READY in line for line in [*self.output, *self.errors])


def farebox() -> str:
    """Give the command of the environment that runs the tests."""
    return str(Path(sys.executable).parent / "farebox")


def free_port() -> int:
    """Give a port that was free a moment ago."""
    with socket.create_server((HOST, 0)) as server:
        return int(server.getsockname()[1])
