"""The functions that are called over the network: what they are told, and what they may do."""

from __future__ import annotations

import json
from typing import Any

import pytest

from farebox.compose.deployment import load_deployment
from tests.infra.conftest import Cloud, Resource


def only(found: dict[str, Resource]) -> dict[str, Any]:
    [resource] = found.values()
    properties: dict[str, Any] = resource["Properties"]
    return properties


def admin(cloud: Cloud) -> dict[str, Any]:
    return only(cloud.resources("AWS::Lambda::Function", "gateway"))


def statements(cloud: Cloud) -> list[dict[str, Any]]:
    policy = only(cloud.resources("AWS::IAM::Policy", "gateway"))
    found: list[dict[str, Any]] = policy["PolicyDocument"]["Statement"]
    return found


def allowed(cloud: Cloud, table: str) -> set[str]:
    """Give what the admin function may do with a table or its indexes."""
    return {
        action.removeprefix("dynamodb:")
        for statement in statements(cloud)
        if f"{table.capitalize()}Table" in json.dumps(statement["Resource"])
        for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
    }


def test_the_admin_function_is_told_all_that_it_reads(dev: Cloud) -> None:
    variables = admin(dev)["Environment"]["Variables"]
    read = load_deployment({name: str(value) for name, value in variables.items()} | {"AWS_REGION": "here"})
    assert (read.stage, read.secret_prefix) == ("dev", "farebox/dev/")
    assert "RollupsTable" in read.tables.rollups


def test_nothing_told_to_a_function_is_a_secret(prod: Cloud) -> None:
    said = json.dumps(admin(prod)["Environment"])
    assert "resolve:" not in said
    assert "SecretString" not in said


def test_no_right_holds_for_everything(dev: Cloud) -> None:
    for statement in statements(dev):
        assert statement["Effect"] == "Allow"
        assert "*" not in json.dumps([statement["Action"], statement["Resource"]])


def test_ledger_rows_are_written_once_and_never_changed(dev: Cloud) -> None:
    assert allowed(dev, "usage") & {"UpdateItem", "DeleteItem"} == set()
    assert "PutItem" in allowed(dev, "usage")


def test_the_admin_plane_keeps_no_cache_and_writes_no_sums(dev: Cloud) -> None:
    assert allowed(dev, "cache") == set()
    assert allowed(dev, "rollups") == {"Query"}


def test_a_flood_of_requests_cannot_lock_the_administrators_out(dev: Cloud) -> None:
    assert admin(dev)["ReservedConcurrentExecutions"] == 5


def test_lambda_runs_what_the_suite_and_the_wheels_are_made_for(dev: Cloud) -> None:
    function = admin(dev)
    assert (function["Runtime"], function["Architectures"]) == ("python3.13", ["arm64"])
    assert len(function["Layers"]) == 2


def test_the_url_takes_whoever_comes_since_the_function_checks_the_key(dev: Cloud) -> None:
    assert only(dev.resources("AWS::Lambda::Url", "gateway"))["AuthType"] == "NONE"


@pytest.mark.parametrize(("stage", "fate"), [("dev", "Delete"), ("prod", "Retain")])
def test_logs_end_after_the_days_asked_for(clouds: dict[str, Cloud], stage: str, fate: str) -> None:
    [log] = clouds[stage].resources("AWS::Logs::LogGroup", "gateway").values()
    assert (log["Properties"]["RetentionInDays"], log["DeletionPolicy"]) == (30, fate)


def test_the_outputs_are_what_the_bootstrap_command_reads(dev: Cloud) -> None:
    assert set(dev.templates["gateway"]["Outputs"]) == {"AdminUrl", "AdminFunctionName"}
