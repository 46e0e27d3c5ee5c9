"""Makes the stacks of three deployments, to throw away, to keep, and with little: `synthesize FOLDER`.

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
        "mantle_projects": "default",
        "anthropic_workspaces": "wrkspc_01Ab",
        "assume_roles": "arn:aws:iam::123456789012:role/claude",
    },
    # In an account that can reserve nothing, for somebody who has dashboards enough.
    "lean": {
        "stage": "lean",
        "admin_concurrency": 0,
        "job_concurrency": 0,
        "concurrency_quota": 10,
        "dashboards": "false",
        "alert_emails": "finance@example.com",
        "alarm_emails": "operators@example.com",
        "alarm_usd_per_hour": "0",
        "alarm_first_token_ms": "0",
        "runbook": "https://wiki.example.com/farebox",
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
