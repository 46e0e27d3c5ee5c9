"""`farebox serve` with everything on: a stored credential, two budgets, prices, the ledger."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.programs import Program, Workshop

READY = b"listening on "
POLICY = """\
providers:
  - {{slug: upstream, {provider}, base_url: "http://127.0.0.1:{port}"}}
budgets:
  - {{name: month, scope: {{workspace: default}}, usd: 100000, period: month}}
  - {{name: key-day, scope: {{key: "*"}}, usd: 50000, period: day}}
"""
NATIVE = 'type: anthropic, credential: "env:BENCH_CREDENTIAL"'
BEDROCK = 'type: bedrock, region: us-east-1, credential: "env:BENCH_KEYS"'
VERTEX = 'type: vertex, region: us-east5, project: bench-project, credential: "env:BENCH_TOKEN"'
ENVIRONMENT: Mapping[str, str] = {
    "BENCH_CREDENTIAL": "sk-ant-api03-bench",
    "BENCH_TOKEN": "ya29.bench",
    "BENCH_KEYS": '{"access_key_id": "AKIDBENCH", "secret_access_key": "secret-of-the-bench"}',
}
START_S = 60.0
LOOK_EVERY_S = 0.05


@dataclass(frozen=True, slots=True)
class Gateway:
    """A running gateway and the key that opens it."""

    program: Program
    key: str


def start_gateway(
    workshop: Workshop,
    upstream_port: int,
    *,
    under: Sequence[str] = (),
    provider: str = NATIVE,
    name: str = "farebox",
) -> Gateway:
    """Start a gateway in front of an upstream, with an empty ledger. `under` is a command that runs it.

    It logs a JSON line a request, as it does by default; the lines go to a file.
    """
    folder = workshop.new_path("gateway")
    folder.mkdir()
    policy = folder / "farebox.yaml"
    policy.write_text(POLICY.format(port=upstream_port, provider=provider))
    port = _free_port()
    arguments = [*under, sys.executable, "-m", "farebox", "serve", "--port", str(port)]
    process = workshop.spawn(
        [*arguments, "--data", str(folder / "data"), "--config", str(policy)],
        ENVIRONMENT,
        output=folder / "output",
    )
    _wait_until_ready(process, folder / "output")
    credentials = json.loads((folder / "data" / "credentials.json").read_text())
    return Gateway(Program(name, process.pid, port), credentials["gateway_key"])


def _wait_until_ready(process: subprocess.Popen[bytes], output: Path) -> None:
    given_up_at = time.monotonic() + START_S
    while READY not in output.read_bytes():
        try:
            status: int | None = process.wait(LOOK_EVERY_S)
        except subprocess.TimeoutExpired:
            if time.monotonic() < given_up_at:
                continue
            status = None
        raise RuntimeError(f"farebox serve did not start (status {status}): {output.read_text()[-2000:]}")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
