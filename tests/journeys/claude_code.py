"""Runs the pinned Claude Code, headless, in an empty home, knowing nothing but its environment."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.house.tree import ROOT

CLAUDE = ROOT / "node_modules/.bin/claude"
TURN_S = 120.0

# The session must reach the gateway and nothing else.
QUIET = {
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_ERROR_REPORTING": "1",
    "DISABLE_TELEMETRY": "1",
}


def claude_path() -> str:
    """Give a PATH on which `claude` is the pinned one."""
    return f"{CLAUDE.parent}{os.pathsep}{os.environ['PATH']}"


@dataclass(frozen=True, slots=True)
class Turn:
    """What one `claude -p` printed and how it ended."""

    status: int
    result: Mapping[str, Any]
    errors: str

    @property
    def text(self) -> str:
        """What the person at the keyboard reads."""
        return str(self.result["result"])

    @property
    def session_id(self) -> str:
        return str(self.result["session_id"])


@dataclass(frozen=True, slots=True)
class ClaudeCode:
    """One installation: a home that starts empty, a project folder, and the environment of the gateway."""

    folder: Path
    environment: Mapping[str, str]

    @classmethod
    def pointed_at(cls, folder: Path, base_url: str, key: str, **environment: str) -> ClaudeCode:
        """Prepare the environment that `farebox serve` prints for a stored credential."""
        for name in ("home", "project"):
            (folder / name).mkdir(parents=True)
        gateway = {
            "ANTHROPIC_BASE_URL": base_url,
            "ANTHROPIC_AUTH_TOKEN": key,
            "CLAUDE_CODE_GATEWAY_HINT_HEADERS": "1",
        }
        home = {"PATH": os.environ["PATH"], "HOME": str(folder / "home")}
        return cls(folder, {**home, **QUIET, **gateway, **environment})

    def say(self, prompt: str, *arguments: str) -> Turn:
        """Run `claude -p` to its end; tools may run `Bash` without asking."""
        done = subprocess.run(
            [str(CLAUDE), "-p", prompt, "--output-format", "json", "--allowedTools", "Bash", *arguments],
            cwd=self.folder / "project",
            env=dict(self.environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TURN_S,
            check=False,
        )
        assert done.stdout.startswith("{"), f"claude printed {done.stdout!r} and {done.stderr!r}"
        return Turn(done.returncode, json.loads(done.stdout), done.stderr)

    def resume(self, turn: Turn, prompt: str) -> Turn:
        """Go on with the session of an earlier turn."""
        return self.say(prompt, "--resume", turn.session_id)
