"""What tells people how a deployment is: alarms and their topic, dashboards, and queries ready to run."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions

from infra.observability.alarms import Watch, watches
from infra.observability.finance import finance_dashboard
from infra.observability.metrics import FIVE_MINUTES, SUM, OurMetrics
from infra.observability.operators import operators_dashboard
from infra.observability.queries import SAVED
from infra.observability.watched import Watched
from infra.options import Options
from infra.stack import Stack

NOT_BOOKED = "not settled"
"""What `gateway/settle.py` writes to its log of a request that the store did not take."""


class ObservabilityStack(Stack):
    """Alarms over what a deployment has, told to a topic of their own; dashboards where asked for."""

    def __init__(self, app: cdk.App, options: Options, watched: Watched) -> None:
        super().__init__(app, options, "observability", "alarms, dashboards and queries")
        ours = OurMetrics(options.stage)
        self.topic = self._topic()
        not_booked = self._not_booked(watched.proxy_log) if watched.proxy_log else None
        self.alarms = [self._alarm(watch) for watch in watches(options, ours, watched, not_booked)]
        if options.dashboards:
            rows = operators_dashboard(options, ours, watched, self.alarms)
            self._dashboard("Operators", rows, cdk.Duration.hours(12))
            self._dashboard("Finance", finance_dashboard(ours, watched), cdk.Duration.days(7))
        if watched.proxy_log:
            self._queries(watched.proxy_log)

    def _topic(self) -> sns.Topic:
        # Under AWS's own key for SNS alarms could not publish, and what they say is no secret.
        topic = sns.Topic(
            self, "AlarmTopic", display_name=f"farebox {self.options.stage} alarms", enforce_ssl=True
        )
        # A topic with a policy of its own has lost the default one, under which alarms may publish.
        topic.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                actions=["sns:Publish"],
                resources=[topic.topic_arn],
                conditions={"StringEquals": {"aws:SourceAccount": self.account}},
            )
        )
        for email in self.options.alarm_emails or self.options.alert_emails:
            topic.add_subscription(subscriptions.EmailSubscription(email))
        for webhook in self.options.alert_webhooks:
            topic.add_subscription(subscriptions.UrlSubscription(webhook))
        return topic

    def _alarm(self, watch: Watch) -> cloudwatch.Alarm:
        low, high = (
            cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD,
            cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
        )
        silence = cloudwatch.TreatMissingData
        alarm = cloudwatch.Alarm(
            self,
            "".join(word.capitalize() for word in watch.name.split("-")) + "Alarm",
            alarm_name=f"farebox-{self.options.stage}-{watch.name}",
            alarm_description=f"{watch.meaning} What to do: {self.options.runbook}#{watch.name}",
            metric=watch.metric,
            threshold=watch.threshold,
            comparison_operator=low if watch.is_low else high,
            evaluation_periods=watch.periods,
            # Nothing happens is good news where something bad is counted, and bad where something good is.
            treat_missing_data=silence.BREACHING if watch.is_low else silence.NOT_BREACHING,
        )
        alarm.add_alarm_action(actions.SnsAction(self.topic))
        alarm.add_ok_action(actions.SnsAction(self.topic))
        return alarm

    def _not_booked(self, log: logs.ILogGroup) -> cloudwatch.IMetric:
        """Count the lines about requests that the store did not take: their metrics come only once it has."""
        found = logs.MetricFilter(
            self,
            "NotBooked",
            log_group=log,
            filter_pattern=logs.FilterPattern.literal(f'"{NOT_BOOKED}"'),
            metric_namespace=f"farebox/{self.options.stage}",
            metric_name="not_booked",
            metric_value="1",
        )
        return found.metric(statistic=SUM, period=FIVE_MINUTES)

    def _dashboard(self, name: str, rows: list[list[cloudwatch.IWidget]], shown: cdk.Duration) -> None:
        cloudwatch.Dashboard(
            self,
            f"{name}Dashboard",
            dashboard_name=f"farebox-{self.options.stage}-{name.lower()}",
            default_interval=shown,
            # Else CloudWatch draws other spans than the titles say, and adds hours up as days.
            period_override=cloudwatch.PeriodOverride.INHERIT,
            widgets=rows,
        )

    def _queries(self, log: logs.ILogGroup) -> None:
        for name, lines in SAVED.items():
            logs.CfnQueryDefinition(
                self,
                "".join(word.capitalize() for word in name.split()) + "Query",
                name=f"farebox-{self.options.stage}/{name}",
                query_string="\n| ".join(lines),
                log_group_names=[log.log_group_name],
            )
