"""Metric lines hold to the embedded metric format, and nobody can make metrics multiply."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from farebox.domain.budget.alert import Crossing
from farebox.domain.event import BreakerMoved, BudgetThresholdCrossed, RequestFinished
from farebox.domain.record import Outcome, RequestRecord
from farebox.domain.routing.breaker import BreakerKey, BreakerState
from farebox.domain.routing.caching import CacheStatus
from farebox.domain.usage import CostStatus, Usage
from farebox.jobs.emf import DIRECTIVES, NAMESPACE, UNITS, VALUES_MAX, EmfMetrics
from tests.support.builders import NOON, a_budget, a_record, an_attempt

KNOWN = frozenset({"claude-sonnet-4-5"})

# Source: CloudWatch user guide, "Embedded metric format specification", read 2026-11.
DIMENSIONS_MAX, METRICS_MAX, VALUE_MAX, LINE_BYTES_MAX = 30, 100, 1_024, 1_048_576
CLOUDWATCH_UNITS = frozenset({"Count", "Milliseconds", "None"})


def lines_of(*records: RequestRecord) -> list[dict[str, Any]]:
    written: list[str] = []
    metrics = EmfMetrics(written.append, "prod", KNOWN)
    for record in records:
        metrics(RequestFinished(record))
    return [json.loads(line) for line in written]


def broken_rules(line: dict[str, Any]) -> list[str]:
    """Hold a line to the specification; give what it breaks."""
    broken = []
    metadata = line["_aws"]
    if not isinstance(metadata["Timestamp"], int) or metadata["Timestamp"] < 10**12:
        broken.append("Timestamp is milliseconds since 1970")
    for directive in metadata["CloudWatchMetrics"]:
        if set(directive) != {"Namespace", "Dimensions", "Metrics"} or not directive["Namespace"]:
            broken.append("a directive has namespace, dimensions and metrics")
        if not 0 < len(directive["Metrics"]) <= METRICS_MAX:
            broken.append("number of metrics")
        for names in directive["Dimensions"]:
            if len(names) > DIMENSIONS_MAX:
                broken.append("number of dimensions")
            for name in names:
                value = line.get(name)
                if not isinstance(value, str) or not value.strip() or len(value) > VALUE_MAX:
                    broken.append(f"dimension {name} refers to a text")
                elif not value.isascii() or not value.isprintable():
                    broken.append(f"dimension {name} is printable ASCII")
        for metric in directive["Metrics"]:
            value = line.get(metric["Name"])
            if isinstance(value, bool) or not isinstance(value, int | float):
                broken.append(f"metric {metric['Name']} refers to a number")
            if metric["Unit"] not in CLOUDWATCH_UNITS:
                broken.append(f"unit of {metric['Name']}")
    if len(json.dumps(line)) > LINE_BYTES_MAX:
        broken.append("size")
    return broken


def test_a_finished_request_is_one_line_with_everything_that_is_measured() -> None:
    usage = Usage(1, 2, 3, 4, 5)
    record = a_record(usage=usage, charged_picodollars=2_500_000_000, overrun_picodollars=10**9)
    [line] = lines_of(record)
    directives = line.pop("_aws")["CloudWatchMetrics"]
    assert {each["Namespace"] for each in directives} == {NAMESPACE}
    assert [tuple(each["Dimensions"][0]) for each in directives] == [names for names, _ in DIRECTIVES]
    assert line == {
        "stage": "prod",
        "provider": "anthropic",
        "model": "claude-sonnet-4-5",
        "outcome": "finished",
        "workspace": "platform",
        "requests": 1,
        "errors_4xx": 0,
        "errors_5xx": 0,
        "refused": 0,
        "throttled": 0,
        "unpriced": 0,
        "cold_starts": 1,
        "ttft_ms": 400,
        "duration_ms": 900,
        "input_tokens": 1,
        "cache_read_tokens": 2,
        "cache_write_5m_tokens": 3,
        "cache_write_1h_tokens": 4,
        "output_tokens": 5,
        "charged_usd": 0.0025,
        "overrun_usd": 0.001,
    }
    elsewhere = {"cache_hits", "cache_misses", "saved_usd", "failed_attempts", "breakers_opened"}
    assert set(UNITS) - set(line) == elsewhere


def test_attempts_that_failed_are_counted_where_there_are_some() -> None:
    failed = an_attempt(status=529, reason="status 529")
    [line] = lines_of(a_record(attempts=(failed, failed, an_attempt())))
    assert line["failed_attempts"] == 2


def test_a_circuit_breaker_that_opens_is_a_line_of_its_own() -> None:
    written: list[str] = []
    metrics = EmfMetrics(written.append, "prod", KNOWN)
    for model, state in (
        ("claude-sonnet-4-5", BreakerState.OPEN),
        ("of-a-caller", BreakerState.OPEN),
        ("claude-sonnet-4-5", BreakerState.CLOSED),
    ):
        metrics(BreakerMoved(BreakerKey("first", model, "eu"), state, NOON))
    lines = [json.loads(line) for line in written]
    assert [broken_rules(line) for line in lines] == [[], []]
    assert [(line["provider"], line["model"], line["breakers_opened"]) for line in lines] == [
        ("first", "claude-sonnet-4-5", 1),
        ("first", "other", 1),
    ]


def test_what_the_cache_was_is_measured_where_it_was_asked() -> None:
    hit = a_record(cache_status=CacheStatus.HIT, saved_picodollars=10**9)
    others = (a_record(cache_status=status) for status in (CacheStatus.MISS, CacheStatus.REFRESH))
    lines = lines_of(hit, *others)
    assert [(line["cache_hits"], line["cache_misses"], line["saved_usd"]) for line in lines] == [
        (1, 0, 0.001),
        (0, 1, 0),
        (0, 0, 0),
    ]
    by_stage = lines[0]["_aws"]["CloudWatchMetrics"][0]
    assert "saved_usd" in {metric["Name"] for metric in by_stage["Metrics"]}


def test_the_time_of_a_line_is_when_the_request_ended() -> None:
    [line] = lines_of(a_record(duration_ms=1_500))
    ended = NOON + timedelta(milliseconds=1_500)
    assert line["_aws"]["Timestamp"] == int(ended.timestamp() * 1000)


def test_only_the_first_request_of_a_process_is_a_cold_start() -> None:
    assert [line["cold_starts"] for line in lines_of(a_record(), a_record(), a_record())] == [1, 0, 0]


def test_refusals_throttles_errors_and_models_without_a_price_are_told_apart() -> None:
    refused, braked, broken, unpriced = lines_of(
        a_record(outcome=Outcome.REFUSED, status=402, ttft_ms=None),
        a_record(outcome=Outcome.REFUSED, status=429, ttft_ms=None),
        a_record(outcome=Outcome.UPSTREAM_ERROR, status=529),
        a_record(cost_status=CostStatus.UNPRICED, cost_picodollars=None),
    )
    names = ("errors_4xx", "errors_5xx", "refused", "throttled", "unpriced")
    assert [tuple(line[name] for name in names) for line in (refused, braked, broken, unpriced)] == [
        (1, 0, 1, 0, 0),
        (1, 0, 1, 1, 0),
        (0, 1, 0, 0, 0),
        (0, 0, 0, 0, 1),
    ]
    assert "ttft_ms" not in refused
    assert all(
        metric["Name"] != "ttft_ms"
        for directive in refused["_aws"]["CloudWatchMetrics"]
        for metric in directive["Metrics"]
    )


def test_neither_keys_nor_users_nor_sessions_are_in_a_line() -> None:
    record = a_record(
        key="canary-key", key_id="canary-id", user="canary-user", session_id="canary-session",
        agent_id="canary-agent", metadata={"canary": "canary"}, trace_id="canary-trace",
    )  # fmt: skip
    [line] = lines_of(record)
    assert "canary" not in json.dumps(line)


def test_models_without_a_price_share_one_name_and_priced_ones_have_their_own() -> None:
    strange = [a_record(model=f"made-up-{number}") for number in range(3)]
    priced = a_record(model="gpt-9", rates={"input": "1"})
    unpriced = a_record(model="gpt-9", rates={"input": "1"}, cost_status=CostStatus.UNPRICED)
    assert [line["model"] for line in lines_of(*strange, priced, unpriced)] == [
        *["other"] * 3,
        "gpt-9",
        "other",
    ]


def test_one_process_names_so_many_workspaces_and_no_more() -> None:
    records = [a_record(workspace=f"w{number}") for number in range(VALUES_MAX + 5)]
    named = [line["workspace"] for line in lines_of(*records, records[0])]
    assert named[VALUES_MAX - 1 : VALUES_MAX + 2] == [f"w{VALUES_MAX - 1}", "other", "other"]
    assert named[-1] == "w0"


def test_other_events_are_no_metrics() -> None:
    written: list[str] = []
    window = a_budget().window_at(NOON)
    crossing = Crossing("b", a_budget().unit, "", window, 1, 50, 1, NOON)
    EmfMetrics(written.append, "prod", KNOWN)(BudgetThresholdCrossed(crossing))
    assert written == []


@given(
    text=st.text(max_size=300),
    status=st.integers(100, 599),
    outcome=st.sampled_from(Outcome),
    ttft_ms=st.none() | st.integers(0, 10**7),
    charged=st.integers(0, 10**21),
)
def test_every_line_holds_to_the_specification(
    text: str, status: int, outcome: Outcome, ttft_ms: int | None, charged: int
) -> None:
    record = a_record(
        workspace=text,
        provider=text or None,
        model=text,
        rates={"input": "1"},
        status=status,
        outcome=outcome,
        ttft_ms=ttft_ms,
        charged_picodollars=charged,
    )
    [line] = lines_of(record)
    assert broken_rules(line) == []


def test_a_line_that_breaks_the_specification_is_found() -> None:
    [line] = lines_of(a_record())
    assert broken_rules({**line, "workspace": ""}) == ["dimension workspace refers to a text"]
    assert broken_rules({**line, "model": "ü"}) == ["dimension model is printable ASCII"] * 2
    del line["overrun_usd"]
    assert broken_rules(line) == ["metric overrun_usd refers to a number"]
