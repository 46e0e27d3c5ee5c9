"""Environments of their own, for what cannot share one with our tests: one a lock in requirements/apart."""

from __future__ import annotations

import fcntl
import subprocess
import sys
import zlib
from pathlib import Path

ROOT = Path(__file__).parents[2]
INSTALL_S = 100.0


def environment_apart(name: str) -> Path:
    """Give the folder of programs of an environment that holds what its lock says.

    It is made once, also when several processes want it at the same time. Raises `OSError` or
    `subprocess.SubprocessError` where it cannot be made.
    """
    requirements, room = ROOT / "requirements" / "apart" / f"{name}.txt", ROOT / ".tools" / name
    stamp, wanted = room / ".stamp", str(zlib.crc32(requirements.read_bytes()))
    room.parent.mkdir(exist_ok=True)
    with (room.parent / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_text() != wanted:
            uv = [str(ROOT / "tools" / "uv")]
            _run(*uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(room))
            into = ("--python", str(room / "bin" / "python"), "--link-mode", "copy")
            _run(*uv, "pip", "install", "--quiet", *into, "--require-hashes", "-r", str(requirements))
            stamp.write_text(wanted)
    return room / "bin"


def _run(*command: str) -> None:
    subprocess.run(command, check=True, timeout=INSTALL_S, stdin=subprocess.DEVNULL, cwd=ROOT)
