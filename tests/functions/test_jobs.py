"""The functions behind requests over an emulated account: rows to bus, sums and people, once each."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from farebox.compose.aws.admin import replayer_of
from farebox.compose.aws.alerts import notifier_job, sweeper_job
from farebox.compose.aws.carriers import aggregator_job, relay_job
from farebox.compose.aws.jobs import Job
from farebox.compose.aws.store import AwsStore
from farebox.domain.budget import touches
from farebox.domain.errors import ConfigInvalid, StoreFault
from farebox.domain.record import Outcome, RequestRecord, record_subject
from farebox.domain.usage import CostStatus
from farebox.ports import UsageRow
from tests.support.builders import NOON, a_hold, a_record
from tests.support.cloud.behind import Behind
from tests.support.ministack import Ministack, ministack

__all__ = ["ministack"]

USD = 10**12
NOBODY = 1
"""A port where nobody listens."""

BUDGET = {"name": "key-day", "scope": {"key": "*"}, "usd": 10, "period": "day", "alerts": [50, 80, 100]}
CONTACT = "platform@example.com"
Make = Callable[[dict[str, str], Callable[[str], None]], Job]


@pytest.fixture
def behind(ministack: Ministack) -> Behind:
    made = Behind(ministack.port)
    made.apply({"budgets": [BUDGET], "contact": CONTACT})
    return made


class Told(list[dict[str, Any]]):
    """The lines that a job wrote."""

    def counts(self, name: str) -> list[float]:
        return [line[name] for line in self if name in line]


@contextmanager
def a_job(make: Make, environment: dict[str, str]) -> Iterator[tuple[Job, Told]]:
    told = Told()
    job = make(environment, lambda line: told.append(json.loads(line)))
    try:
        yield job, told
    finally:
        job.close()


def run(make: Make, environment: dict[str, str], event: dict[str, Any]) -> list[str]:
    """Invoke once; give what shall come again."""
    with a_job(make, environment) as (job, _):
        return [each["itemIdentifier"] for each in job(event).get("batchItemFailures", [])]


def records(count: int, **changes: Any) -> list[RequestRecord]:
    return [a_record(f"req_{number}", **changes) for number in range(count)]


def now() -> datetime:
    """The functions run by the machine's clock, and what is long past is no news."""
    return datetime.now(UTC)


def usage(behind: Behind) -> list[UsageRow]:
    """Read the sums, and assert that they are what the rows say."""

    async def read(aws: AwsStore) -> list[UsageRow]:
        since = NOON - timedelta(days=2)
        return list(await aws.store.reports.usage(by="key", since=since))

    found: list[UsageRow] = behind.run(read)
    return found


def test_a_new_row_reaches_the_sums_once_however_often_it_comes(behind: Behind) -> None:
    behind.book(*records(12))
    stream = behind.stream()
    assert len(stream["Records"]) == 12
    with a_job(relay_job, behind.environment) as (relay, told):
        assert relay(stream) == relay(stream) == {"batchItemFailures": []}
        assert told.counts("rows_announced") == [12, 12]
    messages = behind.messages("usage_aggregator")
    assert len(messages["Records"]) == 24
    with a_job(aggregator_job, behind.environment) as (aggregate, told):
        assert aggregate(messages) == aggregate(messages) == {"batchItemFailures": []}
        assert told.counts("rows_counted") == [12, 0]
    [row] = usage(behind)
    assert (row.group, row.requests, row.cost_picodollars) == ("alice", 12, 12 * 330_000_000)


def test_what_the_bus_did_not_take_comes_again_from_its_place_in_the_stream_on(behind: Behind) -> None:
    behind.book(*records(3))
    stream = behind.stream()
    places = [record["dynamodb"]["SequenceNumber"] for record in stream["Records"]]
    assert run(relay_job, behind.told(port=NOBODY), stream) == places[:1]
    assert behind.messages("usage_aggregator")["Records"] == []
    assert run(relay_job, behind.environment, stream) == []
    assert len(behind.messages("usage_aggregator")["Records"]) == 3


def test_a_record_of_the_stream_that_is_none_of_ours_does_not_hide_those_before_it(behind: Behind) -> None:
    behind.book(*records(2))
    stream = behind.stream()
    stream["Records"][1]["dynamodb"]["NewImage"] = {"id": {"S": "?"}}
    place = stream["Records"][1]["dynamodb"]["SequenceNumber"]
    assert run(relay_job, behind.environment, stream) == [place]
    assert len(behind.messages("usage_aggregator")["Records"]) == 1


