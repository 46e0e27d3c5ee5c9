"""The CDK app: reads the options of one deployment and makes its stacks."""

from __future__ import annotations

import sys

import aws_cdk as cdk

from infra.deployment import build_stacks
from infra.options import OptionInvalid, read_options


def main() -> None:
    """Synthesize into the folder that the CDK CLI names."""
    app = cdk.App()
    try:
        options = read_options(app.node.get_all_context())
    except OptionInvalid as error:
        sys.exit(f"farebox: {error}")
    build_stacks(app, options)
    app.synth()


if __name__ == "__main__":
    main()
