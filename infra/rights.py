"""What the roles of the functions may do, as statements for one kind of thing each."""

from __future__ import annotations

from collections.abc import Sequence

from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam

from farebox.adapters.aws.tables import (
    BUDGETS,
    BY_LEASE,
    BY_OVERRUN,
    BY_SESSION,
    BY_TIME,
    CACHE,
    KEYS,
    ROLLUPS,
    USAGE,
    Index,
)
from infra.stack import Stack
from infra.storage_stack import StorageStack

READ = ("GetItem", "BatchGetItem", "Query")
WRITE = ("PutItem", "UpdateItem", "DeleteItem", "ConditionCheckItem")
APPEND = ("PutItem", "ConditionCheckItem")
"""A ledger row is written once; no role may change or delete one."""


def on_table(table: dynamodb.Table, *actions: str, indexes: Sequence[Index] = ()) -> iam.PolicyStatement:
    """Allow operations on a table, and with `Query` also on the indexes given."""
    arns = [table.table_arn, *(f"{table.table_arn}/index/{index.name}" for index in indexes)]
    return iam.PolicyStatement(actions=[f"dynamodb:{action}" for action in actions], resources=arns)


def proxy_rights(stack: Stack, storage: StorageStack) -> list[iam.PolicyStatement]:
    """Read keys and policy, book, keep answers, read provider credentials, and invoke the models of Bedrock
    that were asked for.
    """
    tables = storage.tables
    rights = [
        on_table(tables[CACHE.name], "GetItem", "PutItem"),
        on_table(tables[KEYS.name], "GetItem", "BatchGetItem", "Query"),
        on_table(tables[BUDGETS.name], "GetItem", "BatchGetItem", "Query", *WRITE),
        on_table(tables[USAGE.name], "GetItem", *APPEND),
    ]
    if storage.secrets:
        arns = [secret.secret_arn for secret in storage.secrets]
        rights.append(iam.PolicyStatement(actions=["secretsmanager:GetSecretValue"], resources=arns))
    if stack.options.bedrock_models:
        rights.append(_invoke_bedrock(stack))
    return rights


def admin_rights(storage: StorageStack) -> list[iam.PolicyStatement]:
    """Change keys and policy, correct and verify the ledger, and read what was used."""
    tables = storage.tables
    return [
        on_table(tables[KEYS.name], *READ, *WRITE),
        # `farebox ledger verify` recomputes every bucket from every row, so it alone has to scan.
        on_table(tables[BUDGETS.name], *READ, "Scan", *WRITE, indexes=[BY_LEASE]),
        on_table(tables[USAGE.name], *READ, "Scan", *APPEND, indexes=[BY_TIME, BY_SESSION, BY_OVERRUN]),
        on_table(tables[ROLLUPS.name], "Query"),
    ]


def bedrock_resources(partition: str, account: str, models: Sequence[str]) -> list[str]:
    """Name models and the profiles in front of them, in whatever region a profile sends a request to.

    A profile opens nothing by itself: IAM asks for the right on the model behind it too.
    """
    arn = f"arn:{partition}:bedrock:*:"
    return [
        *(f"{arn}:foundation-model/{model}" for model in models),
        *(f"{arn}{account}:inference-profile/*{model}" for model in models),
        f"{arn}{account}:application-inference-profile/*",
    ]


def _invoke_bedrock(stack: Stack) -> iam.PolicyStatement:
    return iam.PolicyStatement(
        actions=["bedrock:InvokeModel", "bedrock:InvokeModelWithResponseStream", "bedrock:CountTokens"],
        resources=bedrock_resources(stack.partition, stack.account, stack.options.bedrock_models),
    )
