"""What single requests give reason to tell is told once, soon, and never so often that nobody reads it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from farebox.domain.record import Outcome, RequestRecord
from farebox.domain.usage import CostStatus
from farebox.jobs.alerts.requests import AGAIN_AFTER, OLD_AFTER, PLACES_A_DAY, RequestAlerts
from farebox.jobs.alerts.words import AlertWords
from tests.support.alerts import CLAIM, MemoryNotices, Topic
from tests.support.builders import NOON, FixedClock, a_record

SECOND = timedelta(seconds=1)


def alerts_over(topic: Topic, clock: FixedClock, notices: MemoryNotices | None = None) -> RequestAlerts:
    return RequestAlerts(notices or MemoryNotices(), topic, AlertWords("test", None), clock)


def unpriced(number: int = 1, **changes: Any) -> RequestRecord:
    told = {"model": f"invented-{number}", "cost_status": CostStatus.UNPRICED, "status": 200}
    return a_record(f"req_{number}", **{**told, **changes})


def runaway(number: int = 1, **changes: Any) -> RequestRecord:
    told = {"session_id": f"s-{number}", "error_type": "BrakeSpent", "outcome": Outcome.REFUSED}
    return a_record(f"req_{number}", **{**told, **changes})


async def test_an_alert_that_is_never_taken_fails_its_own_request_alone() -> None:
    topic, clock = Topic(refuses=lambda alert: "invented-1" in alert.subject), FixedClock()
    alerts = alerts_over(topic, clock)
    looked = await alerts.look([unpriced(1), unpriced(2), a_record("req_3")])
    assert (looked.told, looked.failed) == (1, frozenset({"req_1"}))
    assert ["invented-2" in alert.subject for alert in topic.taken] == [True]


async def test_what_was_not_taken_is_told_when_it_comes_again() -> None:
    topic, clock = Topic(is_away=True), FixedClock()
    alerts = alerts_over(topic, clock)
    assert (await alerts.look([runaway()])).failed == {"req_1"}
    topic.is_away = False
    clock.advance(CLAIM)
    assert (await alerts.look([runaway()])).told == 1


async def test_a_topic_that_is_away_is_not_asked_for_each_of_many_alerts() -> None:
    topic, clock = Topic(is_away=True), FixedClock()
    looked = await alerts_over(topic, clock).look(
        [unpriced(number, key_id=f"k{number}") for number in range(50)]
    )
    assert len(looked.failed) == 50
    assert topic.asked < 10


async def test_models_that_a_key_invents_are_told_so_often_a_day_and_no_more() -> None:
    topic, clock = Topic(), FixedClock()
    alerts = alerts_over(topic, clock)
    for number in range(50):
        await alerts.look([unpriced(number)])
    assert len(topic.taken) == PLACES_A_DAY
    assert ["more of this kind" in alert.text for alert in topic.taken] == [False] * (PLACES_A_DAY - 1) + [
        True
    ]
    clock.advance(AGAIN_AFTER)
    await alerts.look([unpriced(99, at=clock.now())])
    assert len(topic.taken) == PLACES_A_DAY + 1


async def test_sessions_that_a_key_invents_are_told_so_often_a_day_and_no_more() -> None:
    topic, clock = Topic(), FixedClock()
    await alerts_over(topic, clock).look([runaway(number) for number in range(50)])
    assert len(topic.taken) == PLACES_A_DAY


async def test_a_key_that_invents_models_silences_no_other() -> None:
    topic, clock = Topic(), FixedClock()
    alerts = alerts_over(topic, clock)
    await alerts.look([unpriced(number) for number in range(50)])
    topic.taken.clear()
    # Also for a model that was first asked for when the other key had no place left.
    await alerts.look([unpriced(49, key_id="another")])
    assert len(topic.taken) == 1


async def test_what_is_long_past_is_told_to_nobody() -> None:
    topic, clock = Topic(), FixedClock()
    clock.advance(OLD_AFTER + SECOND)
    looked = await alerts_over(topic, clock).look([runaway(1, at=NOON), unpriced(2, at=NOON)])
    assert (looked.told, looked.failed, topic.asked) == (0, frozenset(), 0)
