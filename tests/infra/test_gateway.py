"""The functions that are called over the network: what they are told, and what they may do."""

from __future__ import annotations

import json

import pytest

from farebox.compose.deployment import load_deployment
from farebox.compose.settings import load_settings
from infra.options import Options
from tests.infra.conftest import Cloud
from tests.infra.parts import function, listed, part, statements
from tests.infra.synthesize import ROOT

FUNCTIONS = ("proxy", "admin")


def variables(cloud: Cloud, name: str) -> dict[str, str]:
    told = function(cloud, name)["Environment"]["Variables"]
    return {variable: str(value) for variable, value in told.items()} | {"AWS_REGION": "here"}


def allowed(cloud: Cloud, name: str, table: str) -> set[str]:
    """Give what a function may do with a table or its indexes."""
    return {
        action.removeprefix("dynamodb:")
        for statement in statements(cloud, name)
        if f"{table.capitalize()}Table" in json.dumps(statement["Resource"])
        for action in listed(statement["Action"])
    }


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_is_told_all_that_it_reads(dev: Cloud, name: str) -> None:
    read = load_deployment(variables(dev, name))
    assert (read.stage, read.secret_prefix) == ("dev", "farebox/dev/")
    assert "RollupsTable" in read.tables.rollups
    assert load_settings(variables(dev, name)).bucket_shards == Options().bucket_shards


def test_the_proxy_streams_on_our_runtime_and_refuses_what_lambda_would(dev: Cloud) -> None:
    told = variables(dev, "proxy")
    assert told["AWS_LAMBDA_EXEC_WRAPPER"] == "/opt/stream-bootstrap"
    assert (ROOT / "layers/core/stream-bootstrap").stat().st_mode & 0o111
    assert load_settings(told).max_body_bytes < 6 * 1024 * 1024
    url = part(dev, "AWS::Lambda::Url", "proxy")
    assert (url["InvokeMode"], url["Qualifier"]) == ("RESPONSE_STREAM", "live")


def test_the_proxy_alone_trusts_hosts_that_the_operator_names(dev: Cloud, prod: Cloud) -> None:
    told = [load_settings(variables(*each)).trusted_hosts for each in ((dev, "proxy"), (prod, "proxy"))]
    assert told == [(), ("*.models.corp.example",)]
    assert "FAREBOX_TRUSTED_HOSTS" not in variables(prod, "admin")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_nothing_told_to_a_function_is_a_secret(prod: Cloud, name: str) -> None:
    said = json.dumps(function(prod, name)["Environment"])
    assert "resolve:" not in said
    assert "SecretString" not in said


@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_right_holds_for_everything(dev: Cloud, name: str) -> None:
    for statement in statements(dev, name):
        assert statement["Effect"] == "Allow"
        assert "*" not in json.dumps(statement["Action"])
        if any(action.startswith("bedrock:") for action in listed(statement["Action"])):
            # Models are named by family, in every region: see the reasons in tests/infra/test_security.py.
            assert all(json.dumps(resource) != '"*"' for resource in listed(statement["Resource"]))
        elif any(action.startswith("s3:") for action in listed(statement["Action"])):
            assert json.dumps(statement["Resource"]).count("*") == 1
            assert '"/answers/*"' in json.dumps(statement["Resource"])
        else:
            assert "*" not in json.dumps(statement["Resource"])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_ledger_rows_are_written_once_and_never_changed(dev: Cloud, name: str) -> None:
    assert allowed(dev, name, "usage") & {"UpdateItem", "DeleteItem"} == set()
    assert "PutItem" in allowed(dev, name, "usage")


def test_the_proxy_changes_no_key_and_no_policy(dev: Cloud) -> None:
    assert allowed(dev, "proxy", "keys") == {"GetItem", "BatchGetItem", "Query"}
    assert allowed(dev, "proxy", "rollups") == set()


def test_the_proxy_keeps_answers_and_the_admin_plane_does_not(dev: Cloud) -> None:
    assert allowed(dev, "proxy", "cache") >= {"GetItem", "PutItem"}
    assert "CacheBucket" in variables(dev, "proxy")["FAREBOX_CACHE_BUCKET"]
    assert "FAREBOX_CACHE_BUCKET" not in variables(dev, "admin")


def test_the_proxy_reads_the_credentials_of_its_stage_and_no_other_secret(dev: Cloud) -> None:
    [reading] = [each for each in statements(dev, "proxy") if "secretsmanager" in json.dumps(each["Action"])]
    assert reading["Action"] == "secretsmanager:GetSecretValue"
    assert json.dumps(reading["Resource"]).endswith(':secret:farebox/dev/anthropic-??????"]]}')


def test_the_admin_plane_lists_circuit_breakers_and_writes_no_sums(dev: Cloud) -> None:
    assert allowed(dev, "admin", "cache") == {"Query"}
    assert allowed(dev, "admin", "rollups") == {"Query"}


def test_a_flood_of_requests_cannot_lock_the_administrators_out(dev: Cloud) -> None:
    assert function(dev, "admin")["ReservedConcurrentExecutions"] == 5
    assert "ReservedConcurrentExecutions" not in function(dev, "proxy")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_lambda_runs_what_the_suite_and_the_wheels_are_made_for(dev: Cloud, name: str) -> None:
    made = function(dev, name)
    assert (made["Runtime"], made["Architectures"]) == ("python3.13", ["arm64"])
    assert len(made["Layers"]) == 2


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_url_takes_whoever_comes_since_the_function_checks_the_key(dev: Cloud, name: str) -> None:
    assert part(dev, "AWS::Lambda::Url", name)["AuthType"] == "NONE"


@pytest.mark.parametrize(("stage", "fate"), [("dev", "Delete"), ("prod", "Retain")])
def test_logs_end_after_the_days_asked_for(clouds: dict[str, Cloud], stage: str, fate: str) -> None:
    logs = clouds[stage].resources("AWS::Logs::LogGroup", "gateway").values()
    assert len(logs) == len(FUNCTIONS)
    for log in logs:
        assert (log["Properties"]["RetentionInDays"], log["DeletionPolicy"]) == (30, fate)


def test_the_outputs_are_what_commands_and_people_read(dev: Cloud) -> None:
    made = set(dev.templates["gateway"]["Outputs"])
    # CDK's own are for the stacks after it.
    told = {name for name in made if not name.startswith("ExportsOutput")}
    assert told == {"GatewayUrl", "AdminUrl", "AdminFunctionName"}
