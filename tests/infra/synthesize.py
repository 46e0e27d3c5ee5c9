"""Makes the stacks of two deployments, one to throw away and one whose data is kept: `synthesize FOLDER`.

A program of its own, so that jsii's Node starts once for all tests. Assets are not bundled: none is read.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import aws_cdk as cdk

from infra.deployment import build_stacks
from infra.options import read_options

ROOT = Path(__file__).parents[2]
STAGES: dict[str, dict[str, object]] = {
    "dev": {"bundle_platform": "host"},
    "prod": {
        "stage": "prod",
        "alert_emails": "finance@example.com",
        "alert_webhooks": "https://alerts.example.com/farebox",
        "tags": {"team": "platform"},
        "trusted_hosts": "*.models.corp.example",
    },
}


def main(folder: Path) -> None:
    """Synthesize each stage into a folder of its own."""
    flags = json.loads((ROOT / "cdk.json").read_text())["context"]
    for name, context in STAGES.items():
        everything = {**flags, **context, "aws:cdk:bundling-stacks": []}
        app = cdk.App(outdir=str(folder / name), context=everything)
        build_stacks(app, read_options(app.node.get_all_context()))
        app.synth()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
