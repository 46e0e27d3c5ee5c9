"""Over every stack: one role a function, each right named, what is kept reached only over TLS."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from infra.options import UNRESERVED_MIN, Options
from tests.infra.conftest import Cloud
from tests.infra.parts import listed

FUNCTION = "AWS::Lambda::Function"
EMPTYING = "CustomS3AutoDeleteObjectsCustomResourceProvider"
QUOTA = 1_000


def every_statement(cloud: Cloud) -> list[dict[str, Any]]:
    """Give all that roles may do: of policies beside them and in them."""
    apart = [policy["Properties"] for policy in cloud.resources("AWS::IAM::Policy").values()]
    within = [
        policy
        for role in cloud.resources("AWS::IAM::Role").values()
        for policy in role["Properties"].get("Policies", [])
    ]
    return [statement for policy in (*apart, *within) for statement in policy["PolicyDocument"]["Statement"]]


@pytest.mark.parametrize("stage", ["dev", "prod"])
def test_every_function_has_a_role_of_its_own(clouds: dict[str, Cloud], stage: str) -> None:
    cloud = clouds[stage]
    roles = Counter(json.dumps(each["Properties"]["Role"]) for each in cloud.resources(FUNCTION).values())
    assert len(roles) == len(cloud.resources("AWS::IAM::Role"))
    assert set(roles.values()) == {1}


@pytest.mark.parametrize("stage", ["dev", "prod"])
def test_no_role_has_a_policy_that_aws_writes(clouds: dict[str, Cloud], stage: str) -> None:
    for role in clouds[stage].resources("AWS::IAM::Role").values():
        assert "ManagedPolicyArns" not in role["Properties"]
        [trusted] = role["Properties"]["AssumeRolePolicyDocument"]["Statement"]
        assert trusted["Principal"] == {"Service": "lambda.amazonaws.com"}


@pytest.mark.parametrize("stage", ["dev", "prod"])
def test_no_right_is_to_everything_and_none_to_whole_services(clouds: dict[str, Cloud], stage: str) -> None:
    found = every_statement(clouds[stage])
    assert len(found) > 20
    for statement in found:
        assert statement["Effect"] == "Allow"
        assert "NotAction" not in statement
        assert "NotResource" not in statement
        assert [action for action in listed(statement["Action"]) if "*" in action] == []
        assert "*" not in listed(statement["Resource"])


def test_no_function_may_make_a_log_group_or_delete_a_table(dev: Cloud) -> None:
    actions = {action for statement in every_statement(dev) for action in listed(statement["Action"])}
    assert "logs:CreateLogGroup" not in actions
    services = {action.partition(":")[0] for action in actions}
    assert services <= {"bedrock", "dynamodb", "events", "logs", "s3", "secretsmanager", "sns", "sqs"}
    assert {action for action in actions if "Table" in action or "Bucket" in action} == set()


@pytest.mark.parametrize("kind", ["AWS::S3::BucketPolicy", "AWS::SQS::QueuePolicy", "AWS::SNS::TopicPolicy"])
def test_nothing_is_reached_without_tls(prod: Cloud, kind: str) -> None:
    policies = prod.resources(kind)
    assert policies
    for policy in policies.values():
        refused = [
            each.get("Condition")
            for each in policy["Properties"]["PolicyDocument"]["Statement"]
            if each["Effect"] == "Deny"
        ]
        assert {"Bool": {"aws:SecureTransport": "false"}} in refused


def test_nobody_outside_of_the_account_is_let_in_but_through_the_two_urls(prod: Cloud) -> None:
    """The functions behind them check a key first."""
    opened = [
        each["Properties"]
        for each in prod.resources("AWS::Lambda::Permission").values()
        if each["Properties"]["Principal"] == "*"
    ]
    assert {each["Action"] for each in opened} == {"lambda:InvokeFunctionUrl", "lambda:InvokeFunction"}
    assert all(
        each.get("FunctionUrlAuthType") == "NONE" or each.get("InvokedViaFunctionUrl") is True
        for each in opened
    )
    assert len(opened) == 4
    for kind in ("AWS::S3::BucketPolicy", "AWS::SQS::QueuePolicy", "AWS::SNS::TopicPolicy"):
        for policy in prod.resources(kind).values():
            for statement in policy["Properties"]["PolicyDocument"]["Statement"]:
                if statement["Effect"] == "Allow":
                    assert "Service" in statement["Principal"], statement
                    assert "Condition" in statement, statement


def test_only_the_proxy_lives_on_what_nobody_reserved(dev: Cloud) -> None:
    reserved = {
        name: each["Properties"].get("ReservedConcurrentExecutions", 0)
        for name, each in dev.resources(FUNCTION).items()
        if not name.startswith(EMPTYING)
    }
    assert [name for name, count in reserved.items() if not count and not name.startswith("Proxy")] == []
    assert sum(reserved.values()) == Options().reserved <= QUOTA - UNRESERVED_MIN


def test_an_account_that_can_reserve_nothing_can_deploy(lean: Cloud) -> None:
    for function in lean.resources(FUNCTION).values():
        assert "ReservedConcurrentExecutions" not in function["Properties"]


@pytest.mark.parametrize("stage", ["dev", "prod"])
def test_no_function_is_made_before_its_role_may_do_its_work(clouds: dict[str, Cloud], stage: str) -> None:
    # Lambda refuses to map a queue or a stream to a function whose role may not read it yet.
    for part, template in clouds[stage].templates.items():
        resources = template["Resources"]
        for name, function in clouds[stage].resources(FUNCTION, part).items():
            role = function["Properties"]["Role"]["Fn::GetAtt"][0]
            policies = {
                policy
                for policy, made in resources.items()
                if made["Type"] == "AWS::IAM::Policy" and {"Ref": role} in made["Properties"]["Roles"]
            }
            assert policies or EMPTYING in name
            assert policies <= set(listed(function.get("DependsOn", []))), name
