"""What must outlive everything else: the tables, the buckets and the places of provider credentials."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_secretsmanager as secretsmanager

from farebox.adapters.aws.tables import EXPIRES_AT, TABLES, Index, Table, TableNames
from infra.emptying import bound_log_of_emptying
from infra.options import Options
from infra.stack import Stack, acknowledge

CACHE_DAYS = 30
"""Answers that are too large for the table are gone after so long, whatever a config says."""

_KINDS = {"S": dynamodb.AttributeType.STRING, "N": dynamodb.AttributeType.NUMBER}


class StorageStack(Stack):
    """Tables from `farebox.adapters.aws.tables`, the cache bucket with its access logs, and secrets."""

    def __init__(self, app: cdk.App, options: Options) -> None:
        super().__init__(app, options, "storage", "tables, buckets and provider credentials")
        self.tables = {table.name: self._table(table) for table in TABLES}
        self.table_names = TableNames(*(table.table_name for table in self.tables.values()))
        self.log_bucket = self._bucket("LogBucket", expire_days=options.log_days)
        self.cache_bucket = self._bucket(
            "CacheBucket",
            expire_days=CACHE_DAYS,
            server_access_logs_bucket=self.log_bucket,
            server_access_logs_prefix="s3/",
        )
        if not options.keep_data:
            bound_log_of_emptying(self)
        self.cache_bucket_export = self.export_value(self.cache_bucket.bucket_arn)
        self.secret_prefix = f"farebox/{options.stage}/"
        self.secrets = [self.secret_prefix + name for name in options.secrets]
        for name in options.secrets:
            self._secret(name)

    def _table(self, table: Table) -> dynamodb.Table:
        made = dynamodb.Table(
            self,
            f"{table.name.capitalize()}Table",
            partition_key=_attribute(table.partition),
            sort_key=_attribute(table.sort) if table.sort else None,
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            # A key that AWS owns costs nothing and needs no rights; one in KMS is paid for by the request.
            encryption=dynamodb.TableEncryption.DEFAULT,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            stream=dynamodb.StreamViewType.NEW_IMAGE if table.stream else None,
            time_to_live_attribute=EXPIRES_AT if table.expires else None,
            deletion_protection=self.options.keep_data,
            removal_policy=self.removal,
        )
        for index in table.indexes:
            _add_index(made, index)
        return made

    def _bucket(self, name: str, *, expire_days: int, **more: object) -> s3.Bucket:
        return s3.Bucket(
            self,
            name,
            encryption=s3.BucketEncryption.S3_MANAGED,
            enforce_ssl=True,
            minimum_tls_version=1.2,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            lifecycle_rules=[
                s3.LifecycleRule(
                    expiration=cdk.Duration.days(expire_days),
                    abort_incomplete_multipart_upload_after=cdk.Duration.days(1),
                )
            ],
            removal_policy=self.removal,
            auto_delete_objects=not self.options.keep_data,
            **more,
        )

    def _secret(self, name: str) -> None:
        """Make a place for a credential. It holds a random text until the operator puts the real one."""
        secret = secretsmanager.Secret(
            self,
            f"{name}Secret",
            secret_name=self.secret_prefix + name,
            description=f"farebox {self.options.stage}: credential of provider {name}; put the real one here",
            removal_policy=self.removal,
        )
        acknowledge(
            secret, "SMG4", "A provider's credential is made and rotated at the provider, not by AWS."
        )


def _attribute(name: str, kind: str = "S") -> dynamodb.Attribute:
    return dynamodb.Attribute(name=name, type=_KINDS[kind])


def _add_index(table: dynamodb.Table, index: Index) -> None:
    included = dynamodb.ProjectionType.INCLUDE if index.includes else dynamodb.ProjectionType.KEYS_ONLY
    table.add_global_secondary_index(
        index_name=index.name,
        partition_key=_attribute(index.partition),
        sort_key=_attribute(index.sort, index.sort_type),
        projection_type=included,
        non_key_attributes=list(index.includes) or None,
    )