def test_rows_that_no_relay_told_of_are_told_by_a_replay_and_counted_once(behind: Behind) -> None:
    behind.book(*records(5))
    killed = behind.stream()
    killed["Records"] = killed["Records"][:2]
    run(relay_job, behind.environment, killed)

    async def replay(aws: AwsStore) -> int:
        replayer = replayer_of(aws)
        assert replayer is not None
        done = await replayer.replay(NOON - timedelta(hours=1), NOON + timedelta(hours=1))
        assert done.next is None
        return done.rows

    assert behind.run(replay) == 5
    messages = behind.messages("usage_aggregator")
    assert len(messages["Records"]) == 3
    assert run(aggregator_job, behind.environment, messages) == []
    [row] = usage(behind)
    assert row.requests == 5


def test_a_message_that_cannot_be_read_fails_alone(behind: Behind) -> None:
    behind.book(*records(1))
    run(relay_job, behind.environment, behind.stream())
    for make in (aggregator_job, notifier_job):
        messages = behind.messages("usage_aggregator" if make is aggregator_job else "budget_notifier")
        messages["Records"].append({"messageId": "odd", "body": "{}"})
        assert run(make, behind.environment, messages) == ["odd"]
    assert usage(behind)[0].requests == 1


def test_each_threshold_is_told_once_in_words_that_help(behind: Behind) -> None:
    spent: dict[str, Any] = {"charged_picodollars": 8_500_000_000_000, "cost_picodollars": 8_500_000_000_000}
    behind.book(a_record(at=now(), **spent))
    run(relay_job, behind.environment, behind.stream())
    messages = behind.messages("budget_notifier")
    with a_job(notifier_job, behind.environment) as (notify, told):
        notify(messages)
        notify(messages)
        assert told.counts("alerts_told") == [2, 0]
    alerts = behind.alerts()
    assert len(alerts) == 2
    subjects = sorted(alert["Subject"] for alert in alerts)
    assert subjects == [
        "[farebox test] budget 'key-day' (alice) has reached 50 %",
        "[farebox test] budget 'key-day' (alice) has reached 80 %",
    ]
    document = json.loads(alerts[0]["Message"])
    assert document["kind"] == "budget_threshold"
    assert document["settled_usd"] == "8.5"
    assert document["command"].startswith("farebox budgets raise key-day --bucket platform/alice --usd 15")
    assert "resets" in document["text"]
    assert alerts[0]["MessageAttributes"]["kind"]["Value"] == "budget_threshold"


def test_a_runaway_session_and_a_model_without_a_price_are_told_once_a_day(behind: Behind) -> None:
    stopped = {"outcome": Outcome.REFUSED, "status": 402, "error_type": "BrakeSpent"}
    unpriced = {"cost_status": CostStatus.UNPRICED, "cost_picodollars": None, "model": "claude-unheard-of"}
    behind.book(
        *(a_record(f"req_a{number}", at=now(), **stopped) for number in range(3)),
        *(a_record(f"req_b{number}", at=now(), **unpriced) for number in range(3)),
    )
    run(relay_job, behind.environment, behind.stream())
    for _ in range(2):
        assert run(notifier_job, behind.environment, behind.messages("budget_notifier")) == []
    documents = {
        json.loads(alert["Message"])["kind"]: json.loads(alert["Message"]) for alert in behind.alerts()
    }
    assert set(documents) == {"runaway", "unpriced"}
    assert documents["runaway"]["command"].startswith("farebox brakes lift session_1")
    assert documents["unpriced"]["model"] == "claude-unheard-of"


def test_the_sweeper_charges_a_dead_hold_and_the_next_sweep_finds_none(behind: Behind) -> None:
    dead(behind)
    with a_job(sweeper_job, behind.environment) as (sweep, told):
        assert sweep({}) == sweep({}) == {}
        assert told.counts("holds_swept") == [1, 0]
        swept = [line for line in told if line.get("event") == "request"]
        assert [line["outcome"] for line in swept] == ["expired"]

    async def standing(aws: AwsStore) -> tuple[int, int]:
        budgets = (await aws.store.policies.current()).budgets
        [found] = await aws.store.reports.standings(budgets, NOON)
        assert await aws.store.reports.verify() == []
        return found.standing.settled, found.standing.held

    assert behind.run(standing) == (2 * USD, 0)


