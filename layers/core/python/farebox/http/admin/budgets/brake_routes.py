"""Runaway brakes over HTTP: what they stopped, and lifting them for one session."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import Field

from farebox.domain.budget import Budget
from farebox.domain.budget.brake import Brake, brake_and_cap, session_of
from farebox.domain.errors import ConfigInvalid
from farebox.domain.money import usd_text
from farebox.domain.policy import BRAKE_LIFT, ORIGIN_ADMIN
from farebox.http.admin.auth import actor
from farebox.http.admin.editor import Edit, PolicyEditor
from farebox.http.admin.ports import AdminPorts
from farebox.http.admin.rows import Row, listing
from farebox.http.moments import read_after, read_moment, utc_text
from farebox.http.policy_sections import Pattern, Section
from farebox.ports import Resource

LIFTED_FOR = "1d"
"""Sessions hardly live longer, and a lift that was forgotten ends."""


class Lift(Section):
    """Which session no brake stops, for how long (or until when), and why."""

    session: Annotated[str, Field(min_length=1, max_length=128)]
    until: str = Field(default=LIFTED_FOR)
    reason: Pattern


def brake_router(ports: AdminPorts, editor: PolicyEditor) -> APIRouter:
    """Make the routes."""
    router = APIRouter(prefix="/v1/brakes", tags=["brakes"])

    @router.get("")
    async def brakes() -> Row:
        """Give every brake with the sessions it has stopped for money, and the lifts in force."""
        policy, now = await ports.policies.current(), ports.clock.now()
        caps = [budget for brake in policy.brakes for budget in brake.budgets()]
        standings = await ports.reports.standings(caps, now) if caps else ()
        stopped = [
            _stopped_row(each.budget, each.bucket, each.standing.settled)
            for each in standings
            if each.is_exhausted or each.standing.settled >= each.budget.limit
        ]
        lifts = [row for row in await _lift_rows(ports) if read_moment(str(row["until"])) > now]
        return {**listing([brake_row(brake) for brake in policy.brakes]), "stopped": stopped, "lifts": lifts}

    @router.post("/lifts", status_code=201)
    async def lift(request: Request, body: Lift) -> Row:
        """Let no brake stop a session for a time; it takes the place of an earlier lift of that session."""
        now = ports.clock.now()
        document: Row = {
            "session": body.session,
            "until": utc_text(_until(body.until, now)),
            "reason": body.reason,
        }

        def edit(stored: Sequence[Resource]) -> Edit:
            over = [(each.kind, each.name) for each in _over(stored, now) if each.name != body.session]
            return [Resource(BRAKE_LIFT, body.session, document, 0, ORIGIN_ADMIN, now)], over

        await editor.write(edit, actor(request))
        return document

    return router


def brake_row(brake: Brake) -> Row:
    """Give a brake: its caps, None where it has none."""
    session, agent = brake.session_picodollars, brake.agent_picodollars
    return {
        "name": brake.name,
        "scope": brake.scope.text(),
        "session_usd": None if session is None else usd_text(session),
        "agent_usd": None if agent is None else usd_text(agent),
        "session_requests_per_minute": brake.session_requests_per_minute,
        "agents_per_session": brake.agents_per_session,
        "include_subscription": brake.include_subscription,
    }


def _stopped_row(budget: Budget, bucket: str, settled: int) -> Row:
    brake, cap = brake_and_cap(budget.name) or (budget.name, "")
    return {
        "brake": brake,
        "cap": cap,
        "session": session_of(budget.scope, bucket),
        "bucket": budget.scope.bucket_label(bucket),
        "settled_usd": usd_text(settled),
        "limit_usd": usd_text(budget.limit),
    }


async def _lift_rows(ports: AdminPorts) -> list[Row]:
    _, stored = await ports.policies.resources()
    return [dict(each.document) for each in stored if each.kind == BRAKE_LIFT]


def _over(stored: Sequence[Resource], now: datetime) -> Iterator[Resource]:
    for each in stored:
        if each.kind == BRAKE_LIFT and read_moment(str(each.document["until"])) <= now:
            yield each


def _until(text: str, now: datetime) -> datetime:
    try:
        until = read_after(text, now)
    except ValueError as error:
        raise ConfigInvalid("until", str(error)) from None
    if until <= now:
        raise ConfigInvalid("until", "must be in the future")
    return until
