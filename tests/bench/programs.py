"""The processes of the bench: compiles the C ones, starts all, reads what each has used, ends them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.bench.payload import write_frames

HERE = Path(__file__).parent
STOP_S = 10.0
NANOSECONDS_PER_MS = 1_000_000
STEADY: Mapping[str, str] = {"PYTHONHASHSEED": "0"}
"""What makes two runs of a Python program execute the same instructions."""


@dataclass(frozen=True, slots=True)
class Program:
    """A running process that listens on loopback."""

    name: str
    pid: int
    port: int

    def cpu_ms(self) -> float:
        """Give the CPU time of all its threads so far, from the scheduler's own statistics."""
        tasks = Path(f"/proc/{self.pid}/task").iterdir()
        return sum(_first_number(task / "schedstat") for task in tasks) / NANOSECONDS_PER_MS

    def rss_kb(self) -> int:
        """Give the resident memory."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        raise RuntimeError(f"{self.name} has no resident memory")


class Workshop:
    """Owns a folder and every process started from it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._started = ExitStack()
        self._instances = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._started.close()

    def source(
        self,
        events: Sequence[bytes],
        *,
        gap_us: int = 0,
        hold_after: int = 0,
        content_type: str = "text/event-stream; charset=utf-8",
    ) -> Program:
        """Start an upstream; see source.c for what the numbers mean."""
        frames = self.new_path("frames")
        write_frames(frames, events)
        numbers = [str(gap_us), str(hold_after)]
        return self._start("source", [self._compiled("source"), str(frames), *numbers, content_type])

    def pump(self, upstream_port: int) -> Program:
        """Start the floor."""
        return self._start("C byte pump", [self._compiled("pump"), str(upstream_port)])

    def passthrough(self, upstream_port: int, *, under: Sequence[str] = ()) -> Program:
        """Start the empty ASGI and aiohttp pass-through."""
        arguments = [*under, sys.executable, "-m", "tests.bench.passthrough", str(upstream_port)]
        return self._start("aiohttp pass-through", arguments)

    def _start(self, name: str, arguments: Sequence[str]) -> Program:
        process = self.spawn(arguments)
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.strip().isdigit():
            raise RuntimeError(f"{name} did not start: {line!r}")
        return Program(name, process.pid, int(line))

    def spawn(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str] | None = None,
        *,
        output: Path | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a process that ends with this workshop. Its output goes to a file, else to us."""
        with ExitStack() as files:
            process = subprocess.Popen(
                arguments,
                cwd=HERE.parents[1],
                env={**os.environ, **STEADY, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=files.enter_context(output.open("wb")) if output else subprocess.PIPE,
                stderr=subprocess.STDOUT if output else None,
            )
        self._started.callback(stop, process)
        return process

    def _compiled(self, name: str) -> str:
        program = self.folder / name
        if not program.exists():
            if not shutil.which("cc"):
                raise RuntimeError("the floors of the bench are C programs, and there is no `cc` here")
            subprocess.run(["cc", "-O2", "-o", str(program), str(HERE / f"{name}.c")], check=True)
        return str(program)

    def new_path(self, stem: str) -> Path:
        """Give a path in the folder that nothing has yet."""
        self._instances += 1
        return self.folder / f"{stem}{self._instances}"


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process, politely first."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(STOP_S)
    if process.stdout:
        process.stdout.close()


def _first_number(path: Path) -> int:
    return int(path.read_text().split()[0])
