"""One execution environment: a process that runs only while it has an invocation."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol

from tests.support.cloud.invocation import Invocation
from tests.support.cloud.runtime_api import RuntimeApi

INIT_S = 10.0


class Sandbox(Protocol):
    """What an environment runs in."""

    async def start(self, runtime_api: str) -> None:
        """Start what will ask the Runtime API at this address for work."""

    def freeze(self) -> None: ...

    def thaw(self) -> None: ...

    def kill(self) -> None: ...

    async def ended(self) -> None:
        """Wait until nothing runs any more."""


class Deployed(Protocol):
    """A function as it was deployed: how long it may take, and what runs it."""

    @property
    def timeout_s(self) -> float: ...

    @property
    def grace_s(self) -> float:
        """How long behind its deadline it is killed: Lambda gives none, a loaded machine may need some."""

    def sandbox(self, folder: Path) -> Sandbox:
        """Make room for one more environment; `folder` is the function's own, and goes with it."""


@dataclass(frozen=True, slots=True)
class ZipFunction:
    """A function whose code and layers lie in folders, as the asset directories of a synthesized app do.

    It runs as on Lambda: the layers merged into one folder that stands for /opt, started through
    AWS_LAMBDA_EXEC_WRAPPER when the environment names one, with the environment given here and Lambda's own
    variables, and nothing else. `python` is the managed runtime's interpreter; one without packages proves
    that the assets bring all of theirs.
    """

    code: Path
    layers: Sequence[Path] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    handler: str = "handler.handler"
    timeout_s: float = 60.0
    grace_s: float = 0.0
    memory_mb: int = 1_024
    name: str = "farebox-proxy"
    python: str = sys.executable
    initialization: str = "on-demand"

    def sandbox(self, folder: Path) -> ProcessSandbox:
        opt = folder / "opt"
        if not opt.exists():
            for layer in self.layers:
                shutil.copytree(layer, opt, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
            opt.mkdir(exist_ok=True)
        return ProcessSandbox(self, opt, folder / "log")

    def command(self, opt: Path) -> list[str]:
        """Give what Lambda executes, /opt being elsewhere."""
        managed = [self.python, str(opt / "bootstrap.py")]
        wrapper = self.environment.get("AWS_LAMBDA_EXEC_WRAPPER")
        return [_moved(wrapper, opt), *managed] if wrapper else managed

    def variables(self, opt: Path, runtime_api: str) -> dict[str, str]:
        """Give the whole environment of a process."""
        return {
            "PATH": os.environ["PATH"],
            "LANG": "en_US.UTF-8",
            "TZ": ":UTC",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_SESSION_TOKEN": "test",
            **self.environment,
            "AWS_EXECUTION_ENV": "AWS_Lambda_python3.13",
            "AWS_LAMBDA_FUNCTION_NAME": self.name,
            "AWS_LAMBDA_FUNCTION_VERSION": "1",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(self.memory_mb),
            "AWS_LAMBDA_INITIALIZATION_TYPE": self.initialization,
            "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{self.name}",
            "AWS_LAMBDA_LOG_STREAM_NAME": "2026/11/27/[1]0123456789abcdef",
            "AWS_LAMBDA_RUNTIME_API": runtime_api,
            "LAMBDA_RUNTIME_DIR": str(opt),
            "LAMBDA_TASK_ROOT": str(self.code),
            "PYTHONPATH": str(opt),
            "_HANDLER": self.handler,
        }


class ProcessSandbox:
    """A process group, stopped with SIGSTOP where Lambda freezes."""

    def __init__(self, function: ZipFunction, opt: Path, log: Path) -> None:
        self._function, self._opt, self._log = function, opt, log
        self.process: asyncio.subprocess.Process | None = None

    async def start(self, runtime_api: str) -> None:
        with _appending(self._log) as log:
            self.process = await asyncio.create_subprocess_exec(
                *self._function.command(self._opt),
                cwd=self._function.code,
                env=self._function.variables(self._opt, runtime_api),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask it to stop, as Lambda does where an extension is registered."""
        self._signal(signal.SIGTERM)
        self.thaw()

    async def ended(self) -> None:
        if self.process is not None:
            await self.process.wait()

    def _signal(self, number: signal.Signals) -> None:
        if self.process is not None and self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)


class Environment:
    """Takes one invocation at a time; `is_alive` says whether it can take another."""

    def __init__(self, sandbox: Sandbox, timeout_s: float, grace_s: float = 0.0) -> None:
        self.api, self.sandbox = RuntimeApi(), sandbox
        self.is_alive, self.is_busy = True, False
        self._timeout_s, self._grace_s = timeout_s, grace_s
        self._ended: asyncio.Task[None] | None = None

    async def run(self, invocation: Invocation) -> None:
        """Carry one invocation from the thaw, or the start, to the freeze. It always has an ending then."""
        self.is_busy = True
        try:
            if self._ended is None:
                invocation.is_cold = True
                await self.start()
            else:
                self.sandbox.thaw()
            if self.is_alive:
                await self._work(invocation)
            else:
                await invocation.end("init", self.api.init_error)
        finally:
            self.is_busy = False

    async def start(self) -> None:
        """Start the process and wait until it asks for work, has given up, or had its ten seconds."""
        await self.api.open()
        await self.sandbox.start(self.api.address)
        self._ended = asyncio.create_task(self.sandbox.ended())
        await self._until(self.api.asked, INIT_S, or_event=self.api.failed_init)
        if self.api.asked.is_set():
            self.sandbox.freeze()
        else:
            await self.kill()

    async def kill(self) -> None:
        """End it as Lambda ends environments: at once."""
        self.is_alive = False
        self.sandbox.kill()
        await (self._ended or self.sandbox.ended())
        await self.api.close()

    async def _work(self, invocation: Invocation) -> None:
        self.sandbox.thaw()
        invocation.deadline_ms = int((time.time() + self._timeout_s) * 1_000)
        self.api.hand(invocation)
        await self._until(self.api.asked, self._timeout_s + self._grace_s)
        if self.api.asked.is_set():
            self.sandbox.freeze()
            return
        crashed = self._ended is not None and self._ended.done()
        await self.kill()
        await invocation.end("crash" if crashed else "timeout")

    async def _until(
        self, event: asyncio.Event, wait_s: float, or_event: asyncio.Event | None = None
    ) -> None:
        """Wait for an event, the end of the process, or the end of the time."""
        assert self._ended is not None
        waits = [asyncio.ensure_future(it.wait()) for it in (event, or_event) if it is not None]
        try:
            await asyncio.wait({*waits, self._ended}, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for waiting in waits:
                waiting.cancel()
            await asyncio.gather(*waits, return_exceptions=True)


def _moved(path: str, opt: Path) -> str:
    return str(opt / path.removeprefix("/opt/")) if path.startswith("/opt/") else path


def _appending(path: Path) -> IO[bytes]:
    return path.open("ab")
