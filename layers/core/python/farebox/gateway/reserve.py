"""Step three: hold what the request may cost on every blocking budget it touches, before anything is sent."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

from msgspec import Struct

from farebox.domain.budget import Shortage
from farebox.domain.budget.brake import brake_and_cap, session_of
from farebox.domain.errors import BrakeSpent, BudgetExhausted, BudgetHeld, StoreFault
from farebox.domain.plan import Option
from farebox.domain.record import RequestRecord
from farebox.gateway.charging.amounts import held_touches, quoted_picodollars
from farebox.gateway.charging.clamp import clamped
from farebox.gateway.charging.journal import Journal
from farebox.ports import Clock, Hold, Ledger

_log = logging.getLogger("farebox.reserve")

FIRST_WAIT_MS = 20
LONGEST_WAIT_MS = 250
RETRY_AFTER_S = 2
CLAMPS_MAX = 8
"""How often a request is made shorter: each budget may ask for it, and others draw on them meanwhile."""


class HoldTerms(Struct, frozen=True):
    """How long a hold lives without renewal, and how long a request waits for others to give theirs back, at
    all of its targets together.
    """

    lease_ms: int = 60_000
    wait_ms: int = 2_000


async def reserve(
    option: Option, journal: Journal, ledger: Ledger, clock: Clock, terms: HoldTerms
) -> tuple[Option, Hold | None]:
    """Hold a target's quote on all of its blocking budgets, on top of what earlier attempts cost, or on none.

    Picodollars or tokens, by budget. A request that no budget blocks is held too, at nothing: its draft is
    the row that is booked if the process dies. What an earlier target held is given back in the same atomic
    step; where nothing changes, nothing is asked. Where a budget wants it and it helps, the option that is
    given asks for a shorter answer. Raises `BudgetExhausted` when what is settled leaves too little,
    `BudgetHeld` when open requests stood in the way until all of `wait_ms` was used up, here or at earlier
    targets, and `StoreFault` where a budget blocks; where none does, the request goes on without a hold.
    """
    held, clamps_left = journal.hold, CLAMPS_MAX
    blocking = held_touches(option, option.quote, journal.spent)
    draft = journal.draft(quoted_picodollars(option.rates, option.quote))
    if held is not None and held.touches == blocking and _books_alike(held.draft, draft):
        return option, held
    step, sequence = (ledger.reserve, 0) if held is None else (ledger.top_up, held.sequence + 1)
    wait_ms, since_ms = FIRST_WAIT_MS, clock.monotonic_ms()
    while True:
        lease_until = clock.now() + timedelta(milliseconds=terms.lease_ms)
        hold = Hold(journal.request.request_id, sequence, blocking, lease_until, draft)
        try:
            shortage = await step(hold)
        except StoreFault as fault:
            if blocking or held is not None:
                raise
            _log.warning("request %s goes on without a hold: %s", hold.request_id, fault)
            return option, None
        if shortage is None:
            return option, hold
        if clamps_left and (shorter := clamped(option, shortage, held)) is not None:
            option, clamps_left = shorter, clamps_left - 1
            blocking = held_touches(option, option.quote, journal.spent)
            draft = journal.draft(quoted_picodollars(option.rates, option.quote))
            continue
        now_ms = clock.monotonic_ms()
        journal.waited_ms, since_ms = journal.waited_ms + now_ms - since_ms, now_ms
        if is_exhausted(shortage) or journal.waited_ms >= terms.wait_ms:
            raise refusal(shortage)
        await asyncio.sleep(wait_ms / 1000)
        wait_ms = min(wait_ms * 2, LONGEST_WAIT_MS)


def _books_alike(one: RequestRecord, other: RequestRecord) -> bool:
    """Whether the sweeper would book the same of two drafts, on budgets that do not block too."""
    return (one.provider, one.model, one.charged_picodollars) == (
        other.provider,
        other.model,
        other.charged_picodollars,
    )


def is_exhausted(shortage: Shortage) -> bool:
    """Say whether the bucket is short even if every open hold were given back."""
    touch, standing = shortage.touch, shortage.standing
    return standing.is_marked or standing.settled + touch.amount > touch.budget.limit


async def mark_exhausted(shortage: Shortage, ledger: Ledger) -> None:
    """Close the bucket for which an answer was cut, unless it was short only of what others hold."""
    if is_exhausted(shortage):
        await ledger.exhaust([shortage.touch])


def refusal(shortage: Shortage) -> BudgetExhausted | BudgetHeld | BrakeSpent:
    """Word a shortage."""
    touch, standing = shortage.touch, shortage.standing
    budget = touch.budget
    bucket = budget.scope.bucket_label(touch.bucket)
    braked = brake_and_cap(budget.name)
    if braked is not None and is_exhausted(shortage):
        spent, limit = budget.amount_text(standing.settled), budget.amount_text(budget.limit)
        session = session_of(budget.scope, touch.bucket)
        return BrakeSpent(*braked, session, f"{spent} of {limit} spent", budget.contact)
    if is_exhausted(shortage):
        return BudgetExhausted(
            budget=budget.name,
            bucket=bucket,
            unit=budget.unit.value,
            limit=budget.limit,
            settled=standing.settled,
            needed=touch.amount,
            window_end=touch.window.end,
            limit_text=budget.amount_text(budget.limit),
            settled_text=budget.amount_text(standing.settled),
            needed_text=budget.amount_text(touch.amount),
            is_closed=standing.is_marked or standing.settled >= budget.limit,
            contact=budget.contact,
        )
    return BudgetHeld(
        budget=budget.name,
        bucket=bucket,
        retry_after_s=RETRY_AFTER_S,
        limit_text=budget.amount_text(budget.limit),
        settled_text=budget.amount_text(standing.settled),
        held_text=budget.amount_text(standing.held),
    )
