"""What the stacks write into a function's environment is what the function reads out of it."""

import pytest

from farebox.adapters.aws.tables import TableNames
from farebox.compose.deployment import Deployment, deployment_environment, load_deployment
from farebox.domain.errors import ConfigInvalid

LAMBDA = {"AWS_REGION": "eu-central-1"}
WHOLE = Deployment(
    stage="prod",
    tables=TableNames.with_prefix("farebox-prod-"),
    event_bus="bus",
    alert_topic_arn="arn:aws:sns:eu-central-1:000000000000:alerts",
    cache_bucket="bucket",
    secret_prefix="farebox/prod/",
    admin_url="https://admin.example.com",
    region="eu-central-1",
)


def test_a_deployment_comes_back_from_its_variables() -> None:
    assert load_deployment(deployment_environment(WHOLE) | LAMBDA) == WHOLE


def test_a_function_that_is_told_less_has_no_variables_for_the_rest() -> None:
    least = Deployment("dev", WHOLE.tables, region="eu-central-1")
    told = deployment_environment(least)
    assert {name for name in told if not name.endswith("_TABLE")} == {"FAREBOX_STAGE"}
    assert load_deployment(told | LAMBDA) == least


def test_another_endpoint_is_awss_own_variable() -> None:
    told = deployment_environment(WHOLE) | LAMBDA | {"AWS_ENDPOINT_URL": "http://127.0.0.1:4566"}
    assert load_deployment(told).endpoint_url == "http://127.0.0.1:4566"


@pytest.mark.parametrize("missing", ["FAREBOX_STAGE", "FAREBOX_USAGE_TABLE", "AWS_REGION"])
def test_a_missing_variable_is_named(missing: str) -> None:
    told = deployment_environment(WHOLE) | LAMBDA
    del told[missing]
    with pytest.raises(ConfigInvalid, match=missing):
        load_deployment(told)
