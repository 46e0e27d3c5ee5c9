"""Every stack passes the security checks, and what is accepted says why."""

from __future__ import annotations

import pytest

from tests.infra.conftest import Cloud

BEDROCK = "AwsSolutions-IAM5[Resource::arn:<AWS::Partition>:bedrock:*:"
ACCEPTED = {
    f"{BEDROCK}:foundation-model/anthropic.*]": {"gateway/ProxyPolicy"},
    f"{BEDROCK}<AWS::AccountId>:inference-profile/*anthropic.*]": {"gateway/ProxyPolicy"},
    f"{BEDROCK}<AWS::AccountId>:application-inference-profile/*]": {"gateway/ProxyPolicy"},
    "AwsSolutions-L1": {"gateway/AdminFunction", "gateway/ProxyFunction"},
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
        found.setdefault(finding["ruleName"], set()).add(place)
    assert found == ACCEPTED
