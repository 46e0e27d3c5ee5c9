"""What runs behind requests: the relay to an event bus, and who counts, tells and sweeps. docs/events.md has
the picture.
"""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from aws_cdk import aws_sqs as sqs
from msgspec.structs import replace

from farebox.adapters.aws.tables import USAGE
from farebox.compose.deployment import Deployment, deployment_environment
from infra.function import Function
from infra.gateway_stack import GatewayStack
from infra.layers import core_version, functions_version
from infra.options import Options
from infra.rights import (
    aggregator_rights,
    event_bus_arn,
    notifier_rights,
    relay_rights,
    sweeper_rights,
)
from infra.stack import Stack, acknowledge
from infra.storage_stack import StorageStack

SOURCE = "farebox"
TOLD = ["RequestFinished", "RequestCorrected", "LedgerRowsReplayed"]
"""What `farebox/jobs/relay.py` says; rules of your own may take `BudgetReset` too."""

TIMEOUT = cdk.Duration.seconds(60)
VISIBILITY = cdk.Duration.minutes(6)
"""Six times the timeout of who takes them. Source: Lambda developer guide, "Using Lambda with Amazon SQS"."""

USAGE_ARN_EXPORT = "ExportsOutputFnGetAttUsageTable28300137Arn3C045811"
"""What CDK calls the ARN of the usage table between stacks, and cdk-nag in its findings."""

STREAMS_REASON = "Lambda lists the table's own streams, whose names hold the moment at which they were made."

RECEIVES_MAX = 5
QUEUE_DAYS, DEAD_LETTER_DAYS = 4, 14
AT_ONCE = 2
"""Batches that a queue's function works on at the same time: sums are few items, and writers meet there."""


