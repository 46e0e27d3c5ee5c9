"""From clone to an applied policy: the CDK CLI deploys the real app into an emulated account."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.infra.synthesize import ROOT
from tests.support.dynamo import REGION
from tests.support.ministack import Ministack, whole_ministack

__all__ = ["whole_ministack"]

pytestmark = pytest.mark.journey

ACCOUNT = "000000000000"
POLICY = """
providers:
  - {slug: main, type: anthropic, credential: "secretsmanager:farebox/dev/anthropic"}
keys:
  - {name: alice, user: alice@example.com}
budgets:
  - {name: key-day, scope: {key: "*"}, usd: 20, period: day}
"""


class Operator:
    """Somebody with the account's credentials and a clone."""

    def __init__(self, port: int, folder: Path) -> None:
        self.folder = folder
        self.endpoint = f"http://127.0.0.1:{port}"
        # What says where packages come from stays; the machine's own AWS settings do not leak in.
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
            "HOME": str(folder),
            "NODE_AT_LEAST": "22",
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_ACCESS_KEY_ID": ACCOUNT,
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": REGION,
            "CDK_DISABLE_VERSION_CHECK": "1",
            "CDK_DISABLE_CLI_TELEMETRY": "true",
        }

    def cdk(self, *arguments: str) -> None:
        # Data is kept, since what empties a bucket on the way out needs a runtime that the emulator lacks.
        context = ("-c", "bundle_platform=host", "-c", "keep_data=true")
        done = self._run("tools/node", "node_modules/.bin/cdk", *arguments, *context, "--output", "out")
        assert done.returncode == 0, done.stdout + done.stderr

    def farebox(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self._run(".venv/bin/farebox", *arguments)

    def told(self, *arguments: str) -> dict[str, Any]:
        """Give what a command that succeeds says with `--json`."""
        done = self.farebox(*arguments, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        said: dict[str, Any] = json.loads(done.stdout)
        return said

    def _run(self, *command: str) -> subprocess.CompletedProcess[str]:
        words = [str(self.folder / "out") if word == "out" else word for word in command]
        return subprocess.run(
            words,
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )


def test_a_deployment_takes_a_policy_from_its_first_admin_key(
    whole_ministack: Ministack, tmp_path: Path
) -> None:
    operator = Operator(whole_ministack.port, tmp_path)
    operator.cdk("bootstrap", f"aws://{ACCOUNT}/{REGION}")
    operator.cdk("deploy", "--all", "--require-approval", "never")

    made = operator.told("bootstrap", "--region", REGION)
    again = operator.farebox("bootstrap", "--region", REGION)
    assert again.returncode != 0
    assert "has an admin key already: 'first'" in again.stderr

    # The emulator serves function URLs under a path of its own.
    host = made["admin_url"].removeprefix("https://")
    operator.environment["FAREBOX_URL"] = f"{operator.endpoint}/_aws/lambda-url/{host.split('.')[0]}"
    operator.environment["FAREBOX_ADMIN_KEY"] = made["admin_key"]
    (tmp_path / "farebox.yaml").write_text(POLICY)
    applied = operator.told("apply", str(tmp_path / "farebox.yaml"))
    [alice] = applied["created_keys"]
    assert alice["name"] == "alice"
    assert alice["key"].startswith("fb-")
    rows = operator.told("keys", "list")["rows"]
    assert [row["name"] for row in rows] == ["alice"]
