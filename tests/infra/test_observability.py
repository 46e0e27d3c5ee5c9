"""Dashboards and alarms look at metrics that exist, and whoever is woken is told what to do."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from farebox.compose.deployment import stack_name
from farebox.domain.budget import Unit
from farebox.domain.budget.alert import Crossing
from farebox.domain.errors import BudgetExhausted
from farebox.domain.event import RequestFinished
from farebox.domain.record import Outcome
from farebox.domain.routing.caching import CacheStatus
from farebox.jobs.emf import JOB_UNITS, NAMESPACE, EmfMetrics, JobMetrics
from farebox.jobs.notify import crossing_document
from farebox.jobs.request_log import request_line
from tests.gateway.stage import a_stage, asking
from tests.infra.conftest import Cloud
from tests.infra.synthesize import ROOT
from tests.support.builders import NOON, FixedClock, a_budget, a_record

ALARM = "AWS::CloudWatch::Alarm"
DASHBOARD = "AWS::CloudWatch::Dashboard"
DASHBOARD_METRICS_MAX = 50
"""What one of an account's three free dashboards may show."""

Series = tuple[str, frozenset[str]]
"""A metric of ours and its dimensions."""


def plain(value: Any) -> str:
    """Read a text of a template; what is known only once it is deployed becomes a word."""
    if isinstance(value, dict) and "Fn::Join" in value:
        separator, parts = value["Fn::Join"]
        return str(separator).join(plain(part) for part in parts)
    return value if isinstance(value, str) else "token"


def widgets(cloud: Cloud) -> Iterator[dict[str, Any]]:
    for dashboard in cloud.resources(DASHBOARD).values():
        yield from json.loads(plain(dashboard["Properties"]["DashboardBody"]))["widgets"]


def drawn(cloud: Cloud) -> list[list[Any]]:
    """Give the metrics of all graphs, each as a list: namespace, name, dimensions, what else."""
    return [metric for widget in widgets(cloud) for metric in widget["properties"].get("metrics", [])]


def drawn_series(cloud: Cloud) -> set[Series]:
    found: set[Series] = set()
    for metric in drawn(cloud):
        names = [part for part in metric if isinstance(part, str)]
        if names and names[0] == NAMESPACE:
            found.add((names[1], frozenset(names[2::2])))
    for dimensions, name in re.findall(
        rf"SEARCH\('{{{NAMESPACE},([^}}]+)}} MetricName=\"(\w+)\"",
        json.dumps(drawn(cloud)).replace('\\"', '"'),
    ):
        found.add((name, frozenset(dimensions.split(","))))
    return found


def watched_metrics(cloud: Cloud) -> Iterator[tuple[str, str, frozenset[str]]]:
    """Give namespace, name and dimensions of what alarms look at; each is paid for."""
    for alarm in cloud.resources(ALARM).values():
        made = alarm["Properties"]
        parts = [each["MetricStat"]["Metric"] for each in made.get("Metrics", []) if "MetricStat" in each]
        for metric in parts or [made]:
            dimensions = frozenset(each["Name"] for each in metric.get("Dimensions", []))
            yield metric["Namespace"], metric["MetricName"], dimensions


def emitted() -> set[Series]:
    """Give what the code writes, read from a line that it has written."""
    written: list[str] = []
    asked = a_record(ttft_ms=5, cache_status=CacheStatus.MISS)
    EmfMetrics(written.append, "dev", frozenset())(RequestFinished(asked))
    JobMetrics(written.append, "dev", "a_job", FixedClock())(**dict.fromkeys(JOB_UNITS, 1))
    return {
        (metric["Name"], frozenset(names))
        for line in written
        for directive in json.loads(line)["_aws"]["CloudWatchMetrics"]
        for names in directive["Dimensions"]
        for metric in directive["Metrics"]
    }


