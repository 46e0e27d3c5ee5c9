"""A function as the CDK CLI has packaged and deployed it: folders of its assets, variables of the account."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.cloud.environment import ZipFunction

# The interpreter behind the virtual environment has no packages: what the layers lack is missed.
BARE_PYTHON = str(getattr(sys, "_base_executable", sys.executable))


class Assembly:
    """What a `cdk deploy` left in its output folder, of one stack."""

    def __init__(self, folder: Path, stack: str) -> None:
        self._folder = folder
        self._template: dict[str, Any] = json.loads((folder / f"{stack}.template.json").read_text())

    def function(self, name: str, variables: Mapping[str, str]) -> ZipFunction:
        """Give the function whose logical id begins with `name`, with these variables."""
        [made] = [
            resource["Properties"]
            for logical, resource in self._template["Resources"].items()
            if resource["Type"] == "AWS::Lambda::Function" and logical.startswith(name)
        ]
        layers = [self._template["Resources"][layer["Ref"]]["Properties"] for layer in made["Layers"]]
        return ZipFunction(
            code=self._asset(made["Code"]),
            layers=[self._asset(layer["Content"]) for layer in layers],
            environment=variables,
            handler=made["Handler"],
            timeout_s=made["Timeout"],
            memory_mb=made["MemorySize"],
            python=BARE_PYTHON,
        )

    def _asset(self, code: Mapping[str, Any]) -> Path:
        return self._folder / f"asset.{Path(code['S3Key']).stem}"
