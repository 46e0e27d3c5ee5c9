"""What is remembered of a request: one row in the ledger, written once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum

from msgspec import Struct, field
from msgspec.structs import replace

from farebox.domain.budget import Budget, Subject, Touch, Unit, added_up, subject_of, touches
from farebox.domain.routing.caching import CacheStatus
from farebox.domain.usage import CostStatus, Usage, used_tokens


class Outcome(StrEnum):
    """How a request ended. Exactly one, decided once.

    FINISHED the answer reached its proper end · REFUSED farebox said no before sending · UPSTREAM_ERROR the
    provider answered with an error or could not be reached · UPSTREAM_CUT the answer broke off · CLIENT_GONE
    the caller left · BUDGET_CUT farebox ended the answer because money ran out · STOPPED the process was
    told to stop · EXPIRED the process died and the sweeper booked what was held · CACHED the answer was one
    that was given before.
    """

    FINISHED = "finished"
    REFUSED = "refused"
    UPSTREAM_ERROR = "upstream_error"
    UPSTREAM_CUT = "upstream_cut"
    CLIENT_GONE = "client_gone"
    BUDGET_CUT = "budget_cut"
    STOPPED = "stopped"
    EXPIRED = "expired"
    CACHED = "cached"

    @property
    def is_success(self) -> bool:
        """Whether the caller got a whole answer."""
        return self in (Outcome.FINISHED, Outcome.CACHED)


class Billing(StrEnum):
    """METERED is paid per token; SUBSCRIPTION is the caller's own plan, priced at list for information."""

    METERED = "metered"
    SUBSCRIPTION = "subscription"


class Attempt(Struct, frozen=True):
    """One try at one target. `status` is None when no answer came; `option_path` is where in the config the
    target stands; `reason` says why what came was no answer.
    """

    provider: str
    model: str
    status: int | None
    usage: Usage | None
    cost_picodollars: int | None
    cost_status: CostStatus
    charged_picodollars: int
    duration_ms: int
    upstream_request_id: str | None = None
    option_path: str = "config"
    reason: str | None = None


class RequestRecord(Struct, frozen=True):
    """One ledger row. Costs are sums over the attempts; `cost_picodollars` is None when any attempt is
    unpriced.

    `overrun_picodollars` is what was booked beyond what was held. `rates` are the unit prices used,
    picodollars as decimal text by token class. `exhausted_budget` names the budget that refused the request
    for want of what is left. `saved_picodollars` is what the answer cost when it was not yet in the cache.
    """

    id: str
    at: datetime
    organisation: str
    workspace: str
    key_id: str
    key: str
    user: str | None
    metadata: Mapping[str, str]
    model: str
    provider: str | None
    session_id: str | None
    agent_id: str | None
    trace_id: str
    status: int
    outcome: Outcome
    billing: Billing
    usage: Usage
    cost_picodollars: int | None
    charged_picodollars: int
    cost_status: CostStatus
    ttft_ms: int | None
    duration_ms: int
    upstream_request_id: str | None = None
    attempts: tuple[Attempt, ...] = ()
    overrun_picodollars: int = 0
    price_version: str = ""
    rates: Mapping[str, str] = field(default_factory=dict)
    error_type: str | None = None
    exhausted_budget: str | None = None
    cache_status: CacheStatus = CacheStatus.DISABLED
    saved_picodollars: int = 0

    @property
    def is_error(self) -> bool:
        """Whether it counts as failed in reports."""
        return self.status >= 400 or not self.outcome.is_success


def record_subject(record: RequestRecord) -> Subject:
    """Give the subject of a recorded request at its last target, as budgets see it."""
    return _subject(record, record.provider, record.model)


def booked_on(budgets: Iterable[Budget], record: RequestRecord) -> tuple[Touch, ...]:
    """Give what a recorded request draws on these budgets: each attempt on those of its own provider and
    model. What is charged beyond the attempts is the last target's.
    """
    counted = tuple(budgets)
    return added_up(
        replace(
            touch, amount=charged if touch.budget.unit is Unit.USD else used_tokens(touch.budget.count, usage)
        )
        for subject, charged, usage in _shares(record)
        for touch in touches(counted, subject, record.at)
    )


def _shares(record: RequestRecord) -> list[tuple[Subject, int, Usage]]:
    spent = [
        (_subject(record, each.provider, each.model), each.charged_picodollars, each.usage or Usage())
        for each in record.attempts
    ]
    rest = record.charged_picodollars - sum(charged for _, charged, _ in spent)
    if rest or not spent:
        spent.append((record_subject(record), rest, Usage() if spent else record.usage))
    return spent


def _subject(record: RequestRecord, provider: str | None, model: str) -> Subject:
    return subject_of(
        organisation=record.organisation,
        workspace=record.workspace,
        key=record.key,
        user=record.user,
        provider=provider,
        model=model,
        session=record.session_id,
        agent=record.agent_id,
        metadata=record.metadata,
    )