class JobsStack(Stack):
    """Functions over the usage table's stream. `dead_letters` are the queues of what none could process."""

    def __init__(self, app: cdk.App, options: Options, storage: StorageStack, gateway: GatewayStack) -> None:
        super().__init__(app, options, "jobs", "what runs behind requests")
        self._storage = storage
        self._layers = [core_version(self), functions_version(self)]
        self._told = replace(gateway.deployment, secret_prefix=None, admin_url=gateway.admin_url)
        self.bus = events.EventBus(self, "Bus", event_bus_name=gateway.event_bus)
        self.topic = self._topic()
        self.dead_letters: list[sqs.Queue] = []
        self.relay = self._relay(gateway.event_bus)
        self.aggregator = self._aggregator()
        self.notifier = self._notifier()
        self.sweeper = self._sweeper()

    def _relay(self, bus: str) -> Function:
        table, storage_stack = self._storage.tables[USAGE.name], self._storage.stack_name
        dead_letters = self._dead_letters("ledger_relay")
        acknowledge(dead_letters, "SQS3", "Lambda puts aside here what the relay cannot read of the stream.")
        function = self._function(
            "ledger_relay",
            "tells the event bus of new ledger rows",
            replace(self._told, event_bus=bus),
            relay_rights(self._storage, event_bus_arn(self, bus), dead_letters),
        )
        streams = f"{storage_stack}:{USAGE_ARN_EXPORT}/stream/*"
        acknowledge(function.policy, f"IAM5[Resource::{streams}]", STREAMS_REASON)
        mapping = function.add_event_source_mapping(
            "Stream",
            event_source_arn=table.table_stream_arn,
            starting_position=lambda_.StartingPosition.TRIM_HORIZON,
            batch_size=100,
            max_batching_window=cdk.Duration.seconds(1),
            filters=[lambda_.FilterCriteria.filter({"eventName": lambda_.FilterRule.is_equal("INSERT")})],
            report_batch_item_failures=True,
            bisect_batch_on_error=True,
            retry_attempts=20,
            max_record_age=cdk.Duration.hours(6),
        )
        plain = mapping.node.default_child
        assert isinstance(plain, lambda_.CfnEventSourceMapping)
        # CDK's own property would widen the role by a policy of its own.
        plain.destination_config = {"onFailure": {"destination": dead_letters.queue_arn}}
        return function

    def _aggregator(self) -> Function:
        queue = self._queue("usage_aggregator")
        function = self._function(
            "usage_aggregator",
            "adds ledger rows to the sums of reports",
            self._told,
            aggregator_rights(self._storage, queue),
        )
        self._feed(function, queue, batch_size=100, window=cdk.Duration.seconds(15))
        return function

    def _notifier(self) -> Function:
        queue = self._queue("budget_notifier")
        function = self._function(
            "budget_notifier",
            "tells people of budgets and requests",
            replace(self._told, alert_topic_arn=self.topic.topic_arn),
            notifier_rights(self._storage, queue, self.topic),
        )
        self._feed(function, queue, batch_size=20, window=cdk.Duration.seconds(1))
        return function

    def _sweeper(self) -> Function:
        dead_letters = self._dead_letters("hold_sweeper")
        acknowledge(dead_letters, "SQS3", "EventBridge puts calls aside here that it could not make.")
        told = replace(
            self._told,
            alert_topic_arn=self.topic.topic_arn,
            dead_letter_queues=tuple(queue.queue_url for queue in self.dead_letters),
        )
        function = self._function(
            "hold_sweeper",
            "books holds of dead processes, each minute",
            told,
            sweeper_rights(self._storage, self.topic, self.dead_letters),
            # Two sweeps at once book a hold once all the same, so what can reserve nothing goes without.
            reserved_concurrency=min(1, self.options.job_concurrency),
        )
        target = targets.LambdaFunction(
            function,
            retry_attempts=0,  # the next minute is the next try
            max_event_age=cdk.Duration.minutes(1),
            dead_letter_queue=dead_letters,
        )
        schedule = events.Schedule.rate(cdk.Duration.minutes(1))
        events.Rule(self, "EachMinute", schedule=schedule, targets=[target])
        return function

    def _function(
        self,
        name: str,
        description: str,
        told: Deployment,
        rights: list[iam.PolicyStatement],
        reserved_concurrency: int | None = None,
    ) -> Function:
        options = self.options
        return Function(
            self,
            name,
            description,
            layers=self._layers,
            environment=deployment_environment(told),
            rights=rights,
            timeout=TIMEOUT,
            memory_mb=options.job_memory_mb,
            reserved_concurrency=reserved_concurrency or options.job_concurrency,
        )

    def _feed(self, function: Function, queue: sqs.Queue, *, batch_size: int, window: cdk.Duration) -> None:
        function.add_event_source_mapping(
            "Queue",
            event_source_arn=queue.queue_arn,
            batch_size=batch_size,
            max_batching_window=window,
            max_concurrency=AT_ONCE,
            report_batch_item_failures=True,
        )

    def _queue(self, name: str) -> sqs.Queue:
        """Make the queue of a function, and the rule that fills it."""
        dead_letters = self._dead_letters(name)
        part = _part(name)
        queue = sqs.Queue(
            self,
            f"{part}Queue",
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            visibility_timeout=VISIBILITY,
            retention_period=cdk.Duration.days(QUEUE_DAYS),
            dead_letter_queue=sqs.DeadLetterQueue(queue=dead_letters, max_receive_count=RECEIVES_MAX),
        )
        events.Rule(
            self,
            f"{part}Rule",
            event_bus=self.bus,
            description=f"farebox {self.options.stage}: ledger rows for {name}",
            event_pattern=events.EventPattern(source=[SOURCE], detail_type=TOLD),
            targets=[targets.SqsQueue(queue, dead_letter_queue=dead_letters)],
        )
        return queue

    def _dead_letters(self, name: str) -> sqs.Queue:
        queue = sqs.Queue(
            self,
            f"{_part(name)}DeadLetters",
            queue_name=f"farebox-{self.options.stage}-{name}-dead-letters",
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=cdk.Duration.days(DEAD_LETTER_DAYS),
        )
        self.dead_letters.append(queue)
        return queue

    def _topic(self) -> sns.Topic:
        topic = sns.Topic(
            self,
            "AlertTopic",
            display_name=f"farebox {self.options.stage} alerts",
            enforce_ssl=True,
            master_key=kms.Alias.from_alias_name(self, "SnsKey", "alias/aws/sns"),
        )
        for email in self.options.alert_emails:
            topic.add_subscription(subscriptions.EmailSubscription(email))
        for webhook in self.options.alert_webhooks:
            # The document itself, as a laptop posts it, and not in an envelope of SNS.
            topic.add_subscription(subscriptions.UrlSubscription(webhook, raw_message_delivery=True))
        return topic


def _part(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))
