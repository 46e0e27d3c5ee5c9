"""What was lost on its way comes again: log lines into the ledger, ledger rows to sums and alerts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict

from farebox.domain.budget import Touch
from farebox.domain.config import Policy
from farebox.domain.errors import ConfigInvalid
from farebox.domain.record import Billing, RequestRecord, booked_on
from farebox.http.admin.auth import actor
from farebox.http.admin.ports import AdminPorts
from farebox.http.moments import read_field, utc_text
from farebox.ports import AuditEntry

NOTHING_BEHIND = "this gateway reads its ledger for every report, so there is nobody to tell"


class Unsettled(BaseModel):
    """Records as the log has them."""

    model_config = ConfigDict(extra="forbid")
    records: list[dict[str, Any]]


class Missed(BaseModel):
    """A time whose ledger rows are told again, and where to go on."""

    model_config = ConfigDict(extra="forbid")
    since: str
    until: str | None = None
    cursor: str | None = None


def replay_router(ports: AdminPorts) -> APIRouter:
    """Make the routes, which book through the ledger that `ports` carry. What is asked for is audited before
    it is done, so that a run that stops midway is too.
    """
    router = APIRouter(prefix="/v1/ledger", tags=["ledger"])

    async def note(request: Request, name: str, asked: dict[str, object]) -> None:
        entry = AuditEntry(ports.clock.now(), actor(request), "replay", "ledger", name, after=asked)
        await ports.reports.note(entry)

    @router.post("/replay")
    async def replay(request: Request, unsettled: Unsettled) -> dict[str, int]:
        """Book records as the log has them. One that is in the ledger already changes nothing."""
        policy = await ports.policies.current()
        read = [_record(position, fields) for position, fields in enumerate(unsettled.records)]
        if read:
            await note(request, "log", _span(read))
        for record in read:
            await ports.ledger.settle(record.id, record, _booked(record, policy))
        return {"replayed": len(read)}

    @router.post("/announce")
    async def announce(request: Request, missed: Missed) -> dict[str, object]:
        """Tell sums and alerts of the ledger rows of a time again, some thousands at once, oldest first.

        What was counted or told before is not counted or told twice. `next` is the cursor to go on with, and
        `until` the end to go on to.
        """
        if ports.replayer is None:
            raise ConfigInvalid("since", NOTHING_BEHIND)
        now = ports.clock.now()
        since = read_field("since", missed.since, now)
        until = now if missed.until is None else read_field("until", missed.until, now)
        if until <= since:
            raise ConfigInvalid("until", "must be later than since")
        await note(
            request, "rows", {"since": utc_text(since), "until": utc_text(until), "cursor": missed.cursor}
        )
        done = await ports.replayer.replay(since, until, missed.cursor)
        return {"announced": done.rows, "until": utc_text(until), "next": done.next}

    return router


def _span(records: Sequence[RequestRecord]) -> dict[str, object]:
    """Say of which time they are, the last one included."""
    moments = [record.at for record in records]
    return {"records": len(records), "since": utc_text(min(moments)), "until": utc_text(max(moments))}


def _record(position: int, fields: dict[str, Any]) -> RequestRecord:
    try:
        return msgspec.convert(fields, RequestRecord)
    except msgspec.ValidationError as error:
        raise ConfigInvalid(f"records[{position}]", f"is not a record as farebox logs it ({error})") from None


def _booked(record: RequestRecord, policy: Policy) -> tuple[Touch, ...]:
    is_subscription = record.billing is Billing.SUBSCRIPTION
    budgets = policy.budgets_of(record.session_id, record.at)
    counted = [budget for budget in budgets if budget.include_subscription or not is_subscription]
    return booked_on(counted, record)
