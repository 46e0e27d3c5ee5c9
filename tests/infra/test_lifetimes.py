"""What a deployment keeps: through every update, and in production beyond the life of its stacks."""

from __future__ import annotations

import json

import pytest

from tests.infra.conftest import Cloud

BUCKET = "AWS::S3::Bucket"
BUS = "AWS::Events::EventBus"
DASHBOARD = "AWS::CloudWatch::Dashboard"
LOG = "AWS::Logs::LogGroup"
QUEUE = "AWS::SQS::Queue"
SECRET = "AWS::SecretsManager::Secret"
TABLE = "AWS::DynamoDB::Table"
TOPIC = "AWS::SNS::Topic"
URL = "AWS::Lambda::Url"
VERSION = "AWS::Lambda::Version"

DATA = (BUCKET, LOG, SECRET, TABLE, "AWS::DynamoDB::GlobalTable", "AWS::KMS::Key")
PLACES = (URL, DASHBOARD, TOPIC, BUS, QUEUE)
"""Addresses that others were told, subscriptions, and messages, which `farebox replay` brings again."""

# Under another logical id CloudFormation makes the resource anew, and drops the old one with all in it.
KEPT = {
    "storage": {
        "KeysTableDD857A22": TABLE,
        "BudgetsTable6D971670": TABLE,
        "CacheTableC1E6DF7E": TABLE,
        "UsageTable28300137": TABLE,
        "RollupsTable6440C5E4": TABLE,
        "LogBucketCC3B17E8": BUCKET,
        "CacheBucket41D9D0B0": BUCKET,
        "anthropicSecret2DD5A355": SECRET,
    },
    "gateway": {
        "ProxyLog31824366": LOG,
        "ProxyLiveFunctionUrl4F0FE19C": URL,
        "AdminLog0817AE72": LOG,
        "AdminFunctionFunctionUrl424688C0": URL,
    },
    "jobs": {
        "BusEA82B648": BUS,
        "AlertTopic2720D535": TOPIC,
        "LedgerRelayDeadLettersEF144A25": QUEUE,
        "LedgerRelayLogB494E836": LOG,
        "UsageAggregatorDeadLetters9F50D08E": QUEUE,
        "UsageAggregatorQueueA0ACD83E": QUEUE,
        "UsageAggregatorLogF947AB13": LOG,
        "BudgetNotifierDeadLetters2177315D": QUEUE,
        "BudgetNotifierQueue133585F5": QUEUE,
        "BudgetNotifierLogB90C461C": LOG,
        "HoldSweeperDeadLetters1C2B36F1": QUEUE,
        "HoldSweeperLogABF0A918": LOG,
    },
    "observability": {
        "AlarmTopicD01E77F9": TOPIC,
        "OperatorsDashboard0B312A3C": DASHBOARD,
        "FinanceDashboard9A17420B": DASHBOARD,
    },
}
ONLY_WHERE_DATA_GOES = {"EmptyingLogB4806DDF"}


@pytest.mark.parametrize("stage", ["dev", "prod"])
def test_what_holds_data_or_an_address_keeps_its_logical_id(clouds: dict[str, Cloud], stage: str) -> None:
    found = {
        part: {
            name: kind
            for kind in (*DATA, *PLACES)
            for name in clouds[stage].resources(kind, part)
            if name not in ONLY_WHERE_DATA_GOES
        }
        for part in clouds[stage].templates
    }
    assert found == KEPT


@pytest.mark.parametrize(("stage", "fate"), [("dev", "Delete"), ("prod", "Retain")])
def test_only_data_of_production_outlives_its_stack(clouds: dict[str, Cloud], stage: str, fate: str) -> None:
    for part, template in clouds[stage].templates.items():
        for name, resource in template["Resources"].items():
            ends = (resource.get("DeletionPolicy", "Delete"), resource.get("UpdateReplacePolicy", "Delete"))
            if resource["Type"] == VERSION:
                continue
            expected = fate if resource["Type"] in DATA else "Delete"
            assert ends == (expected, expected), f"{part}/{name}"


@pytest.mark.parametrize("stage", ["dev", "prod"])
def test_the_version_before_a_deployment_is_still_there_to_go_back_to(
    clouds: dict[str, Cloud], stage: str
) -> None:
    # Each deployment makes a version under a new logical id; those before it go with their function alone.
    [version] = clouds[stage].resources(VERSION).values()
    assert (version["DeletionPolicy"], version["UpdateReplacePolicy"]) == ("Retain", "Retain")


def test_every_log_of_a_function_is_one_that_its_stack_makes_and_ends(dev: Cloud) -> None:
    for part in dev.templates:
        made = set(dev.resources(LOG, part))
        for name, function in dev.resources("AWS::Lambda::Function", part).items():
            log = function["Properties"].get("LoggingConfig", {}).get("LogGroup", {}).get("Ref")
            assert log in made, f"{part}/{name} would leave a log group behind"


def test_every_bucket_of_dev_is_emptied_on_the_way_out(dev: Cloud, prod: Cloud) -> None:
    emptied = dev.resources("Custom::S3AutoDeleteObjects")
    assert len(emptied) == len(dev.resources(BUCKET))
    assert prod.resources("Custom::S3AutoDeleteObjects") == {}


def test_tables_of_production_are_protected_and_those_of_dev_go(dev: Cloud, prod: Cloud) -> None:
    for cloud, is_protected in ((dev, False), (prod, True)):
        for table in cloud.resources(TABLE).values():
            assert table["Properties"]["DeletionProtectionEnabled"] is is_protected


@pytest.mark.parametrize("stage", ["dev", "prod"])
def test_no_stack_imports_what_another_makes_anew_with_each_change(
    clouds: dict[str, Cloud], stage: str
) -> None:
    # CloudFormation refuses to change an export that is imported, so the next deployment would fail.
    cloud = clouds[stage]
    versions = {*cloud.resources("AWS::Lambda::LayerVersion"), *cloud.resources(VERSION)}
    exported = {
        json.dumps(output["Value"])
        for template in cloud.templates.values()
        for output in template.get("Outputs", {}).values()
        if "Export" in output
    }
    assert exported
    assert [value for value in exported if any(f'"{version}"' in value for version in versions)] == []


def test_a_credential_can_be_taken_from_the_options_again(prod: Cloud) -> None:
    # CloudFormation refuses to drop an export that another stack still imports.
    outputs = prod.templates["storage"]["Outputs"]
    assert [name for name, output in outputs.items() if "Export" in output and "Secret" in name] == []
