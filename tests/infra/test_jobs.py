"""What runs behind requests: who wakes it, how often it tries, where what it cannot do is put aside."""

from __future__ import annotations

import json
from typing import Any

import pytest

from farebox.compose.deployment import load_deployment
from farebox.jobs.relay import CORRECTED, FINISHED, REPLAYED
from tests.infra.conftest import Cloud
from tests.infra.parts import function, listed, part, statements
from tests.infra.synthesize import ROOT

JOBS = ("ledger_relay", "usage_aggregator", "budget_notifier", "hold_sweeper")
MAPPING = "AWS::Lambda::EventSourceMapping"
QUEUE = "AWS::SQS::Queue"
RULE = "AWS::Events::Rule"


def told(cloud: Cloud, name: str) -> dict[str, str]:
    variables = function(cloud, name)["Environment"]["Variables"]
    return {variable: json.dumps(value) for variable, value in variables.items()} | {"AWS_REGION": "here"}


def queues(cloud: Cloud, ending: str) -> dict[str, dict[str, Any]]:
    found = cloud.resources(QUEUE, "jobs").items()
    return {name: made["Properties"] for name, made in found if ending in name}


def test_each_function_is_told_what_it_needs_and_no_credential(dev: Cloud) -> None:
    parts = {name: load_deployment(told(dev, name)) for name in JOBS}
    assert {name for name in JOBS if parts[name].event_bus} == {"ledger_relay"}
    assert {name for name in JOBS if parts[name].alert_topic_arn} == {"budget_notifier", "hold_sweeper"}
    assert {name for name in JOBS if any(parts[name].dead_letter_queues)} == {"hold_sweeper"}
    assert all(parts[name].admin_url and parts[name].secret_prefix is None for name in JOBS)
    assert load_deployment(told(dev, "admin")).event_bus == '"farebox-dev"'


def test_the_sweeper_watches_every_queue_of_dead_letters(dev: Cloud) -> None:
    said = json.dumps(function(dev, "hold_sweeper")["Environment"])
    assert len(queues(dev, "DeadLetters")) == len(JOBS)
    assert all(name in said for name in queues(dev, "DeadLetters"))


def test_the_relay_hears_of_new_rows_and_loses_none_to_one_that_is_bad(dev: Cloud) -> None:
    mapping = part(dev, MAPPING, "ledger_relay")
    assert "UsageTable" in json.dumps(mapping["EventSourceArn"])
    assert (mapping["StartingPosition"], mapping["BisectBatchOnFunctionError"]) == ("TRIM_HORIZON", True)
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert (mapping["MaximumRetryAttempts"], mapping["MaximumRecordAgeInSeconds"]) == (20, 6 * 3600)
    assert json.loads(mapping["FilterCriteria"]["Filters"][0]["Pattern"]) == {"eventName": ["INSERT"]}
    assert "LedgerRelayDeadLetters" in json.dumps(mapping["DestinationConfig"]["OnFailure"])


@pytest.mark.parametrize(("name", "batch"), [("usage_aggregator", 100), ("budget_notifier", 20)])
def test_a_message_is_tried_five_times_and_put_aside(dev: Cloud, name: str, batch: int) -> None:
    mapping, made = part(dev, MAPPING, name), function(dev, name)
    assert (mapping["BatchSize"], mapping["ScalingConfig"]) == (batch, {"MaximumConcurrency": 2})
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    [queue] = [each for logical, each in queues(dev, "Queue").items() if logical in json.dumps(mapping)]
    assert queue["RedrivePolicy"]["maxReceiveCount"] == 5
    assert queue["VisibilityTimeout"] >= 6 * made["Timeout"]
    assert made["ReservedConcurrentExecutions"] > mapping["ScalingConfig"]["MaximumConcurrency"]


def test_rules_take_what_the_relay_says(dev: Cloud) -> None:
    rules = [rule["Properties"] for rule in dev.resources(RULE, "jobs").values()]
    patterns = [rule["EventPattern"] for rule in rules if "EventPattern" in rule]
    expected = {"source": ["farebox"], "detail-type": [FINISHED, CORRECTED, REPLAYED]}
    assert patterns == [expected, expected]
    assert [rule["ScheduleExpression"] for rule in rules if "EventPattern" not in rule] == ["rate(1 minute)"]
    assert all("DeadLetterConfig" in target for rule in rules for target in rule["Targets"])


def test_what_waits_is_encrypted_and_sent_encrypted(dev: Cloud) -> None:
    assert all(queue["SqsManagedSseEnabled"] for queue in queues(dev, "").values())
    policies = dev.resources("AWS::SQS::QueuePolicy", "jobs")
    assert len(policies) == len(queues(dev, ""))
    for policy in policies.values():
        assert "aws:SecureTransport" in json.dumps(policy)
    assert "alias/aws/sns" in json.dumps(part(dev, "AWS::SNS::Topic", "alert")["KmsMasterKeyId"])


def test_those_whom_the_options_name_are_told(dev: Cloud, prod: Cloud) -> None:
    def subscribed(cloud: Cloud) -> set[tuple[str, str, bool]]:
        made = [each["Properties"] for each in cloud.resources("AWS::SNS::Subscription", "jobs").values()]
        return {(each["Protocol"], each["Endpoint"], each.get("RawMessageDelivery", False)) for each in made}

    assert subscribed(dev) == set()
    assert subscribed(prod) == {
        ("email", "finance@example.com", False),
        ("https", "https://alerts.example.com/farebox", True),
    }


@pytest.mark.parametrize("name", JOBS)
def test_no_right_holds_for_everything(dev: Cloud, name: str) -> None:
    for statement in statements(dev, name):
        assert "*" not in json.dumps(statement["Action"])
        wild = [each for each in listed(statement["Resource"]) if "*" in json.dumps(each)]
        # Lambda lists the streams of the one table; their names hold a moment.
        assert not wild or listed(statement["Action"]) == ["dynamodb:ListStreams"]


@pytest.mark.parametrize("name", JOBS)
def test_no_job_changes_a_row_or_a_key(dev: Cloud, name: str) -> None:
    for statement in statements(dev, name):
        place, actions = json.dumps(statement["Resource"]), set(listed(statement["Action"]))
        if "UsageTable" in place:
            assert actions.isdisjoint({"dynamodb:UpdateItem", "dynamodb:DeleteItem"})
        if "KeysTable" in place:
            assert actions <= {"dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:Query"}


def test_every_function_of_the_repository_is_deployed(dev: Cloud) -> None:
    there = {path.parent.name for path in (ROOT / "functions").glob("*/handler.py")}
    assert there == {"admin", "proxy", *JOBS}
    assert len(dev.resources("AWS::Lambda::Function")) == len(there) + 1  # CDK's own, which empties buckets
