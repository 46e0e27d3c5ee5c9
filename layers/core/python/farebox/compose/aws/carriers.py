"""Wires the functions that carry ledger rows on: the relay to the event bus, the aggregator to the sums."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import msgspec

from farebox.adapters.aws.ledger.outbox import written_row
from farebox.adapters.aws.services.event_bus import BusAnnouncer
from farebox.compose.aws.jobs import Answer, Event, Job, Write, aws_service, failures, open_tables, told
from farebox.jobs.aggregate import aggregate
from farebox.jobs.emf import JobMetrics
from farebox.jobs.inbox import log_unreadable, read_inbox
from farebox.jobs.relay import announcement, relay
from farebox.ports.behind import Announcement, Announcer

_log = logging.getLogger("farebox.jobs")


def relay_job(environment: Mapping[str, str], write: Write) -> Job:
    """Make the relay: new rows of the usage table's stream, told to the event bus."""
    aws = open_tables(environment)
    announcer = BusAnnouncer(aws_service(aws, "events"), told(aws.deployment.event_bus, "event_bus"))
    metrics = JobMetrics(write, aws.deployment.stage, "ledger_relay", aws.clock)

    async def work(event: Event) -> Answer:
        records = event["Records"]
        first_failed = await _relayed(records, announcer)
        places = [record["dynamodb"]["SequenceNumber"] for record in records]
        done = len(places) if first_failed is None else places.index(first_failed)
        metrics(rows_announced=done, records_failed=len(places) - done)
        return failures([] if first_failed is None else [first_failed])

    return Job(aws, work)


def aggregator_job(environment: Mapping[str, str], write: Write) -> Job:
    """Make the aggregator: rows that messages are about, added to the sums."""
    aws = open_tables(environment)
    metrics = JobMetrics(write, aws.deployment.stage, "usage_aggregator", aws.clock)

    async def work(event: Event) -> Answer:
        inbox = read_inbox(event)
        log_unreadable(inbox)
        done = await aggregate(inbox.rows, aws.store.ledger_rows, aws.store.rollups)
        failed = [*inbox.unreadable, *sorted(done.failed)]
        metrics(rows_counted=done.counted, rows_known=done.known, records_failed=len(failed))
        return failures(failed)

    return Job(aws, work)


async def _relayed(records: list[Event], announcer: Announcer) -> str | None:
    """Announce the new rows of a batch; give the place from which on they must come again."""
    new: list[tuple[str, Announcement]] = []
    unreadable: str | None = None
    for record in records:
        try:
            row = written_row(record)
        except (KeyError, ValueError, msgspec.MsgspecError) as error:
            # Nothing of the row itself: it might be anybody's.
            unreadable = record["dynamodb"]["SequenceNumber"]
            _log.error("record %s of the stream is none of ours: %s", unreadable, type(error).__name__)
            break
        if row is not None:
            told = announcement(row.id, row.kind, row.at, row.record, row.entries)
            new.append((row.sequence, told))
    return await relay(new, announcer) or unreadable
