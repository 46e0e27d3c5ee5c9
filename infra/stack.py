"""What all our stacks have in common, and how a finding of cdk-nag is acknowledged."""

from __future__ import annotations

import aws_cdk as cdk
from constructs import IConstruct

from farebox.compose.deployment import stack_name
from infra.options import Options


class Stack(cdk.Stack):
    """A stack of one deployment, named 'farebox-STAGE-PART'."""

    def __init__(self, app: cdk.App, options: Options, part: str, description: str) -> None:
        env = cdk.Environment(account=options.account, region=options.region) if options.account else None
        super().__init__(
            app,
            stack_name(options.stage, part),
            description=f"farebox {options.stage}: {description}",
            env=env,
            # What a stack keeps when it is deleted would be in the way of the next deployment, so it stays.
            termination_protection=options.keep_data and part == "storage",
        )
        self.options = options
        self.removal = cdk.RemovalPolicy.RETAIN if options.keep_data else cdk.RemovalPolicy.DESTROY


def acknowledge(place: IConstruct, rule: str, reason: str) -> None:
    """Accept one finding of cdk-nag at one place; the report lists it with the reason."""
    # With the pack's prefix, since a finding that is acknowledged without it leaves no trace in the report.
    cdk.Validations.of(place).acknowledge(
        cdk.Acknowledgment(id=f"AwsSolutions::AwsSolutions-{rule}", reason=reason)
    )
