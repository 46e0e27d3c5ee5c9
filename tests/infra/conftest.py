"""Synthesizes the stacks once for all test processes, and again only when what they are made from changes."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.infra.synthesize import ROOT, STAGES

ROOM = ROOT / ".tools" / "synth"
SOURCES = ("app.py", "cdk.json", "infra", "functions", "layers", "requirements", "tests/infra/synthesize.py")
SYNTH_S = 110.0

Resource = dict[str, Any]


@dataclass(frozen=True)
class Cloud:
    """One deployment as its templates."""

    folder: Path
    templates: dict[str, dict[str, Any]]
    findings: dict[str, Any]

    def resources(self, kind: str, part: str | None = None) -> dict[str, Resource]:
        """Give the resources of a kind, by logical id; of one stack where a part is named."""
        parts = [part] if part else list(self.templates)
        return {
            name: resource
            for one in parts
            for name, resource in self.templates[one]["Resources"].items()
            if resource["Type"] == kind
        }


@pytest.fixture(scope="session")
def clouds() -> dict[str, Cloud]:
    """Give every stage of `synthesize`."""
    folder = _synthesized()
    return {stage: _read(folder / stage, stage) for stage in STAGES}


@pytest.fixture
def dev(clouds: dict[str, Cloud]) -> Cloud:
    return clouds["dev"]


@pytest.fixture
def prod(clouds: dict[str, Cloud]) -> Cloud:
    return clouds["prod"]


@pytest.fixture
def lean(clouds: dict[str, Cloud]) -> Cloud:
    return clouds["lean"]


def _read(folder: Path, stage: str) -> Cloud:
    templates = {
        path.name.split(".")[0].removeprefix(f"farebox-{stage}-"): json.loads(path.read_text())
        for path in sorted(folder.glob("*.template.json"))
    }
    return Cloud(folder, templates, json.loads((folder / "validation-report.json").read_text()))


def _synthesized() -> Path:
    ROOM.parent.mkdir(exist_ok=True)
    with (ROOM.parent / "synth.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp, wanted = ROOM / "stamp", _digest()
        if not stamp.exists() or stamp.read_text() != wanted:
            shutil.rmtree(ROOM, ignore_errors=True)
            command = [str(ROOT / "tools/node"), sys.executable, "-m", "tests.infra.synthesize", str(ROOM)]
            # Neither credentials nor Docker: synthesis needs no account and no container.
            environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
            environment |= {"NODE_AT_LEAST": "22", "CDK_DOCKER": "false"}
            made = subprocess.run(
                command,
                cwd=ROOT,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
                timeout=SYNTH_S,
            )
            assert made.returncode == 0, made.stdout + made.stderr
            stamp.write_text(wanted)
    return ROOM


def _digest() -> str:
    whole = hashlib.sha256()
    for source in SOURCES:
        top = ROOT / source
        files = sorted(top.rglob("*")) if top.is_dir() else [top]
        for path in files:
            if path.is_file() and "__pycache__" not in path.parts:
                whole.update(str(path).encode() + b"\0" + path.read_bytes())
    return whole.hexdigest()