def dead(behind: Behind) -> None:
    """Leave a hold whose process is gone."""

    async def leave(aws: AwsStore) -> None:
        budgets = (await aws.store.policies.current()).budgets
        draft = a_record(
            outcome=Outcome.EXPIRED, cost_status=CostStatus.ESTIMATED, charged_picodollars=2 * USD
        )
        held = [replace(each, amount=2 * USD) for each in touches(budgets, record_subject(draft), NOON)]
        assert await aws.store.ledger.reserve(a_hold("req_1", *held, draft=draft)) is None

    behind.run(leave)


def test_an_alert_that_the_topic_does_not_take_brings_its_own_message_again(behind: Behind) -> None:
    unpriced = {"cost_status": CostStatus.UNPRICED, "cost_picodollars": None, "model": "claude-unheard-of"}
    behind.book(a_record("req_a", at=now()), a_record("req_b", at=now(), **unpriced))
    run(relay_job, behind.environment, behind.stream())
    messages = behind.messages("budget_notifier")
    [its_own] = [each["messageId"] for each in messages["Records"] if "claude-unheard-of" in each["body"]]
    away = behind.told(alert_topic_arn=behind.topic_arn + "-not")
    assert run(notifier_job, away, messages) == [its_own]


def test_what_could_not_be_told_is_counted_and_stays_decided(behind: Behind) -> None:
    behind.book(a_record(at=now(), charged_picodollars=6 * USD, cost_picodollars=6 * USD))
    run(relay_job, behind.environment, behind.stream())
    messages = behind.messages("budget_notifier")
    with a_job(notifier_job, behind.told(alert_topic_arn=behind.topic_arn + "-not")) as (notify, told):
        assert notify(messages) == {"batchItemFailures": []}
        assert (told.counts("alerts_told"), told.counts("alerts_untold")) == ([0], [1])

    async def untold(aws: AwsStore) -> list[int]:
        return [crossing.threshold for crossing in await aws.store.thresholds.untold()]

    assert behind.run(untold) == [50]


def test_dead_letters_are_told_when_they_grow_and_not_before(behind: Behind) -> None:
    sqs = behind.client("sqs")
    with a_job(sweeper_job, behind.environment) as (sweep, told):
        sweep({})
        for _ in range(2):
            sqs.send_message(QueueUrl=behind.queues["dead"], MessageBody="{}")
            sweep({})
            sweep({})
        assert told.counts("dead_letters") == [0, 1, 1, 2, 2]
        assert told.counts("alerts_told") == [0, 1, 0, 1, 0]
    sqs.close()
    documents = [json.loads(alert["Message"]) for alert in behind.alerts()]
    assert [(each["kind"], each["count"]) for each in documents] == [("dead_letters", 1), ("dead_letters", 2)]
    assert documents[0]["command"] == "farebox replay --since 14d"


def test_dead_letters_that_somebody_looks_at_are_no_news_when_they_are_back(behind: Behind) -> None:
    queue = {"QueueUrl": behind.queues["dead"]}
    with closing(behind.client("sqs")) as sqs, a_job(sweeper_job, behind.environment) as (sweep, told):
        sqs.send_message(**queue, MessageBody="{}")
        sweep({})
        [looked_at] = sqs.receive_message(**queue)["Messages"]
        sweep({})
        handle = looked_at["ReceiptHandle"]
        sqs.change_message_visibility(**queue, ReceiptHandle=handle, VisibilityTimeout=0)
        sweep({})
        assert told.counts("dead_letters") == [1, 1, 1]
        assert told.counts("alerts_told") == [1, 0, 0]


def test_a_part_that_fails_keeps_no_other_from_its_work(behind: Behind) -> None:
    dead(behind)
    lost = behind.told(dead_letter_queues=(behind.queues["dead"] + "-not",))
    with a_job(sweeper_job, lost) as (sweep, told):
        with pytest.raises(StoreFault, match="sqs"):
            sweep({})
        assert told.counts("holds_swept") == [1]


def test_a_function_that_is_not_told_where_to_says_so(behind: Behind) -> None:
    with pytest.raises(ConfigInvalid, match="event_bus"):
        relay_job(behind.told(event_bus=None), print)
    with pytest.raises(ConfigInvalid, match="alert_topic_arn"):
        notifier_job(behind.told(alert_topic_arn=None), print)
