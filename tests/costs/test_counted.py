"""What docs/cost.md multiplies by prices is what the code does and what the templates hold."""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta
from typing import Any

from msgspec.structs import replace

from farebox.adapters.aws.dynamodb.client import DynamoClient
from farebox.adapters.aws.dynamodb.items import Items
from farebox.adapters.aws.ledger.holds import LEASE_SHARDS
from farebox.adapters.aws.ledger.rollups.store import DynamoRollups
from farebox.adapters.aws.store import DynamoStore
from farebox.adapters.aws.tables import USAGE
from farebox.domain.event import RequestFinished
from farebox.jobs.emf import DIRECTIVES, EmfMetrics, JobMetrics
from farebox.jobs.request_log import RequestLog
from farebox.ports.behind import LedgerRow
from farebox.wire.http1 import Http1Transport
from tests.adapters.aws.test_write_units import BUDGETS, Meter, units
from tests.infra.conftest import Cloud
from tests.infra.test_observability import watched_metrics
from tests.support.builders import NOON, FixedClock, a_key, a_record, an_attempt
from tests.support.dynamo import Deployment
from tools.costs.quantities import Assumed, Counted

COUNTED = Counted()
ITEM_OVERHEAD = 100
RECORD = a_record(
    "0196c1f0a2b34c5d8e9f001122334455",
    at=NOON,
    session_id="3f0c5f0e-6a39-4c43-9b57-0d1f8d1a2b3c",
    metadata={"team": "core"},
    attempts=(an_attempt(),),
    rates={"input": "3000000"},
)


async def test_a_hold_and_its_settlement_cost_the_write_units(
    deployment: Deployment, transport: Http1Transport
) -> None:
    _, steady = await units(deployment, transport, BUDGETS)
    assert steady == [COUNTED.reserve_write_units, COUNTED.settle_write_units]


async def test_a_row_costs_the_write_units_of_its_sums(
    deployment: Deployment, transport: Http1Transport
) -> None:
    clock = FixedClock()
    meter = Meter(deployment.client(transport, clock))
    rollups = DynamoRollups(Items(meter), deployment.names, clock)  # type: ignore[arg-type]  # same calls
    counted = await rollups.count([LedgerRow(RECORD.id, RECORD)])
    assert counted.new == {RECORD.id}
    assert sum(meter.units) == COUNTED.rollup_write_units


async def test_a_row_takes_the_bytes_in_its_table_and_the_indexes(
    deployment: Deployment, transport: Http1Transport
) -> None:
    clock = FixedClock()
    client = deployment.client(transport, clock)
    await units(deployment, transport, BUDGETS)
    [item] = (await client.call("Scan", {"TableName": deployment.names.usage}))["Items"]
    found = size_of(item) + ITEM_OVERHEAD
    for index in USAGE.indexes:
        kept = {USAGE.partition, index.partition, index.sort, *index.includes}
        if {index.partition, index.sort} <= set(item):
            found += size_of({name: value for name, value in item.items() if name in kept}) + ITEM_OVERHEAD
    assert is_about(COUNTED.stored_bytes, found)


def size_of(item: dict[str, Any]) -> int:
    """Give about the bytes that DynamoDB counts: names, and values as text."""
    return sum(len(name) + len(str(*value.values())) for name, value in item.items())


class Reads:
    """Counts what is read: a unit for each item of up to 4 KB that has to be the newest, half of one else."""

    def __init__(self, client: DynamoClient) -> None:
        self._client = client
        self.units = 0.0

    async def call(self, operation: str, payload: dict[str, Any]) -> dict[str, Any]:
        if operation == "GetItem":
            self.units += 1 if payload.get("ConsistentRead") else 0.5
        elif operation == "BatchGetItem":
            for asked in payload["RequestItems"].values():
                self.units += len(asked["Keys"]) * (1 if asked.get("ConsistentRead") else 0.5)
        return await self._client.call(operation, payload)

    def token(self) -> str:
        return self._client.token()


async def test_a_request_reads_key_and_policy_again_when_they_are_not_fresh(
    deployment: Deployment, transport: Http1Transport
) -> None:
    clock = FixedClock()
    reads = Reads(deployment.client(transport, clock))
    store = DynamoStore.over(reads, deployment.names, clock)  # type: ignore[arg-type]  # same calls
    await store.keys.add_gateway_key(a_key(), b"h" * 32)
    await store.policies.current()
    await store.keys.find_gateway_key(b"h" * 32)
    reads.units = 0
    clock.advance(timedelta(seconds=6))
    await store.policies.current()
    await store.keys.find_gateway_key(b"h" * 32)
    assert reads.units == COUNTED.proxy_read_units
    await store.policies.current()
    await store.keys.find_gateway_key(b"h" * 32)
    assert reads.units == COUNTED.proxy_read_units


