"""Listeners hear every event; what goes wrong with one stays with it."""

import asyncio
import logging

import pytest

from farebox.adapters.local.event_bus import LocalEventBus
from farebox.domain.event import Event, RequestFinished
from tests.support.builders import a_record

FIRST, SECOND = RequestFinished(a_record("r1")), RequestFinished(a_record("r2"))


async def test_every_listener_hears_every_event_in_order() -> None:
    plain: list[Event] = []
    awaited: list[Event] = []

    async def listen(event: Event) -> None:
        await asyncio.sleep(0)
        awaited.append(event)

    bus = LocalEventBus([plain.append, listen])
    await bus.emit(FIRST)
    await bus.emit(SECOND)
    await bus.drain()
    assert plain == awaited == [FIRST, SECOND]


async def test_a_slow_listener_does_not_keep_the_request_waiting() -> None:
    heard: list[Event] = []
    gate = asyncio.Event()

    async def slow(event: Event) -> None:
        await gate.wait()
        heard.append(event)

    bus = LocalEventBus([slow])
    await bus.emit(FIRST)
    assert heard == []
    gate.set()
    await bus.drain()
    assert heard == [FIRST]


async def test_a_failing_listener_is_logged_without_what_it_heard(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[Event] = []

    def failing(event: Event) -> None:
        raise ValueError("canary")

    async def failing_later(event: Event) -> None:
        raise KeyError("canary")

    bus = LocalEventBus([failing, failing_later, heard.append])
    await bus.emit(FIRST)
    await bus.drain()
    assert heard == [FIRST]
    assert [(record.levelno, record.name) for record in caplog.records] == [
        (logging.ERROR, "farebox.events")
    ] * 2
    assert [record.getMessage().rpartition(".")[2] for record in caplog.records] == [
        "failing failed: ValueError",
        "failing_later failed: KeyError",
    ]
    assert "canary" not in caplog.text


async def test_a_listener_that_is_cancelled_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    async def cancelled(event: Event) -> None:
        raise asyncio.CancelledError

    bus = LocalEventBus([cancelled])
    await bus.emit(FIRST)
    await bus.drain()
    assert caplog.records == []
