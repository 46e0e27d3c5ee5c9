"""What lies behind requests in an emulated account: the stream, the bus, its queues, and who reads alerts."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

import boto3

from farebox.compose.aws.admin import admin_ports
from farebox.compose.aws.store import AwsStore, open_store
from farebox.compose.deployment import Deployment, deployment_environment, load_deployment
from farebox.domain.record import RequestRecord, booked_on
from farebox.http.admin.apply import apply_document
from farebox.http.policy_document import parse_policy
from farebox.ports import Hold
from tests.support.dynamo import CREDENTIALS, HOST, REGION, deployed

BATCH = 10
QUEUES = ("usage_aggregator", "budget_notifier")
TOLD = ["RequestFinished", "RequestCorrected", "LedgerRowsReplayed"]


class Behind:
    """One deployment's parts behind requests. `environment` is what a job's function is told."""

    def __init__(self, port: int) -> None:
        self.port, self.name = port, f"t{uuid.uuid4().hex}"
        self.tables = deployed(port).names
        self.topic_arn = self.client("sns").create_topic(Name=self.name)["TopicArn"]
        self.queues = {name: self._queue(name) for name in (*QUEUES, "dead", "mailbox")}
        self._connect()
        self.environment = self.told()
        self._places: dict[str, str] = {}

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            region_name=REGION,
            endpoint_url=f"http://{HOST}:{self.port}",
            aws_access_key_id=CREDENTIALS.access_key_id,
            aws_secret_access_key=CREDENTIALS.secret_access_key,
        )

    def told(self, **changes: Any) -> dict[str, str]:
        """Give a function's environment; `changes` are fields of a deployment, and `port`."""
        port = changes.pop("port", self.port)
        parts = {
            "event_bus": self.name,
            "alert_topic_arn": self.topic_arn,
            "admin_url": "https://admin.example.com",
            "dead_letter_queues": (self.queues["dead"],),
        }
        deployment = Deployment("test", self.tables, **{**parts, **changes})
        return {
            **deployment_environment(deployment),
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": CREDENTIALS.access_key_id,
            "AWS_SECRET_ACCESS_KEY": CREDENTIALS.secret_access_key,
            "AWS_ENDPOINT_URL": f"http://{HOST}:{port}",
        }

    def apply(self, document: Mapping[str, object]) -> None:
        async def work(aws: AwsStore) -> None:
            await apply_document(parse_policy(document), admin_ports(aws), actor="test")

        self.run(work)

    def book(self, *records: RequestRecord) -> None:
        """Write ledger rows, each booked on the budgets of the policy."""

        async def work(aws: AwsStore) -> None:
            budgets = (await aws.store.policies.current()).budgets
            for record in records:
                await aws.store.ledger.settle(record.id, record, booked_on(budgets, record))

        self.run(work)

    def hold(self, hold: Hold) -> None:
        async def work(aws: AwsStore) -> None:
            assert await aws.store.ledger.reserve(hold) is None

        self.run(work)

    def run(self, work: Any) -> Any:
        """Do something with the deployment's store, on an event loop of its own."""

        async def opened() -> Any:
            aws = open_store(load_deployment(self.environment), self.environment, is_rolled_up=True)
            try:
                return await work(aws)
            finally:
                await aws.aclose()

        return asyncio.run(opened())

    def stream(self) -> dict[str, Any]:
        """Give what is new in the usage table's stream, as Lambda hands it over."""
        records: list[dict[str, Any]] = []
        with closing(self.client("dynamodbstreams")) as streams:
            arn = streams.list_streams(TableName=self.tables.usage)["Streams"][0]["StreamArn"]
            for shard in streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]:
                shard_id = shard["ShardId"]
                after = self._places.get(shard_id)
                where = (
                    {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": after}
                    if after
                    else {"ShardIteratorType": "TRIM_HORIZON"}
                )
                iterator = streams.get_shard_iterator(StreamArn=arn, ShardId=shard_id, **where)
                found = streams.get_records(ShardIterator=iterator["ShardIterator"])["Records"]
                if found:
                    self._places[shard_id] = found[-1]["dynamodb"]["SequenceNumber"]
                records += found
        for record in records:
            # Lambda writes the moment as a number.
            record["dynamodb"].pop("ApproximateCreationDateTime", None)
        return {"Records": records}

    def messages(self, queue: str) -> dict[str, Any]:
        """Take what waits in a queue, as Lambda hands it over."""
        taken = [
            {"messageId": message["MessageId"], "body": message["Body"], "eventSource": "aws:sqs"}
            for message in self._take(queue)
        ]
        return {"Records": taken}

    def alerts(self) -> list[dict[str, Any]]:
        """Take what a subscriber of the alert topic got."""
        return [json.loads(message["Body"]) for message in self._take("mailbox")]

    def _take(self, queue: str) -> Sequence[dict[str, Any]]:
        taken: list[dict[str, Any]] = []
        with closing(self.client("sqs")) as sqs:
            while found := sqs.receive_message(
                QueueUrl=self.queues[queue], MaxNumberOfMessages=BATCH, WaitTimeSeconds=0
            ).get("Messages"):
                for message in found:
                    sqs.delete_message(QueueUrl=self.queues[queue], ReceiptHandle=message["ReceiptHandle"])
                taken += found
        return taken

    def _queue(self, name: str) -> str:
        with closing(self.client("sqs")) as sqs:
            return str(sqs.create_queue(QueueName=f"{self.name}-{name}")["QueueUrl"])

    def _connect(self) -> None:
        with closing(self.client("events")) as events:
            events.create_event_bus(Name=self.name)
            for name in QUEUES:
                pattern = json.dumps({"source": ["farebox"], "detail-type": TOLD})
                events.put_rule(Name=name, EventBusName=self.name, EventPattern=pattern)
                target = {"Id": name, "Arn": self._arn(name)}
                events.put_targets(Rule=name, EventBusName=self.name, Targets=[target])
        with closing(self.client("sns")) as sns:
            sns.subscribe(TopicArn=self.topic_arn, Protocol="sqs", Endpoint=self._arn("mailbox"))

    def _arn(self, queue: str) -> str:
        return f"arn:aws:sqs:{REGION}:000000000000:{self.name}-{queue}"
