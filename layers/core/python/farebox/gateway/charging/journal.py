"""What is known of one request while it runs. At its end it becomes the ledger row, exactly once."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

from farebox.domain.budget import Unit
from farebox.domain.plan import Caller, Plan
from farebox.domain.price import PriceBook
from farebox.domain.record import Attempt, Billing, Outcome, RequestRecord
from farebox.domain.usage import Cost, CostStatus, Served, Usage
from farebox.gateway.charging.meter import Reading
from farebox.gateway.incoming import IncomingRequest
from farebox.gateway.limit import Admission
from farebox.ports import Clock, Hold
from farebox.wire.usage_fold import UsageFold


@dataclass(slots=True)
class Journal:
    """Mutable, owned by one request. `hold` is the newest one; None before, and where the store was away."""

    request: IncomingRequest
    caller: Caller
    clock: Clock
    started_at: datetime
    started_ms: int
    organisation: str = ""
    model: str = ""
    plan: Plan | None = None
    admission: Admission | None = None
    hold: Hold | None = None
    attempts: list[Attempt] = field(default_factory=list)
    costs: list[Cost] = field(default_factory=list)
    dispatched_at: datetime | None = None
    dispatched_ms: int = 0
    first_byte_ms: int | None = None
    exhausted_budget: str | None = None
    is_finished: bool = False

    def dispatched(self) -> None:
        """The request is on its way to the provider: from here on it may cost something."""
        self.dispatched_at = self.clock.now()
        self.dispatched_ms = self.clock.monotonic_ms()

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
    ) -> None:
        """Close the attempt under way and price it. `reading` is None when it is known to have cost
        nothing.
        """
        if self.plan is None or self.dispatched_at is None:
            raise RuntimeError("an attempt ends that never began")
        cost = self._cost(prices, self.plan, reading, fold, self.dispatched_at)
        self.costs.append(cost)
        self.attempts.append(
            Attempt(
                provider=self.plan.target.provider.slug,
                model=self.plan.target.model,
                status=status,
                usage=reading.usage if reading else None,
                cost_picodollars=cost.picodollars,
                cost_status=cost.status,
                charged_picodollars=cost.charged_picodollars,
                duration_ms=self.clock.monotonic_ms() - self.dispatched_ms,
                upstream_request_id=upstream_request_id,
            )
        )
        self.dispatched_at = None

    def _cost(
        self, prices: PriceBook, plan: Plan, reading: Reading | None, fold: UsageFold | None, at: datetime
    ) -> Cost:
        provider = plan.target.provider
        served = Served(
            provider=provider.type,
            model=plan.target.model,
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

    def draft(self, charged_picodollars: int) -> RequestRecord:
        """Give the row to book if this process died now, as an estimate: all that was quoted so far."""
        charged = charged_picodollars
        drafted = self._record(Outcome.EXPIRED, 500, Usage(), charged, charged, CostStatus.ESTIMATED)
        # It is held by the very hold that carries this draft.
        return replace(drafted, overrun_picodollars=0)

    def record(self, outcome: Outcome, status: int, *, error_type: str | None = None) -> RequestRecord:
        """Give the finished row."""
        costs = [cost.picodollars for cost in self.costs]
        known = None if None in costs else sum(cost for cost in costs if cost is not None)
        charged = sum(cost.charged_picodollars for cost in self.costs)
        usage = _sum_usage(self.usages())
        return self._record(outcome, status, usage, known, charged, self._cost_status(), error_type)

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
        plan, key, last = self.plan, self.caller.key, self.attempts[-1] if self.attempts else None
        held = (
            [touch.amount for touch in self.hold.touches if touch.budget.unit is Unit.USD]
            if self.hold
            else []
        )
        return RequestRecord(
            id=self.request.request_id,
            at=self.started_at,
            organisation=self.organisation,
            workspace=key.workspace,
            key_id=key.id,
            key=key.name,
            user=key.user,
            metadata=self.caller.metadata,
            model=plan.model if plan else self.model,
            provider=plan.target.provider.slug if plan else None,
            session_id=plan.session_id if plan else self.caller.session_id,
            agent_id=self.caller.agent_id,
            trace_id=self.caller.trace_id,
            status=status,
            outcome=outcome,
            billing=plan.billing if plan else Billing.METERED,
            usage=usage,
            cost_picodollars=cost_picodollars,
            charged_picodollars=charged_picodollars,
            cost_status=cost_status,
            ttft_ms=self.first_byte_ms,
            duration_ms=self.clock.monotonic_ms() - self.started_ms,
            upstream_request_id=last.upstream_request_id if last else None,
            attempts=tuple(self.attempts),
            overrun_picodollars=max(0, charged_picodollars - held[0]) if held else 0,
            price_version=self.costs[-1].price_version if self.costs else "",
            rates=self.costs[-1].rates if self.costs else {},
            error_type=error_type,
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