def anchors(page: str) -> set[str]:
    """Give the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_metric_of_ours_is_one_that_the_code_writes(dev: Cloud) -> None:
    used = drawn_series(dev) | {
        (name, dimensions) for namespace, name, dimensions in watched_metrics(dev) if namespace == NAMESPACE
    }
    assert len(used) > 15
    assert used - emitted() == set()


def test_everything_that_is_measured_is_shown(dev: Cloud) -> None:
    shown = {name for name, _ in drawn_series(dev)}
    # Of the last two the dead letters are drawn as SQS counts them, and records are tried again.
    assert {name for name, _ in emitted()} - shown == {"dead_letters", "records_failed"}


def test_what_jobs_are_drawn_by_is_what_they_are_called(dev: Cloud) -> None:
    jobs = {metric[metric.index("job") + 1] for metric in drawn(dev) if "job" in metric}
    assert jobs == {"ledger_relay", "usage_aggregator", "budget_notifier", "hold_sweeper"}
    for job in jobs:
        assert (ROOT / "functions" / job / "handler.py").exists()


def test_every_alarm_says_what_it_means_and_where_the_runbook_says_what_to_do(dev: Cloud) -> None:
    known = anchors((ROOT / "docs/runbook.md").read_text())
    told = [alarm["Properties"]["AlarmDescription"] for alarm in dev.resources(ALARM).values()]
    found = [re.fullmatch(r"[A-Z0-9].{20,}\. What to do: docs/runbook\.md#([a-z-]+)", text) for text in told]
    assert [text for text, match in zip(told, found, strict=True) if match is None] == []
    assert {match[1] for match in found if match} == known - {"runbook"}


def test_an_alarm_over_the_store_ends_when_nothing_is_throttled_any_more(dev: Cloud) -> None:
    # Where DynamoDB says nothing an alarm stays as it is, whatever TreatMissingData says.
    # Source: CloudWatch API reference, PutMetricAlarm, read 2026-11.
    for alarm in dev.resources(ALARM).values():
        made = alarm["Properties"]
        assert made.get("Namespace") != "AWS/DynamoDB"
        names = [
            each["Id"]
            for each in made.get("Metrics", [])
            if each.get("MetricStat", {}).get("Metric", {}).get("Namespace") == "AWS/DynamoDB"
        ]
        [told] = [each for each in made.get("Metrics", [{"ReturnData": True}]) if each["ReturnData"]]
        assert all(f"FILL({name}, 0)" in told["Expression"] for name in names)


def test_every_alarm_tells_when_it_begins_and_when_it_ends(prod: Cloud) -> None:
    [(topic, _)] = prod.resources("AWS::SNS::Topic", "observability").items()
    for alarm in prod.resources(ALARM).values():
        assert alarm["Properties"]["AlarmActions"] == alarm["Properties"]["OKActions"] == [{"Ref": topic}]
        assert alarm["Properties"]["TreatMissingData"] in {"breaching", "notBreaching"}


def test_the_addresses_come_from_the_options(dev: Cloud, prod: Cloud) -> None:
    def told(cloud: Cloud) -> set[tuple[str, str]]:
        made = cloud.resources("AWS::SNS::Subscription", "observability").values()
        return {(each["Properties"]["Protocol"], each["Properties"]["Endpoint"]) for each in made}

    assert told(dev) == set()
    assert told(prod) == {
        ("email", "finance@example.com"),
        ("https", "https://alerts.example.com/farebox"),
    }


def test_alarms_may_be_published_over_tls_by_cloudwatch_of_this_account_alone(prod: Cloud) -> None:
    [policy] = prod.resources("AWS::SNS::TopicPolicy", "observability").values()
    allowed, refused = (
        [each for each in policy["Properties"]["PolicyDocument"]["Statement"] if each["Effect"] == effect]
        for effect in ("Allow", "Deny")
    )
    assert [each["Condition"] for each in refused] == [{"Bool": {"aws:SecureTransport": "false"}}]
    assert [(each["Principal"], each["Condition"]) for each in allowed] == [
        (
            {"Service": "cloudwatch.amazonaws.com"},
            {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}},
        )
    ]


def test_no_dashboard_shows_more_than_a_free_one_may(dev: Cloud) -> None:
    assert len(dev.resources(DASHBOARD)) == 2
    for dashboard in dev.resources(DASHBOARD).values():
        body = json.loads(plain(dashboard["Properties"]["DashboardBody"]))
        listed = {
            json.dumps([part for part in metric if isinstance(part, str)])
            for widget in body["widgets"]
            for metric in widget["properties"].get("metrics", [])
        }
        assert len(listed) <= DASHBOARD_METRICS_MAX


def test_what_is_titled_per_hour_or_day_is_drawn_so_over_any_time(dev: Cloud) -> None:
    # CloudWatch else takes a span that suits the time shown. Source: CloudWatch API reference, "Dashboard
    # body structure and syntax", read 2026-11.
    for dashboard in dev.resources(DASHBOARD).values():
        assert json.loads(plain(dashboard["Properties"]["DashboardBody"]))["periodOverride"] == "inherit"


def test_every_field_that_a_query_reads_is_in_the_request_log(dev: Cloud) -> None:
    queries = [
        each["Properties"]["QueryString"] for each in dev.resources("AWS::Logs::QueryDefinition").values()
    ]
    asked = [*queries, *(widget["properties"].get("query", "") for widget in widgets(dev))]
    made = {"requests", "usd", "output", "stopped", "last", "message", "timestamp", "percent", "resets"}
    crossing = {"budget", "bucket", "threshold", "resets_at"}
    window = a_budget().window_at(NOON)
    assert crossing <= set(crossing_document(Crossing("b", Unit.USD, "", window, 1, 50, 1, NOON)))
    words = {
        "filter",
        "fields",
        "stats",
        "sort",
        "limit",
        "by",
        "as",
        "desc",
        "or",
        "and",
        "like",
        "sum",
        "max",
        "latest",
        "count",
        "SOURCE",
    }
    assert {Outcome.BUDGET_CUT.value, BudgetExhausted.__name__} < set(
        re.findall(r'"([^"]*)"', " ".join(asked))
    )
    for query in asked:
        without_texts = re.sub(r'"[^"]*"|\'[^\']*\'', "", query)
        named = set(re.findall(r"\b[a-z_]+\b", without_texts)) - words - made
        assert named - set(request_line(a_record())) - crossing == set(), query


async def test_the_line_of_a_request_that_was_not_booked_is_what_the_alarm_counts(
    dev: Cloud, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    [counted] = dev.resources("AWS::Logs::MetricFilter").values()
    async with a_stage(tmp_path) as stage:
        stage.ledger.failing = {"settle"}
        await stage.ask(asking())
    term = counted["Properties"]["FilterPattern"].strip('"')
    assert term
    assert [term in line for line in caplog.messages] == [True]


def test_the_page_lists_every_metric_by_its_dimensions() -> None:
    page = (ROOT / "docs/observability.md").read_text()
    table = page.partition("<!-- metrics -->\n")[2].partition("<!-- end of metrics -->")[0]
    listed = {
        (metric, frozenset(re.findall(r"`(\w+)`", by)))
        for by, metrics in (row.strip("|").split("|") for row in table.splitlines()[2:])
        for metric in re.findall(r"`(\w+)`", metrics)
    }
    assert listed == emitted()


def test_the_page_counts_the_alarms(dev: Cloud) -> None:
    page = (ROOT / "docs/observability.md").read_text()
    metrics, alarms = len(list(watched_metrics(dev))), len(dev.resources(ALARM))
    assert f"{alarms} alarms over {metrics} metrics" in page


def test_an_option_takes_dashboards_and_the_alarms_with_a_threshold_away(dev: Cloud, lean: Cloud) -> None:
    def names(cloud: Cloud) -> set[str]:
        stage = f"farebox-{'dev' if cloud is dev else 'lean'}-"
        made = cloud.resources(ALARM).values()
        return {alarm["Properties"]["AlarmName"].removeprefix(stage) for alarm in made}

    assert names(dev) - names(lean) == {"cost-spike", "first-token-slow"}
    assert names(lean) - names(dev) == set()
    assert lean.resources(DASHBOARD) == {}


def test_alarms_go_to_operators_where_they_are_named_and_to_a_runbook_elsewhere(lean: Cloud) -> None:
    [told] = lean.resources("AWS::SNS::Subscription", "observability").values()
    assert told["Properties"]["Endpoint"] == "operators@example.com"
    for alarm in lean.resources(ALARM).values():
        assert "https://wiki.example.com/farebox#" in alarm["Properties"]["AlarmDescription"]


def test_the_page_takes_the_stack_away_before_a_deployment_without_it(dev: Cloud) -> None:
    # What it reads from the other stacks they no longer tell without it, and CloudFormation refuses that.
    assert "Fn::ImportValue" in json.dumps(dev.templates["observability"])
    page = (ROOT / "docs/deploy.md").read_text()
    first = page.index(f"tools/cdk destroy {stack_name('dev', 'observability')} -c stage=dev\n")
    assert first < page.index('make deploy ARGS="-c stage=dev -c observability=false"')


def test_the_quota_that_the_options_name_is_what_concurrency_is_compared_to(lean: Cloud) -> None:
    [alarm] = [
        alarm["Properties"]
        for alarm in lean.resources(ALARM).values()
        if alarm["Properties"]["AlarmName"] == "farebox-lean-proxy-near-its-limit"
    ]
    assert alarm["Threshold"] == 8
