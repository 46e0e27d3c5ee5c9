"""Step three: hold what the request may cost on every blocking budget it touches, before anything is sent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import timedelta

from farebox.domain.budget import Shortage, Touch, Unit
from farebox.domain.budget.brake import brake_and_cap, session_of
from farebox.domain.errors import BrakeSpent, BudgetExhausted, BudgetHeld, StoreFault
from farebox.domain.plan import Plan, Quote
from farebox.domain.price import Rates
from farebox.domain.record import RequestRecord
from farebox.domain.usage import Usage
from farebox.ports import Clock, Hold, Ledger

_log = logging.getLogger("farebox.reserve")

FIRST_WAIT_MS = 20
LONGEST_WAIT_MS = 250
RETRY_AFTER_S = 2


@dataclass(frozen=True, slots=True)
class HoldTerms:
    """How long a hold lives without renewal, and how long a request waits for others to give theirs back."""

    lease_ms: int = 60_000
    wait_ms: int = 2_000


async def reserve(
    plan: Plan,
    draft: Callable[[int], RequestRecord],
    ledger: Ledger,
    clock: Clock,
    terms: HoldTerms,
) -> Hold | None:
    """Hold the plan's quote on all blocking budgets or on none.

    Picodollars or tokens, by budget. A request that no budget blocks is held too, at nothing: `draft` gives
    the row that is booked if the process dies. Raises `BudgetExhausted` when what is settled leaves too
    little, `BudgetHeld` when open requests stood in the way for all of `wait_ms`, and `StoreFault` where a
    budget blocks; where none does, the request goes on without a hold.
    """
    blocking = held_touches(plan, plan.quote)
    give_up_at_ms = clock.monotonic_ms() + terms.wait_ms
    wait_ms = FIRST_WAIT_MS
    while True:
        hold = Hold(
            plan.request_id,
            0,
            blocking,
            clock.now() + timedelta(milliseconds=terms.lease_ms),
            draft(quoted_picodollars(plan.rates, plan.quote)),
        )
        try:
            shortage = await ledger.reserve(hold)
        except StoreFault as fault:
            if blocking:
                raise
            _log.warning("request %s goes on without a hold: %s", plan.request_id, fault)
            return None
        if shortage is None:
            return hold
        if is_exhausted(shortage) or clock.monotonic_ms() >= give_up_at_ms:
            raise refusal(shortage)
        await asyncio.sleep(wait_ms / 1000)
        wait_ms = min(wait_ms * 2, LONGEST_WAIT_MS)


def held_touches(plan: Plan, quote: Quote) -> tuple[Touch, ...]:
    """Give the plan's blocking touches with the amounts that `quote` asks for."""
    usd = quoted_picodollars(plan.rates, quote)
    return tuple(
        # At least 1, so that a limit of 0 refuses free models too.
        replace(
            touch,
            amount=max(1, usd if touch.budget.unit is Unit.USD else quoted_tokens(touch.budget.count, quote)),
        )
        for touch in plan.touches
        if touch.budget.is_blocking
    )


def requoted_touches(plan: Plan, usage: Usage) -> tuple[Touch, ...]:
    """Give the plan's blocking touches with what exactly this usage costs at most."""
    usd = used_picodollars(plan.rates, usage)
    return tuple(
        replace(
            touch,
            amount=max(1, usd if touch.budget.unit is Unit.USD else used_tokens(touch.budget.count, usage)),
        )
        for touch in plan.touches
        if touch.budget.is_blocking
    )


def used_picodollars(rates: Rates, usage: Usage) -> int:
    """Price usage at worst-case unit prices."""
    return (
        usage.input_tokens * rates.input
        + usage.cache_read_tokens * rates.cache_read
        + usage.cache_write_5m_tokens * rates.cache_write_5m
        + usage.cache_write_1h_tokens * rates.cache_write_1h
        + usage.output_tokens * rates.output
        + usage.web_search_requests * rates.web_search
    )


def quoted_picodollars(rates: Rates, quote: Quote) -> int:
    """Price a quote at the dearest class its input may fall in."""
    # A negotiated input price can be below the listed price of a cache read.
    input_rate = max(rates.input, rates.cache_read)
    if quote.caches:
        input_rate = max(input_rate, rates.cache_write_5m)
    if quote.caches_for_1h:
        input_rate = max(input_rate, rates.cache_write_1h)
    tokens = quote.input_tokens_bound * input_rate + quote.output_tokens * rates.output
    return tokens + quote.web_searches * rates.web_search


def quoted_tokens(classes: Iterable[str], quote: Quote) -> int:
    """Count a quote's tokens in the classes that a token budget counts."""
    counted = set(classes)
    tokens = quote.output_tokens if "output" in counted else 0
    return tokens + (quote.input_tokens_bound if counted - {"output"} else 0)


def booked_touches(plan: Plan, usages: Iterable[Usage], charged_picodollars: int) -> tuple[Touch, ...]:
    """Give all touches of the plan, alert-only ones too, with what the request really drew."""
    seen = tuple(usages)
    return tuple(
        replace(
            touch,
            amount=charged_picodollars
            if touch.budget.unit is Unit.USD
            else sum(used_tokens(touch.budget.count, usage) for usage in seen),
        )
        for touch in plan.touches
    )


def used_tokens(classes: Iterable[str], usage: Usage) -> int:
    """Count used tokens in the classes that a token budget counts."""
    by_class = {
        "input": usage.input_tokens,
        "cache_read": usage.cache_read_tokens,
        "cache_write": usage.cache_write_5m_tokens + usage.cache_write_1h_tokens,
        "output": usage.output_tokens,
    }
    return sum(by_class[name] for name in set(classes))


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
