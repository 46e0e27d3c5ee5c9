"""Which process holds what: a name for a process that outlives it, and whether it is still there."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

from msgspec import Struct

_PROC = Path("/proc")


class ProcessToken(Struct, frozen=True):
    """One process on one machine since one boot. `started` tells it from a later one of the same number."""

    machine: str
    pid: int
    started: str


def this_process() -> ProcessToken:
    """Name the calling process."""
    return token_of(os.getpid())


def token_of(pid: int) -> ProcessToken:
    """Name a process of this machine."""
    return ProcessToken(_machine(), pid, _started(pid))


def is_known_dead(token: ProcessToken, seen_from: ProcessToken) -> bool:
    """Say whether the process is gone for sure; False whenever that cannot be known from here.

    Processes of another machine, boot or pid namespace (a container beside us on the same volume) cannot be
    judged.
    """
    if token.machine != seen_from.machine:
        return False
    if sys.platform == "win32":  # there os.kill ends the process, whatever the signal
        return False
    try:
        os.kill(token.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    started = _started(token.pid)
    return bool(token.started and started and started != token.started)


def _machine() -> str:
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink(_PROC / 'self/ns/pid')}"
    except OSError:
        return f"{sys.platform} {socket.gethostname()}"


def _started(pid: int) -> str:
    """Give the start time in clock ticks since boot, '' where the system does not tell.

    Source: proc_pid_stat(5), field 22. Field 2, the name, may hold spaces and brackets: count from its end.
    One that has ended but was not yet reaped by its parent ('Z' in field 3) counts as ended.
    """
    try:
        stat = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    return "ended" if fields[0] in "ZX" else fields[19]
