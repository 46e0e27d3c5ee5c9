"""What is known of one request while it runs. At its end it becomes the ledger row, exactly once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from msgspec import Struct, field
from msgspec.structs import replace

from farebox.domain.budget import Touch
from farebox.domain.plan import Caller, Option, Plan
from farebox.domain.price import PriceBook
from farebox.domain.record import Attempt, Billing, Outcome, RequestRecord
from farebox.domain.routing.caching import CacheStatus
from farebox.domain.usage import TEXT_MAX, Cost, CostStatus, Served, Usage, remembered
from farebox.gateway.charging.amounts import Spent, booked_touches, overrun_picodollars
from farebox.gateway.charging.meter import Reading
from farebox.gateway.incoming import IncomingRequest
from farebox.ports import Clock, Hold
from farebox.wire.http import Headers
from farebox.wire.usage.fold import UsageFold

REASON_MAX = 128


class Drawn(Protocol):
    """What a request drew on rate limits."""

    @property
    def headers(self) -> Headers:
        """Tell the client what is left."""

    async def end(self, spent: Sequence[Spent]) -> None:
        """Put what the attempts really used in the place of what was drawn."""


class Journal(Struct):
    """Mutable, owned by one request. `option` is the target that it is with; `hold` is the newest one, None
    before and where the store was away. `waited_ms` is how long it has waited for what others hold.
    """

    request: IncomingRequest
    caller: Caller
    clock: Clock
    started_at: datetime
    started_ms: int
    organisation: str = ""
    model: str = ""
    plan: Plan | None = None
    option: Option | None = None
    admission: Drawn | None = None
    hold: Hold | None = None
    waited_ms: int = 0
    attempts: list[Attempt] = field(default_factory=list)
    costs: list[Cost] = field(default_factory=list)
    spent: list[Spent] = field(default_factory=list)
    dispatched_at: datetime | None = None
    dispatched_ms: int = 0
    first_byte_ms: int | None = None
    exhausted_budget: str | None = None
    cache_status: CacheStatus = CacheStatus.DISABLED
    saved_picodollars: int = 0
    is_finished: bool = False

    def dispatched(self) -> None:
        """The request is on its way to the provider: from here on it may cost something."""
        self.dispatched_at = self.clock.now()
        self.dispatched_ms = self.clock.monotonic_ms()

    def shorten(self, option: Option) -> Option:
        """Go on with an option that asks for a shorter answer, and let the client know."""
        self.option = option
        self.request.handling.max_tokens = option.lowered_to
        return option

    def first_byte(self) -> None:
        """The answer has begun."""
        if self.first_byte_ms is None:
            self.first_byte_ms = self.clock.monotonic_ms() - self.started_ms

    def attempted(
        self,
        prices: PriceBook,
        *,
        status: int | None,
        reading: Reading | None,
        fold: UsageFold | None = None,
        upstream_request_id: str | None = None,
        reason: str | None = None,
    ) -> None:
        """Close the attempt under way and price it. `reading` is None when it is known to have cost nothing;
        `reason` says why it came to no answer.
        """
        option = self.option
        if option is None or self.dispatched_at is None:
            raise RuntimeError("an attempt ends that never began")
        cost = self._cost(prices, option, reading, fold, self.dispatched_at)
        usage = remembered(reading.usage) if reading else None
        was_sent = status is not None or usage is not None
        self.costs.append(cost)
        self.spent.append(Spent(option, usage, cost.charged_picodollars, was_sent))
        self.attempts.append(
            Attempt(
                provider=option.target.provider.slug,
                model=option.target.model_name,
                status=status,
                usage=usage,
                cost_picodollars=cost.picodollars,
                cost_status=cost.status,
                charged_picodollars=cost.charged_picodollars,
                duration_ms=self.clock.monotonic_ms() - self.dispatched_ms,
                upstream_request_id=upstream_request_id,
                option_path=option.leaf.path,
                reason=reason[:REASON_MAX] if reason else None,
            )
        )
        self.dispatched_at = None

    def found_in_cache(self, saved_picodollars: int | None) -> None:
        """The answer was there already: it costs nothing, and counts as one request where requests are
        limited.
        """
        if self.option is None:
            raise RuntimeError("an answer without a target")
        self.first_byte()
        self.saved_picodollars = saved_picodollars or 0
        self.spent.append(Spent(self.option, None, 0, was_sent=True))

    def _cost(
        self, prices: PriceBook, option: Option, reading: Reading | None, fold: UsageFold | None, at: datetime
    ) -> Cost:
        provider = option.target.provider
        served = Served(
            provider=provider.type,
            model=option.target.priced_model,
            at=at,
            usage=reading.usage if reading else None,
            response_model=fold.model if fold else None,
            region=provider.region,
            stop_reason=fold.stop_reason if fold else None,
            stop_category=fold.stop_category if fold else None,
            content_empty=fold.content_empty if fold else False,
            fallback_categories=fold.fallback_categories if fold else (),
            is_exact=reading.is_exact if reading else True,
        )
        return prices.with_overrides(provider.prices).cost(served)

    def draft(self, quoted_picodollars: int) -> RequestRecord:
        """Give the row to book if this process died now, as an estimate: all that was quoted at this target,
        on top of what earlier attempts cost.
        """
        charged = quoted_picodollars + sum(attempt.charged_picodollars for attempt in self.spent)
        # Whatever it comes to is held by the very hold that carries this draft.
        return self._record(Outcome.EXPIRED, 500, Usage(), charged, charged, CostStatus.ESTIMATED)

    def booked(self) -> tuple[Touch, ...]:
        """Give every bucket with what the attempts drew on it."""
        return booked_touches(self.option, self.spent)

    def record(self, outcome: Outcome, status: int, *, error_type: str | None = None) -> RequestRecord:
        """Give the finished row."""
        costs = [cost.picodollars for cost in self.costs]
        known = None if None in costs else sum(cost for cost in costs if cost is not None)
        charged = sum(cost.charged_picodollars for cost in self.costs)
        usage = _sum_usage(self.usages())
        record = self._record(outcome, status, usage, known, charged, self._cost_status(), error_type)
        held = self.hold.touches if self.hold else ()
        return replace(record, overrun_picodollars=overrun_picodollars(held, self.booked()))

    def usages(self) -> tuple[Usage, ...]:
        """Give what each attempt used."""
        return tuple(attempt.usage for attempt in self.attempts if attempt.usage is not None)

    def _cost_status(self) -> CostStatus:
        statuses = {cost.status for cost in self.costs}
        for status in (CostStatus.UNPRICED, CostStatus.ESTIMATED):
            if status in statuses:
                return status
        return CostStatus.PRICED

    def _record(
        self,
        outcome: Outcome,
        status: int,
        usage: Usage,
        cost_picodollars: int | None,
        charged_picodollars: int,
        cost_status: CostStatus,
        error_type: str | None = None,
    ) -> RequestRecord:
        key, last = self.caller.key, self.attempts[-1] if self.attempts else None
        plan, option = self.plan, self.option
        return RequestRecord(
            id=self.request.request_id,
            at=self.started_at,
            organisation=self.organisation,
            workspace=key.workspace,
            key_id=key.id,
            key=key.name,
            user=key.user,
            metadata=self.caller.metadata,
            model=option.target.model_name if option else self.model,
            provider=option.target.provider.slug if option else None,
            session_id=plan.session_id if plan else self.caller.session_id,
            agent_id=self.caller.agent_id,
            trace_id=self.caller.trace_id,
            status=status,
            outcome=outcome,
            billing=option.billing if option else Billing.METERED,
            usage=usage,
            cost_picodollars=cost_picodollars,
            charged_picodollars=charged_picodollars,
            cost_status=cost_status,
            ttft_ms=self.first_byte_ms,
            duration_ms=self.clock.monotonic_ms() - self.started_ms,
            upstream_request_id=last.upstream_request_id if last else None,
            attempts=tuple(self.attempts),
            price_version=self.costs[-1].price_version if self.costs else "",
            rates=self.costs[-1].rates if self.costs else {},
            error_type=error_type[:TEXT_MAX] if error_type else None,
            exhausted_budget=self.exhausted_budget,
            cache_status=self.cache_status,
            saved_picodollars=self.saved_picodollars,
        )


def _sum_usage(usages: tuple[Usage, ...]) -> Usage:
    """Add up attempts; with a single one, keep its details too."""
    if len(usages) == 1:
        return usages[0]
    return Usage(
        input_tokens=sum(usage.input_tokens for usage in usages),
        cache_read_tokens=sum(usage.cache_read_tokens for usage in usages),
        cache_write_5m_tokens=sum(usage.cache_write_5m_tokens for usage in usages),
        cache_write_1h_tokens=sum(usage.cache_write_1h_tokens for usage in usages),
        output_tokens=sum(usage.output_tokens for usage in usages),
        web_search_requests=sum(usage.web_search_requests for usage in usages),
    )
