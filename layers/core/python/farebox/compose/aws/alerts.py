"""Wires the functions that tell people: the notifier, and the sweeper of dead holds."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping

from farebox.adapters.aws.services.alert_topic import SnsAlertTopic
from farebox.adapters.aws.services.dead_letters import QueuedDeadLetters
from farebox.adapters.local.event_bus import LocalEventBus
from farebox.adapters.price_data import PriceData
from farebox.compose.aws.jobs import Answer, Event, Job, Write, aws_service, failures, open_tables, told
from farebox.compose.aws.store import AwsStore
from farebox.domain.errors import StoreFault
from farebox.jobs.alerts.budgets import BudgetAlerts, TopicTeller
from farebox.jobs.alerts.dead_letters import DeadLetterWatch
from farebox.jobs.alerts.requests import RequestAlerts
from farebox.jobs.alerts.words import AlertWords
from farebox.jobs.emf import EmfMetrics, JobMetrics
from farebox.jobs.inbox import log_unreadable, read_inbox
from farebox.jobs.notify import CrossingLog, Notifier, Teller
from farebox.jobs.request_log import RequestLog
from farebox.jobs.sweep import Sweeper
from farebox.jobs.thresholds import ThresholdWatch
from farebox.ports.behind import AlertTopic

_log = logging.getLogger("farebox.jobs")


def notifier_job(environment: Mapping[str, str], write: Write) -> Job:
    """Make the notifier: decides what the rows of queued events give reason to tell, and tells it."""
    aws = open_tables(environment)
    topic, words = _topic(aws), AlertWords(aws.deployment.stage, aws.deployment.admin_url)
    budgets = _budget_alerts(aws, topic, words, write)
    requests = RequestAlerts(aws.store.notices, topic, words, aws.clock)
    metrics = JobMetrics(write, aws.deployment.stage, "budget_notifier", aws.clock)

    async def work(event: Event) -> Answer:
        inbox = read_inbox(event)
        log_unreadable(inbox)
        rows = await aws.store.ledger_rows.rows([row_id for ids in inbox.rows.values() for row_id in ids])
        records = [row.record for row in rows]
        told, untold = await budgets.look(records)
        looked = await requests.look(records)
        failed_rows = {row.id for row in rows if row.record.id in looked.failed}
        failed = [message for message, ids in inbox.rows.items() if not failed_rows.isdisjoint(ids)]
        metrics(
            alerts_told=told + looked.told,
            alerts_untold=untold + len(looked.failed),
            records_failed=len(inbox.unreadable) + len(failed),
        )
        return failures([*inbox.unreadable, *failed])

    return Job(aws, work)


def sweeper_job(environment: Mapping[str, str], write: Write) -> Job:
    """Make the sweeper: books dead holds, tells what was left untold, and watches the dead letters."""
    aws = open_tables(environment)
    stage, topic = aws.deployment.stage, _topic(aws)
    words = AlertWords(stage, aws.deployment.admin_url)
    # Nobody waited for a swept request, so no function started cold for it.
    measure = EmfMetrics(write, stage, PriceData().book().claude.models, counts_cold_start=False)
    events = LocalEventBus([RequestLog(write), measure])
    sweeper = Sweeper(aws.store.ledger, aws.store.policies, events, aws.clock)
    budgets = _budget_alerts(aws, topic, words, write)
    letters = DeadLetterWatch(
        QueuedDeadLetters(aws_service(aws, "sqs"), aws.deployment.dead_letter_queues),
        aws.store.notices,
        topic,
        words.dead_letters,
        aws.clock,
    )
    metrics = JobMetrics(write, stage, "hold_sweeper", aws.clock)

    async def work(event: Event) -> Answer:
        counts: dict[str, int] = {}

        async def sweep() -> None:
            counts["holds_swept"] = await sweeper.sweep()

        async def retell() -> None:
            counts["alerts_told"], counts["alerts_untold"] = await budgets.retell()

        async def look() -> None:
            counts["dead_letters"], told_now = await letters.look()
            counts["alerts_told"] = counts.get("alerts_told", 0) + told_now

        faults = await _all_of(sweep, retell, look)
        metrics(**counts)
        if faults:
            # Lambda counts the invocation as failed, which an alarm watches; the next minute is the next try.
            raise StoreFault("; ".join(str(fault) for fault in faults))
        return {}

    return Job(aws, work)


async def _all_of(*parts: Callable[[], Awaitable[None]]) -> list[StoreFault]:
    """Do each part, whatever became of those before; give what went wrong."""
    faults = []
    for part in parts:
        try:
            await part()
        except StoreFault as fault:
            _log.error("%s: %s", part.__name__, fault)
            faults.append(fault)
    return faults


def _topic(aws: AwsStore) -> AlertTopic:
    return SnsAlertTopic(aws_service(aws, "sns"), told(aws.deployment.alert_topic_arn, "alert_topic_arn"))


def _budget_alerts(aws: AwsStore, topic: AlertTopic, words: AlertWords, write: Write) -> BudgetAlerts:
    store = aws.store
    watch = ThresholdWatch(store.thresholds, store.policies, store.reports, aws.clock)
    # The log last: a crossing that the topic does not take would be a line at each try.
    tellers: list[Teller] = [TopicTeller(topic, store.policies, words), CrossingLog(write)]
    return BudgetAlerts(watch, Notifier(store.thresholds, tellers, aws.clock), store.thresholds, aws.clock)
