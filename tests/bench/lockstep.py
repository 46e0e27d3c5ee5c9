"""Counts the user-space instructions of a whole streaming program under callgrind, repeatably.

Client and upstream are one thread here that moves in lockstep with the program: it sends an event and reads
it at the other end before it sends the next. So each is a wake-up of its own, however slow valgrind is.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.bench.client import HOST, LAST_BYTES, WAIT_S
from tests.bench.gateway import Gateway, start_gateway
from tests.bench.payload import DELTAS, answer_events, http_request, request_body
from tests.bench.programs import Workshop

ANSWER_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"request-id: req_bench\r\ntransfer-encoding: chunked\r\n\r\n"
)
# The first requests also pay for what the interpreter specialises and the pools and caches fill.
WARM_UP_REQUESTS = 2

Start = Callable[[int, Sequence[str]], Gateway]
"""Starts a program in front of an upstream's port, under a command."""


@dataclass(frozen=True, slots=True)
class Count:
    """Instructions of one streamed event, and of one request without its deltas."""

    per_event: float
    per_request: float


def has_valgrind() -> bool:
    """Say whether instructions can be counted here."""
    return bool(shutil.which("valgrind") and shutil.which("vgdb"))


def gateway_instructions(workshop: Workshop, *, rounds: int = 1) -> Count:
    """Count for `farebox serve` with everything on."""
    return _counted(workshop, lambda port, under: start_gateway(workshop, port, under=under), rounds)


def passthrough_instructions(workshop: Workshop, *, rounds: int = 1) -> Count:
    """Count for the aiohttp pass-through."""
    return _counted(
        workshop, lambda port, under: Gateway(workshop.passthrough(port, under=under), ""), rounds
    )


def _counted(workshop: Workshop, start: Start, rounds: int) -> Count:
    """Compare answers of 300 and of 600 deltas: the least of the rounds of each."""
    with Lockstep(workshop.new_path("callgrind"), start) as lockstep:
        for _ in range(WARM_UP_REQUESTS):
            lockstep.ask(DELTAS)
        pairs = [(lockstep.counted(DELTAS), lockstep.counted(2 * DELTAS)) for _ in range(rounds)]
    shorter, longer = (min(counts) for counts in zip(*pairs, strict=True))
    per_event = (longer - shorter) / DELTAS
    return Count(per_event, shorter - per_event * DELTAS)


class Lockstep:
    """A program under callgrind with both of its ends in one hand. It runs uncounted until it has started."""

    def __init__(self, counts: Path, start: Start) -> None:
        self._listener = socket.create_server((HOST, 0))
        self._listener.settimeout(WAIT_S)
        self._counts = counts
        self._dumps = 0
        under = ("valgrind", "--tool=callgrind", "--instr-atstart=no", "--quiet")
        started = start(self._listener.getsockname()[1], [*under, f"--callgrind-out-file={counts}"])
        self._program, self._key = started.program, started.key
        self._client = socket.create_connection((HOST, self._program.port), WAIT_S)
        self._upstream: socket.socket | None = None
        self._control("instrumentation on")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        for end in (self._client, self._upstream, self._listener):
            if end is not None:
                end.close()

    def counted(self, deltas: int) -> int:
        """Give the instructions of one request."""
        self._control("zero")
        self.ask(deltas)
        self._control("dump")
        self._dumps += 1
        return total(self._counts.with_name(f"{self._counts.name}.{self._dumps}"), "summary:")

    def ask(self, deltas: int) -> None:
        """Play one request from both ends."""
        body = request_body()
        self._client.sendall(http_request(self._program.port, self._key, body))
        if self._upstream is None:
            self._upstream, _ = self._listener.accept()
            self._upstream.settimeout(WAIT_S)
        _read_until(self._upstream, body)
        head = ANSWER_HEAD
        for event in answer_events(deltas):
            self._upstream.sendall(head + b"%x\r\n%b\r\n" % (len(event), event))
            _read_until(self._client, event)
            head = b""
        self._upstream.sendall(LAST_BYTES)
        _read_until(self._client, LAST_BYTES)

    def _control(self, command: str) -> None:
        order = ["vgdb", f"--pid={self._program.pid}", command]
        subprocess.run(order, check=True, capture_output=True, timeout=WAIT_S)


def total(path: Path, label: str) -> int:
    """Read the sum of a file that callgrind or cachegrind wrote."""
    for line in path.read_text().splitlines():
        if line.startswith(label):
            return int(line.split()[1])
    raise RuntimeError(f"{path} has no {label}")


def _read_until(end: socket.socket, wanted: bytes) -> None:
    text = b""
    while wanted not in text:
        piece = end.recv(65_536)
        if not piece:
            raise RuntimeError(f"the program hung up after {text!r}")
        text += piece
