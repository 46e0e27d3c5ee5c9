"""The function of CDK's that empties buckets before they are deleted, held to leave no log behind."""

from __future__ import annotations

import aws_cdk as cdk

from infra.function import log_group
from infra.stack import Stack

_PROVIDER = "Custom::S3AutoDeleteObjectsCustomResourceProvider"
"""What CDK calls it in a stack, where a bucket has `auto_delete_objects`."""


def bound_log_of_emptying(stack: Stack) -> None:
    """Give the function a log of the stack's own, and take its right to make others.

    Lambda would make a log group at the first call, which the stack does not know and so never deletes.
    """
    provider = stack.node.find_child(_PROVIDER)
    function, role = provider.node.find_child("Handler"), provider.node.find_child("Role")
    assert isinstance(function, cdk.CfnResource)
    assert isinstance(role, cdk.CfnResource)
    log = log_group(stack, "EmptyingLog")
    function.add_property_override("LoggingConfig", {"LogGroup": log.log_group_name})
    role.add_property_deletion_override("ManagedPolicyArns")
    write_log = {
        "Effect": "Allow",
        "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
        "Resource": log.log_group_arn,
    }
    document = {"Version": "2012-10-17", "Statement": [write_log]}
    role.add_property_override("Policies", [{"PolicyName": "WriteLog", "PolicyDocument": document}])
