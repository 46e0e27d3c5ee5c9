"""What a cold start costs: the proxy as it is packaged, beside a bare interpreter and heavier libraries."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from farebox.adapters.aws.tables import TableNames
from farebox.compose.deployment import Deployment, deployment_environment
from infra.bundle import ROOT, compile_code, compiler, wheels
from infra.options import HOST_PLATFORM, LAMBDA_PLATFORM
from tests.bench.instructions import SKIPPED, program_instructions
from tests.bench.lockstep import has_valgrind
from tests.bench.programs import STEADY, Workshop
from tests.bench.report import Row
from tests.support.cloud.assembly import BARE_PYTHON

CPU_GOAL_MS = 120.0
INSTRUCTIONS_GOAL = 350_000_000
MB = 1_000_000
NOT_CODE = shutil.ignore_patterns("__pycache__", "*.pyc")

HEAVY = ("fastapi", "httpx2", "boto3")
BARE = "pass"
OPENED = """
import asyncio, handler
import farebox.compose.lambda_process
async def main():
    async with handler.handler():
        pass
asyncio.run(main())
"""
WITH_HEAVY = f"import {', '.join(HEAVY)}\n{OPENED}"
PROGRAMS = (BARE, OPENED, WITH_HEAVY)


@dataclass(frozen=True, slots=True)
class Package:
    """The proxy's layers and its entry point as folders with bytecode, and the interpreter they are for."""

    python: str
    folders: tuple[Path, ...]

    def environment(self, port: int) -> dict[str, str]:
        """Give what Lambda would set, for an account that answers on a port of loopback."""
        deployment = Deployment("bench", TableNames.with_prefix("bench-"), secret_prefix="farebox/bench/")
        return {
            **deployment_environment(deployment),
            **STEADY,
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(map(str, self.folders)),
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "bench",
            "AWS_SECRET_ACCESS_KEY": "bench",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        }


def starting_rows(workshop: Workshop, *, quick: bool) -> list[Row]:
    """Measure the start of the proxy, and weigh what Lambda has to fetch for it.

    On Lambda's version of Python where this machine has it, else on the one that runs the bench.
    """
    python = compiler(LAMBDA_PLATFORM) or BARE_PYTHON
    package = packaged(workshop.folder / "package", python)
    with empty_account() as port:
        environment = package.environment(port)
        cpu = [cpu_ms(python, each, environment, rounds=3 if quick else 15) for each in PROGRAMS]
        counts = [
            program_instructions(workshop, each, python=python, environment=environment)
            for each in PROGRAMS
            if has_valgrind()
        ]
    told = subprocess.run([python, "--version"], check=True, capture_output=True, text=True).stdout.strip()
    return [
        *_rows("init, CPU ms", told, cpu, CPU_GOAL_MS),
        *_rows("init, instructions", told if counts else SKIPPED, counts, INSTRUCTIONS_GOAL),
        _weight(workshop.folder),
    ]


def _rows(what: str, note: str, measured: Sequence[float], goal: float) -> list[Row]:
    bare, ours, heavy = measured or (None, None, None)
    added = None if ours is None or bare is None else ours - bare
    more = None if heavy is None or bare is None else heavy - bare
    return [
        Row(f"Lambda: {what}", f"over a bare interpreter; {note}, with bytecode", added, "bare", bare, goal),
        Row("  and FastAPI, httpx, boto3", "the same app with these imported", more, "without", added),
    ]


def packaged(folder: Path, python: str) -> Package:
    """Build the layers as `make deploy` does, for an interpreter of this machine; and the heavy libraries."""
    core, libraries, heavy = folder / "core/python", folder / "libraries/python", folder / "heavy"
    shutil.copytree(ROOT / "layers/core/python", core, ignore=NOT_CODE)
    wheels("proxy.txt", HOST_PLATFORM, libraries.parent, python=python)
    command = [str(ROOT / "tools/uv"), "pip", "install", "--quiet", "--no-compile-bytecode"]
    locked = ["--constraints", str(ROOT / "requirements/dev.txt"), "--target", str(heavy)]
    locked += ["--constraints", str(ROOT / "requirements/functions.txt")]
    subprocess.run([*command, *locked, "--python", python, *HEAVY], cwd=ROOT, check=True)
    for each in (core, libraries, heavy):
        compiling = [python, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", str(each)]
        # Code for other versions of Python, in the tests of a library, may not compile.
        subprocess.run(compiling, check=False, stdout=subprocess.DEVNULL)
    return Package(python, (ROOT / "functions/proxy", core, libraries, heavy))


def cpu_ms(python: str, program: str, environment: Mapping[str, str], *, rounds: int) -> float:
    """Give the least CPU time of some whole runs: what else the machine does only adds to it."""
    return min(_once(python, program, environment) for _ in range(rounds))


def _once(python: str, program: str, environment: Mapping[str, str]) -> float:
    process = subprocess.Popen([python, "-c", program], env=dict(environment))
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"the program ended with {process.returncode}")
    return (used.ru_utime + used.ru_stime) * 1000


def _weight(folder: Path) -> Row:
    """Weigh the arm64 layers with bytecode where this machine can make it, zipped as Lambda fetches them."""
    (zipped, unpacked), (others, _) = (
        _layers(folder / lock, lock) for lock in ("proxy.txt", "functions.txt")
    )
    return Row(
        "Lambda: the proxy's layers, MB",
        f"zipped, arm64; {unpacked:.1f} MB unpacked; beside those of the other functions",
        zipped / MB,
        "the others'",
        others / MB,
    )


def _layers(folder: Path, lock: str) -> tuple[float, float]:
    wheels(lock, LAMBDA_PLATFORM, folder)
    shutil.copytree(ROOT / "layers/core", folder, dirs_exist_ok=True, ignore=NOT_CODE)
    compile_code(folder, LAMBDA_PLATFORM)
    unpacked = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    archive = Path(shutil.make_archive(str(folder), "zip", folder))
    return archive.stat().st_size, unpacked / MB


@contextmanager
def empty_account() -> Iterator[int]:
    """Answer every call as an AWS in which there is nothing; give the port."""

    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    server.daemon_threads = True
    running = threading.Thread(target=server.serve_forever, args=(0.05,))
    running.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        running.join()
        server.server_close()
