"""What holds the money is encrypted, can be restored, and is read only over TLS."""

from __future__ import annotations

import json
from typing import Any

import pytest

from farebox.adapters.aws.tables import EXPIRES_AT, TABLES, creation
from tests.infra.conftest import Cloud

TABLE = "AWS::DynamoDB::Table"
BUCKET = "AWS::S3::Bucket"
SECRET = "AWS::SecretsManager::Secret"


def logical_id(cloud: Cloud, table: str) -> str:
    [found] = [name for name in cloud.resources(TABLE) if name.startswith(f"{table.capitalize()}Table")]
    return found


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_a_table_is_made_as_the_code_reads_it(dev: Cloud, table: Any) -> None:
    made = dev.resources(TABLE)[logical_id(dev, table.name)]["Properties"]
    wanted = dict(creation(table, "name"))
    wanted.pop("TableName")
    stream = wanted.pop("StreamSpecification", None)
    attributes = ("AttributeDefinitions", "GlobalSecondaryIndexes")
    assert {key: made[key] for key in wanted if key not in attributes} == {
        key: value for key, value in wanted.items() if key not in attributes
    }
    for key in attributes:
        assert as_set(made.get(key)) == as_set(wanted.get(key))
    assert made.get("StreamSpecification") == (
        {"StreamViewType": stream["StreamViewType"]} if stream else None
    )


def as_set(items: Any) -> set[str]:
    return {json.dumps(item, sort_keys=True) for item in items or ()}


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_a_table_can_be_restored_and_drops_what_expires(dev: Cloud, table: Any) -> None:
    made = dev.resources(TABLE)[logical_id(dev, table.name)]["Properties"]
    assert made["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    expiry = {"AttributeName": EXPIRES_AT, "Enabled": True}
    assert made.get("TimeToLiveSpecification") == (expiry if table.expires else None)


def test_buckets_are_encrypted_private_and_spoken_to_over_tls(prod: Cloud) -> None:
    for name, bucket in prod.resources(BUCKET).items():
        made = bucket["Properties"]
        assert "BucketEncryption" in made
        assert set(made["PublicAccessBlockConfiguration"].values()) == {True}
        assert made["LifecycleConfiguration"]["Rules"][0]["ExpirationInDays"] > 0
        [policy] = [
            policy["Properties"]["PolicyDocument"]["Statement"]
            for policy in prod.resources("AWS::S3::BucketPolicy").values()
            if policy["Properties"]["Bucket"] == {"Ref": name}
        ]
        refused = [statement["Condition"] for statement in policy if statement["Effect"] == "Deny"]
        assert {"Bool": {"aws:SecureTransport": "false"}} in refused
        assert {"NumericLessThan": {"s3:TlsVersion": 1.2}} in refused


def test_the_cache_bucket_logs_who_reads_it(prod: Cloud) -> None:
    [logging] = [
        bucket["Properties"]["LoggingConfiguration"]
        for name, bucket in prod.resources(BUCKET).items()
        if name.startswith("CacheBucket")
    ]
    assert logging["DestinationBucketName"]["Ref"].startswith("LogBucket")


def test_a_place_for_a_credential_is_named_by_stage_and_holds_a_random_text(prod: Cloud) -> None:
    [secret] = prod.resources(SECRET).values()
    assert secret["Properties"]["Name"] == "farebox/prod/anthropic"
    assert secret["Properties"]["GenerateSecretString"] == {}
    assert "SecretString" not in secret["Properties"]
