"""Every template passes cfn-lint, and is made without asking AWS for anything."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.infra.conftest import ROOM, Cloud

LINT_S = 110.0
LINTED = ("dev", "prod")
"""The third stage has nothing that these have not."""

ACCEPTED = {
    # CDK makes a function wait for its role's policies by naming the role beside them, which is harmless.
    "W3005": "DependsOn",
}
"""Rules, and the part of a resource where a finding is accepted."""


@pytest.fixture(scope="session")
def lint(clouds: dict[str, Cloud]) -> list[dict[str, Any]]:
    """Give what cfn-lint finds in the templates; kept until they are made anew."""
    kept = ROOM / "lint.json"
    with (ROOM / "lint.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            templates = [path for stage in LINTED for path in sorted((ROOM / stage).glob("*.template.json"))]
            kept.write_text(_linted([str(path) for path in templates]))
    found: list[dict[str, Any]] = json.loads(kept.read_text())
    return found


def _linted(templates: list[str]) -> str:
    command = [
        str(Path(sys.executable).with_name("cfn-lint")),
        "--format",
        "json",
        "--non-zero-exit-code",
        "none",
    ]
    done = subprocess.run(
        [*command, "--template", *templates], capture_output=True, text=True, check=False, timeout=LINT_S
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_cloudformation_would_take_every_template(lint: list[dict[str, Any]]) -> None:
    unexpected = [
        f"{finding['Filename']} {finding['Rule']['Id']} {finding['Location']['Path']}: {finding['Message']}"
        for finding in lint
        if ACCEPTED.get(finding["Rule"]["Id"]) not in finding["Location"]["Path"]
    ]
    assert unexpected == []
    assert {finding["Rule"]["Id"] for finding in lint} == set(ACCEPTED)


def test_a_template_that_cloudformation_would_refuse_is_found(tmp_path: Path) -> None:
    template = tmp_path / "wrong.template.json"
    template.write_text(json.dumps({"Resources": {"Topic": {"Type": "AWS::SNS::Topic", "Propertys": {}}}}))
    assert [finding["Rule"]["Id"] for finding in json.loads(_linted([str(template)]))] == ["E3001"]


@pytest.mark.parametrize("stage", ["dev", "prod"])
def test_synthesis_asks_aws_for_nothing(clouds: dict[str, Cloud], stage: str) -> None:
    manifest = json.loads((clouds[stage].folder / "manifest.json").read_text())
    assert "missing" not in manifest
    stacks = [
        artifact
        for artifact in manifest["artifacts"].values()
        if artifact["type"] == "aws:cloudformation:stack"
    ]
    assert len(stacks) == len(clouds[stage].templates)
    assert {stack["environment"] for stack in stacks} == {"aws://unknown-account/unknown-region"}
