"""The options of a deployment are read from CDK's context, and a wrong one is named."""

from __future__ import annotations

from dataclasses import fields

import pytest

from infra.options import OPTIONS, OptionInvalid, Options, options_table, read_options
from tests.infra.synthesize import ROOT

CDK_OWN = {"@aws-cdk/core:checkSecretUsage": True, "aws:cdk:bundling-stacks": ["**"], "cli-telemetry": False}


def test_without_context_everything_has_a_default() -> None:
    assert read_options(CDK_OWN) == Options()


def test_every_option_is_documented_and_read() -> None:
    assert list(OPTIONS) == [field.name for field in fields(Options)]


def test_the_command_line_gives_texts_and_cdk_json_gives_values() -> None:
    said = {
        "stage": "prod",
        "proxy_memory_mb": "1024",
        "alert_emails": "a@example.com, b@example.com",
        "tags": "team=core,cost=42",
        "keep_data": "false",
        "bedrock_models": "",
        "secrets": "",
    }
    written = {
        "stage": "prod",
        "proxy_memory_mb": 1024,
        "alert_emails": ["a@example.com", "b@example.com"],
        "tags": {"team": "core", "cost": "42"},
        "keep_data": False,
        "bedrock_models": [],
        "secrets": [],
    }
    assert read_options(said) == read_options(written)
    assert read_options(written).alert_emails == ("a@example.com", "b@example.com")


def test_production_keeps_its_data_unless_told_otherwise() -> None:
    assert read_options({"stage": "prod"}).keep_data is True
    assert read_options({"stage": "prod", "keep_data": "false"}).keep_data is False
    assert read_options({"stage": "dev", "keep_data": "true"}).keep_data is True


@pytest.mark.parametrize(
    ("context", "said"),
    [
        ({"stage": "Prod!"}, "context stage: must be a word of at most 12"),
        ({"stagee": "dev"}, "context stagee: is not known; did you mean stage?"),
        ({"colour": "red"}, "context colour: is not known; there are stage, "),
        (
            {"proxy_memory_mb": "64"},
            "context proxy_memory_mb: must be a whole number from 128 to 10240, not '64'",
        ),
        ({"proxy_memory_mb": True}, "context proxy_memory_mb: must be a whole number"),
        ({"log_days": 31}, "context log_days: must be one of 1, 3, 5"),
        ({"alert_emails": "finance"}, "context alert_emails: must be an e-mail address, not 'finance'"),
        ({"alert_webhooks": "http://example.com"}, "context alert_webhooks: must be an https URL"),
        ({"alert_webhooks": 3}, "context alert_webhooks: must be a list"),
        ({"trusted_hosts": "*.com"}, "context trusted_hosts: must be hosts, one of which covers a whole top"),
        ({"account": "000000000000"}, "context account and region: set both or neither"),
        ({"keep_data": "perhaps"}, "context keep_data: must be true or false"),
        ({"tags": "team"}, "context tags: must be an object of texts"),
        ({"assume_roles": "arn:aws:iam::123456789012:role/*"}, "context assume_roles: must be the whole ARN"),
        ({"anthropic_workspaces": "ours"}, "context anthropic_workspaces: must be the id of a workspace"),
        ({"mantle_projects": "a/b"}, "context mantle_projects: must be the id of a project"),
        ({"concurrency_quota": 10}, "context concurrency_quota: leaves -11 free when 21 are reserved"),
        ({"proxy_concurrency": 900}, "context concurrency_quota: leaves 79 free when 921 are reserved"),
        ({"bundle_platform": "x86"}, "context bundle_platform: must be lambda or host"),
    ],
)
def test_a_wrong_value_is_named_with_what_would_be_right(context: dict[str, object], said: str) -> None:
    with pytest.raises(OptionInvalid) as caught:
        read_options(context)
    assert str(caught.value).startswith(said)


def test_the_page_about_deploying_has_the_table_of_options() -> None:
    assert options_table() in (ROOT / "docs/deploy.md").read_text(encoding="utf-8")
