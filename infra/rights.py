"""What a role may do with the deployment's tables, as statements for one table each."""

from __future__ import annotations

from collections.abc import Sequence

from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam

from farebox.adapters.aws.tables import Index

READ = ("GetItem", "BatchGetItem", "Query")
WRITE = ("PutItem", "UpdateItem", "DeleteItem", "ConditionCheckItem")
APPEND = ("PutItem", "ConditionCheckItem")
"""A ledger row is written once; no role may change or delete one."""


def on_table(table: dynamodb.Table, *actions: str, indexes: Sequence[Index] = ()) -> iam.PolicyStatement:
    """Allow operations on a table, and with `Query` also on the indexes given."""
    arns = [table.table_arn, *(f"{table.table_arn}/index/{index.name}" for index in indexes)]
    return iam.PolicyStatement(actions=[f"dynamodb:{action}" for action in actions], resources=arns)
