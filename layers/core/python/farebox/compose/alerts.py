"""Wires what tells people of budget thresholds on a laptop: a log line, and a webhook where one is set."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from msgspec import Struct

from farebox.adapters.local.store import LocalStore
from farebox.adapters.local.thresholds import LocalThresholds
from farebox.jobs.notify import CrossingLog, Notifier, Teller
from farebox.jobs.thresholds import ThresholdWatch
from farebox.jobs.webhook import Webhook
from farebox.ports import Clock, EventBus
from farebox.wire.http import Transport


class LocalAlerts(Struct, frozen=True):
    """Both listen to the event bus; `run` does their work behind it."""

    watch: ThresholdWatch
    notifier: Notifier

    async def run(self, events: EventBus) -> None:
        """Decide and tell until cancelled."""
        async with asyncio.TaskGroup() as running:
            running.create_task(self.watch.run(events))
            running.create_task(self.notifier.run())


def local_alerts(
    store: LocalStore,
    clock: Clock,
    transport: Transport,
    *,
    webhook_url: str | None,
    write_log: Callable[[str], None] | None,
) -> LocalAlerts:
    """Wire the alerts over a store. `write_log` gets one line a crossing."""
    thresholds = LocalThresholds(store.database)
    tellers: list[Teller] = [CrossingLog(write_log)] if write_log else []
    tellers += [Webhook(webhook_url, transport)] if webhook_url else []
    watch = ThresholdWatch(thresholds, store.policies, store.reports, clock)
    return LocalAlerts(watch, Notifier(thresholds, tellers, clock))
