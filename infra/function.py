"""Our Lambda function: a role that may do what is named and nothing else, logs that end, Python on arm64."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs

from infra.bundle import PYTHON, function_code
from infra.stack import Stack, acknowledge


class Function(lambda_.Function):
    """A function of `functions/NAME`. Its role may write its own log and what `rights` say."""

    def __init__(
        self,
        stack: Stack,
        name: str,
        description: str,
        *,
        layers: Sequence[lambda_.ILayerVersion],
        environment: Mapping[str, str],
        rights: Sequence[iam.PolicyStatement],
        timeout: cdk.Duration,
        memory_mb: int,
        reserved_concurrency: int = 0,
    ) -> None:
        part = "".join(word.capitalize() for word in name.split("_"))
        log = log_group(stack, f"{part}Log")
        role = iam.Role(
            stack,
            f"{part}Role",
            assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
            description=f"farebox {stack.options.stage}: what the {name} function may do",
        )
        write_log = iam.PolicyStatement(
            actions=["logs:CreateLogStream", "logs:PutLogEvents"], resources=[log.log_group_arn]
        )
        policy = iam.Policy(stack, f"{part}Policy", roles=[role], statements=[write_log, *rights])
        super().__init__(
            stack,
            f"{part}Function",
            description=f"farebox {stack.options.stage}: {description}",
            code=function_code(name),
            handler="handler.handler",
            runtime=lambda_.Runtime.PYTHON_3_13,
            architecture=lambda_.Architecture.ARM_64,
            layers=list(layers),
            environment={**environment, "FAREBOX_BUCKET_SHARDS": str(stack.options.bucket_shards)},
            role=role,
            timeout=timeout,
            memory_size=memory_mb,
            log_group=log,
            logging_format=lambda_.LoggingFormat.JSON,
            reserved_concurrent_executions=reserved_concurrency or None,
            current_version_options=lambda_.VersionOptions(removal_policy=cdk.RemovalPolicy.RETAIN),
        )
        # Lambda maps no source that the role may not read yet, and CloudFormation sees no order there.
        self.node.add_dependency(policy)
        self.policy = policy
        acknowledge(self, "L1", f"farebox is tested on Python {PYTHON}, and moves when its suite has.")


def log_group(stack: Stack, name: str) -> logs.LogGroup:
    """Make a log that ends after the days asked for, and with its stack where data is not kept."""
    made = logs.LogGroup(stack, name, removal_policy=stack.removal)
    plain = made.node.default_child
    assert isinstance(plain, logs.CfnLogGroup)
    # CDK's own property takes names such as ONE_MONTH; ours is the number of days that CloudWatch knows.
    plain.retention_in_days = stack.options.log_days
    return made