def test_the_lines_of_a_request_have_the_bytes() -> None:
    written: list[str] = []
    for listener in (EmfMetrics(written.append, "prod", frozenset()), RequestLog(written.append)):
        listener(RequestFinished(RECORD))
    bounds = (COUNTED.metric_line_bytes, COUNTED.request_line_bytes)
    assert [is_about(bound, len(line)) for bound, line in zip(bounds, written, strict=True)] == [True, True]


def is_about(bound: int, size: int) -> bool:
    """Say whether a size is rounded up to a bound, and not by much: sizes move with every new field."""
    return 0.8 * bound < size <= bound


def test_a_request_is_counted_in_so_many_metrics() -> None:
    written: list[str] = []
    EmfMetrics(written.append, "prod", frozenset())(RequestFinished(replace(RECORD, ttft_ms=5)))
    told = Counter(
        {
            tuple(each["Dimensions"][0]): len(each["Metrics"])
            for each in json.loads(written[0])["_aws"]["CloudWatchMetrics"]
        }
    )
    assert told == {
        ("stage",): COUNTED.metrics_of_stage,
        ("stage", "provider", "model"): COUNTED.metrics_of_model,
        ("stage", "provider", "model", "outcome"): COUNTED.metrics_of_outcome,
        ("stage", "workspace"): COUNTED.metrics_of_workspace,
    }
    assert len(DIRECTIVES) == len(told)


def test_a_deployment_has_what_its_idle_bill_lists(dev: Cloud) -> None:
    assert len(list(watched_metrics(dev))) == COUNTED.alarm_metrics
    assert len(dev.resources("AWS::SecretsManager::Secret")) == COUNTED.secrets
    assert len(dev.resources("AWS::CloudWatch::Dashboard")) == COUNTED.dashboards
    polled = [
        mapping
        for mapping in dev.resources("AWS::Lambda::EventSourceMapping").values()
        if "Queue" in json.dumps(mapping["Properties"]["EventSourceArn"])
    ]
    assert len(polled) == COUNTED.polled_queues
    [sweeper] = [
        function["Properties"]
        for function in dev.resources("AWS::Lambda::Function", "jobs").values()
        if "FAREBOX_DEAD_LETTER_QUEUES" in function["Properties"]["Environment"]["Variables"]
    ]
    told = json.dumps(sweeper["Environment"]["Variables"]["FAREBOX_DEAD_LETTER_QUEUES"])
    assert told.count("DeadLetters") == COUNTED.dead_letter_queues
    assert len(LEASE_SHARDS) == COUNTED.lease_partitions
    [schedule] = [
        rule["Properties"]["ScheduleExpression"]
        for rule in dev.resources("AWS::Events::Rule").values()
        if "ScheduleExpression" in rule["Properties"]
    ]
    assert schedule == "rate(1 minute)"


def test_a_job_that_did_nothing_pays_for_no_metric() -> None:
    written: list[str] = []
    metrics = JobMetrics(written.append, "prod", "hold_sweeper", FixedClock())
    metrics(holds_swept=0, alerts_told=0)
    metrics(holds_swept=2, alerts_told=0)
    silent, busy = (json.loads(line) for line in written)
    assert silent == {"stage": "prod", "job": "hold_sweeper", "holds_swept": 0, "alerts_told": 0}
    [directive] = busy["_aws"]["CloudWatchMetrics"]
    assert [metric["Name"] for metric in directive["Metrics"]] == ["holds_swept"]


def test_nothing_else_that_is_paid_for_by_the_month_is_deployed(dev: Cloud) -> None:
    by_the_hour = {
        "AWS::KMS::Key",
        "AWS::EC2::NatGateway",
        "AWS::EC2::VPCEndpoint",
        "AWS::ElasticLoadBalancingV2::LoadBalancer",
        "AWS::CloudFront::Distribution",
        "AWS::WAFv2::WebACL",
        "AWS::CloudWatch::CompositeAlarm",
        "AWS::DynamoDB::GlobalTable",
    }
    assert {kind: dev.resources(kind) for kind in by_the_hour if dev.resources(kind)} == {}
    for table in dev.resources("AWS::DynamoDB::Table").values():
        assert table["Properties"]["BillingMode"] == "PAY_PER_REQUEST"
        assert "KMSMasterKeyId" not in table["Properties"].get("SSESpecification", {})


def test_the_proxy_has_the_memory_that_the_bill_assumes(dev: Cloud) -> None:
    [proxy] = [
        function["Properties"]
        for name, function in dev.resources("AWS::Lambda::Function", "gateway").items()
        if name.startswith("ProxyFunction")
    ]
    assert proxy["MemorySize"] == Assumed().proxy_memory_mb
