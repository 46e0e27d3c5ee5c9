"""Every stack passes the security checks, and what is accepted says why."""

from __future__ import annotations

import pytest

from tests.infra.conftest import Cloud

BEDROCK = "AwsSolutions-IAM5[Resource::arn:<AWS::Partition>:bedrock:*:"
PLACES = {
    "AwsSolutions-IAM5[Resource::arn:<AWS::Partition>:bedrock-mantle:*:<AWS::AccountId>:project/default]",
    "AwsSolutions-IAM5[Resource::arn:<AWS::Partition>:aws-external-anthropic:*:<AWS::AccountId>:"
    "workspace/wrkspc_01Ab]",
}
"""Of a deployment that asks for them."""

USAGE_TABLE = "farebox-STAGE-storage:ExportsOutputFnGetAttUsageTable28300137Arn3C045811"
ACCEPTED = {
    f"{BEDROCK}:foundation-model/anthropic.*]": {"gateway/ProxyPolicy"},
    f"{BEDROCK}<AWS::AccountId>:inference-profile/*anthropic.*]": {"gateway/ProxyPolicy"},
    f"{BEDROCK}<AWS::AccountId>:application-inference-profile/*]": {"gateway/ProxyPolicy"},
    "AwsSolutions-IAM5[Resource::"
    "farebox-STAGE-storage:ExportsOutputFnGetAttCacheBucket41D9D0B0Arn077A2DAC/answers/*]": {
        "gateway/ProxyPolicy"
    },
    f"AwsSolutions-IAM5[Resource::{USAGE_TABLE}/stream/*]": {"jobs/LedgerRelayPolicy"},
    "AwsSolutions-L1": {
        "gateway/AdminFunction",
        "gateway/ProxyFunction",
        "jobs/LedgerRelayFunction",
        "jobs/UsageAggregatorFunction",
        "jobs/BudgetNotifierFunction",
        "jobs/HoldSweeperFunction",
    },
    "AwsSolutions-SQS3": {"jobs/LedgerRelayDeadLetters", "jobs/HoldSweeperDeadLetters"},
    "AwsSolutions-SMG4": {"storage/anthropicSecret"},
}


@pytest.mark.parametrize("stage", ["dev", "prod"])
def test_the_checks_find_nothing_but_what_is_accepted(clouds: dict[str, Cloud], stage: str) -> None:
    [report] = clouds[stage].findings["pluginReports"]
    assert report["pluginName"] == "AwsSolutions"
    assert report["violations"] == []
    found: dict[str, set[str]] = {}
    for finding in report["suppressedViolations"]:
        assert len(finding["reason"]) > 20
        place = finding["acknowledgedAt"].removeprefix(f"farebox-{stage}-")
        rule = finding["ruleName"].replace(f"farebox-{stage}-", "farebox-STAGE-")
        found.setdefault(rule, set()).add(place)
    asked_for = PLACES if stage == "prod" else set()
    assert found == {**ACCEPTED, **{rule: {"gateway/ProxyPolicy"} for rule in asked_for}}
