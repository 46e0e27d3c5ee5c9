"""Online charging: output is held in slices that grow while an answer streams, as RFC 8506 grants quota."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from farebox.domain.budget import Shortage
from farebox.domain.plan import Plan
from farebox.domain.usage import Usage
from farebox.gateway.journal import Journal
from farebox.gateway.meter import ESTIMATE_BYTES_PER_TOKEN, StreamMeter
from farebox.gateway.reserve import HoldTerms, held_touches, requoted_touches
from farebox.ports import Clock, Hold, Ledger

LARGEST_SLICE_TOKENS = 32_768


class Quota:
    """How much an answer may still write before the ledger is asked again. One per stream."""

    def __init__(self, plan: Plan, journal: Journal, ledger: Ledger, clock: Clock, terms: HoldTerms) -> None:
        self._plan, self._journal, self._ledger = plan, journal, ledger
        self._clock, self._terms = clock, terms
        self._held_tokens = plan.quote.output_tokens
        self._is_open = journal.hold is not None and self._held_tokens < plan.quote.output_tokens_max
        self.ask_at_bytes = self._threshold_bytes() if self._is_open else None

    async def ask(self, meter: StreamMeter) -> Shortage | None:
        """Hold the next slice if the last one is nearly used. Gives what stands in the way, if anything
        does.
        """
        hold = self._journal.hold
        if hold is None or not self._is_open:
            return None
        if meter.output_tokens_seen * 4 < self._held_tokens * 3:
            # Frames weigh more than text in short events: look again when the rest could have been filled.
            spare = self._held_tokens * 3 // 4 - meter.output_tokens_seen
            self.ask_at_bytes = meter.delta_bytes + spare * ESTIMATE_BYTES_PER_TOKEN
            return None
        slice_tokens = min(self._held_tokens, LARGEST_SLICE_TOKENS)
        tokens = min(self._held_tokens + slice_tokens, self._plan.quote.output_tokens_max)
        grown = self._grown(hold, meter.fold.usage, tokens)
        shortage = await self._ledger.top_up(grown)
        if shortage is not None:
            return shortage
        self._journal.hold = grown
        self._held_tokens = tokens
        self._is_open = tokens < self._plan.quote.output_tokens_max
        self.ask_at_bytes = meter.delta_bytes + self._threshold_bytes() if self._is_open else None
        return None

    def _threshold_bytes(self) -> int:
        return max(self._held_tokens * 3 // 4 * ESTIMATE_BYTES_PER_TOKEN // 2, 1)

    def _grown(self, hold: Hold, usage: Usage | None, output_tokens: int) -> Hold:
        """Quote anew: exactly for the input once the provider has told it, at the bound before."""
        if usage is None:
            touches = held_touches(self._plan, replace(self._plan.quote, output_tokens=output_tokens))
        else:
            touches = requoted_touches(self._plan, replace(usage, output_tokens=output_tokens))
        lease = self._clock.now() + timedelta(milliseconds=self._terms.lease_ms)
        return Hold(hold.request_id, hold.sequence + 1, touches, lease, self._journal.draft(touches))
