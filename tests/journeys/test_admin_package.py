"""The admin function as it is packaged: its layers and its entry point alone, in a process of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from farebox.compose.deployment import Deployment, deployment_environment
from infra.bundle import ROOT, wheels
from infra.options import HOST_PLATFORM
from tests.support.dynamo import REGION, deployed
from tests.support.ministack import Ministack, ministack

__all__ = ["ministack"]

pytestmark = pytest.mark.journey

CALL = """
import json, sys
from handler import handler
print(json.dumps([handler(json.loads(event), None) for event in sys.argv[1:]]))
places = {name: str(getattr(module, "__file__", "")) for name, module in sys.modules.items()}
print(sorted(name for name, place in places.items() if "site-packages" in place))
"""


def test_the_first_admin_key_comes_out_of_the_package(ministack: Ministack, tmp_path: Path) -> None:
    wheels("functions.txt", HOST_PLATFORM, tmp_path)
    told = deployment_environment(Deployment("dev", deployed(ministack.port).names))
    packages = [ROOT / "functions/admin", ROOT / "layers/core/python", tmp_path / "python"]
    environment = {
        "PYTHONPATH": os.pathsep.join(map(str, packages)),
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{ministack.port}",
    }
    event = json.dumps({"farebox": "bootstrap"})
    # -S: without this environment's packages, so that what the layers lack is missed.
    called = subprocess.run(
        [sys.executable, "-S", "-c", CALL, event, event],
        env=environment | told,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert called.returncode == 0, called.stderr
    answers, foreign = called.stdout.splitlines()
    made, refused = json.loads(answers)
    assert made["admin_key"].startswith("fba-")
    assert "an admin key already" in refused["error"]
    assert foreign == "[]"
