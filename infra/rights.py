"""What the roles of the functions may do, as statements for one kind of thing each."""

from __future__ import annotations

from collections.abc import Sequence

from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs

from farebox.adapters.aws.tables import (
    ANSWERS_PREFIX,
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
from infra.cloud_rights import cloud_rights
from infra.stack import Stack
from infra.storage_stack import StorageStack

READ = ("GetItem", "BatchGetItem", "Query")
WRITE = ("PutItem", "UpdateItem", "DeleteItem", "ConditionCheckItem")
APPEND = ("PutItem", "ConditionCheckItem")
"""A ledger row is written once; no role may change or delete one."""


def event_bus_arn(stack: Stack, name: str) -> str:
    """Give the ARN of an event bus of this account and region, made or not."""
    return f"arn:{stack.partition}:events:{stack.region}:{stack.account}:event-bus/{name}"


def secret_arn(stack: Stack, name: str) -> str:
    """Give the ARN of a secret by its name, but for the six characters that Secrets Manager adds.

    The whole one would be an export, which CloudFormation keeps as long as it is imported: a secret could
    never be taken from the options again.
    """
    return f"arn:{stack.partition}:secretsmanager:{stack.region}:{stack.account}:secret:{name}-??????"


def on_table(table: dynamodb.Table, *actions: str, indexes: Sequence[Index] = ()) -> iam.PolicyStatement:
    """Allow operations on a table, and with `Query` also on the indexes given."""
    arns = [table.table_arn, *(f"{table.table_arn}/index/{index.name}" for index in indexes)]
    return iam.PolicyStatement(actions=[f"dynamodb:{action}" for action in actions], resources=arns)


def proxy_rights(stack: Stack, storage: StorageStack) -> list[iam.PolicyStatement]:
    """Read keys and policy, book, keep answers, read provider credentials, and ask the clouds that the
    options name.
    """
    tables = storage.tables
    rights = [
        on_table(tables[CACHE.name], "GetItem", "Query", "PutItem"),
        iam.PolicyStatement(
            actions=["s3:GetObject", "s3:PutObject"],
            resources=[f"{storage.cache_bucket_export}/{ANSWERS_PREFIX}*"],
        ),
        on_table(tables[KEYS.name], "GetItem", "BatchGetItem", "Query"),
        on_table(tables[BUDGETS.name], "GetItem", "BatchGetItem", "Query", *WRITE),
        on_table(tables[USAGE.name], "GetItem", *APPEND),
    ]
    if storage.secrets:
        arns = [secret_arn(stack, name) for name in storage.secrets]
        rights.append(iam.PolicyStatement(actions=["secretsmanager:GetSecretValue"], resources=arns))
    rights += [
        iam.PolicyStatement(actions=[*right.actions], resources=[*right.resources])
        for right in cloud_rights(stack.options, stack.partition, stack.account)
    ]
    return rights


def admin_rights(storage: StorageStack, bus_arn: str) -> list[iam.PolicyStatement]:
    """Change keys and policy, correct and verify the ledger, read what was used, and have it told again."""
    tables = storage.tables
    return [
        on_table(tables[KEYS.name], *READ, *WRITE),
        # `farebox ledger verify` recomputes every bucket from every row, so it alone has to scan.
        on_table(tables[BUDGETS.name], *READ, "Scan", *WRITE, indexes=[BY_LEASE]),
        on_table(tables[USAGE.name], *READ, "Scan", *APPEND, indexes=[BY_TIME, BY_SESSION, BY_OVERRUN]),
        on_table(tables[ROLLUPS.name], "Query"),
        on_table(tables[CACHE.name], "Query"),
        iam.PolicyStatement(actions=["events:PutEvents"], resources=[bus_arn]),
    ]


def relay_rights(storage: StorageStack, bus_arn: str, dead_letters: sqs.IQueue) -> list[iam.PolicyStatement]:
    """Read the stream of new ledger rows, tell the bus, and put aside what cannot be read."""
    table = storage.tables[USAGE.name]
    stream = ("DescribeStream", "GetRecords", "GetShardIterator")
    return [
        iam.PolicyStatement(
            actions=[f"dynamodb:{action}" for action in stream], resources=[str(table.table_stream_arn)]
        ),
        iam.PolicyStatement(actions=["dynamodb:ListStreams"], resources=[f"{table.table_arn}/stream/*"]),
        iam.PolicyStatement(actions=["events:PutEvents"], resources=[bus_arn]),
        iam.PolicyStatement(actions=["sqs:SendMessage"], resources=[dead_letters.queue_arn]),
    ]


def aggregator_rights(storage: StorageStack, queue: sqs.IQueue) -> list[iam.PolicyStatement]:
    """Take messages, read the ledger rows that they are about, and add them to the sums."""
    return [
        take_from(queue),
        on_table(storage.tables[USAGE.name], "GetItem", "BatchGetItem"),
        on_table(storage.tables[ROLLUPS.name], "GetItem", "BatchGetItem", "PutItem", "UpdateItem"),
    ]


def notifier_rights(storage: StorageStack, queue: sqs.IQueue, topic: sns.ITopic) -> list[iam.PolicyStatement]:
    """Take messages, decide which thresholds their rows have crossed, and tell."""
    return [take_from(queue), *_alert_rights(storage, topic)]


def sweeper_rights(
    storage: StorageStack, topic: sns.ITopic, dead_letters: Sequence[sqs.IQueue]
) -> list[iam.PolicyStatement]:
    """Book holds of dead processes, tell what was left untold, and count dead letters."""
    return [
        *_alert_rights(storage, topic),
        on_table(storage.tables[BUDGETS.name], "ConditionCheckItem"),
        on_table(storage.tables[USAGE.name], *APPEND),
        iam.PolicyStatement(
            actions=["sqs:GetQueueAttributes"], resources=[queue.queue_arn for queue in dead_letters]
        ),
    ]


def take_from(queue: sqs.IQueue) -> iam.PolicyStatement:
    """Allow Lambda to bring a function the messages of its queue."""
    actions = ("ReceiveMessage", "DeleteMessage", "ChangeMessageVisibility", "GetQueueAttributes")
    return iam.PolicyStatement(actions=[f"sqs:{action}" for action in actions], resources=[queue.queue_arn])


def _alert_rights(storage: StorageStack, topic: sns.ITopic) -> list[iam.PolicyStatement]:
    tables = storage.tables
    return [
        on_table(tables[KEYS.name], *READ),
        on_table(tables[USAGE.name], "GetItem", "BatchGetItem"),
        on_table(tables[BUDGETS.name], *READ, "PutItem", "UpdateItem", "DeleteItem", indexes=[BY_LEASE]),
        # Beside the sums lie the notices of what was told.
        on_table(tables[ROLLUPS.name], "PutItem", "UpdateItem"),
        iam.PolicyStatement(actions=["sns:Publish"], resources=[topic.topic_arn]),
    ]


def answers_resource(stack: Stack, storage: StorageStack) -> str:
    """Name the stored answers as cdk-nag does, which sees the bucket as an export of another stack."""
    export: str = stack.resolve(storage.cache_bucket_export)["Fn::ImportValue"]
    return f"{export}/{ANSWERS_PREFIX}*"
