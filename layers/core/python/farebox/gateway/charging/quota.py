"""Online charging: output is held in slices that grow while an answer streams, as RFC 8506 grants quota."""

from __future__ import annotations

from datetime import timedelta

from msgspec.structs import replace

from farebox.domain.budget import Shortage
from farebox.domain.plan import Option
from farebox.domain.usage import Usage
from farebox.gateway.charging.amounts import (
    held_touches,
    quoted_picodollars,
    requoted_touches,
    used_picodollars,
)
from farebox.gateway.charging.journal import Journal
from farebox.gateway.charging.meter import ESTIMATE_BYTES_PER_TOKEN, StreamMeter, is_believable
from farebox.ports import Clock, Hold, Ledger

LARGEST_SLICE_TOKENS = 32_768
SMALLEST_SLICE_TOKENS = 512


class Quota:
    """How much an answer may still write before the ledger is asked again. One per stream."""

    def __init__(
        self, option: Option, journal: Journal, ledger: Ledger, clock: Clock, *, lease_ms: int
    ) -> None:
        self._option, self._journal, self._ledger = option, journal, ledger
        self._clock, self._lease_ms = clock, lease_ms
        self._held_tokens = option.quote.output_tokens
        self._ask_at_tokens = self._held_tokens * 3 // 4
        is_held = journal.hold is not None and bool(journal.hold.touches)
        self._is_open = is_held and self._held_tokens < option.quote.output_tokens_max
        self.ask_at_bytes = self._ask_at_tokens * ESTIMATE_BYTES_PER_TOKEN if self._is_open else None

    async def ask(self, meter: StreamMeter) -> Shortage | None:
        """Hold the next slice if the last one is nearly used. Gives what stands in the way, if anything
        does and what is held will not do.
        """
        seen, shortage = meter.output_tokens_seen, None
        while shortage is None and self._wants_more(seen):
            shortage = await self._grow(_believed(meter.fold.usage))
        last = self._held_tokens * 15 // 16
        if shortage is not None and seen < last:
            # What is held still covers it, and others may give some back meanwhile.
            self._ask_at_tokens, shortage = last, None
        self.ask_at_bytes = self._look_again_at_bytes(meter)
        return shortage

    def _wants_more(self, seen_tokens: int) -> bool:
        return self._is_open and seen_tokens >= self._ask_at_tokens

    def _look_again_at_bytes(self, meter: StreamMeter) -> int | None:
        # Frames weigh more than text in short events: the soonest that the rest can have been filled.
        spare = max(self._ask_at_tokens - meter.output_tokens_seen, 1)
        return meter.delta_bytes + spare * ESTIMATE_BYTES_PER_TOKEN if self._is_open else None

    async def _grow(self, usage: Usage | None) -> Shortage | None:
        """Hold a slice more, as large a one as fits: a budget is not exhausted while it has a small one."""
        slice_tokens = min(self._held_tokens, LARGEST_SLICE_TOKENS)
        while True:
            tokens = min(self._held_tokens + slice_tokens, self._option.quote.output_tokens_max)
            grown = self._grown(usage, tokens)
            shortage = await self._ledger.top_up(grown)
            if shortage is None:
                break
            slice_tokens //= 2
            if slice_tokens < SMALLEST_SLICE_TOKENS:
                return shortage
        self._journal.hold = grown
        self._ask_at_tokens = tokens * 3 // 4
        self._held_tokens = tokens
        self._is_open = tokens < self._option.quote.output_tokens_max
        return None

    def _grown(self, usage: Usage | None, output_tokens: int) -> Hold:
        """Quote anew: exactly for the input once the provider has told it, at the bound before."""
        option, spent = self._option, self._journal.spent
        if usage is None:
            quote = replace(option.quote, output_tokens=output_tokens)
            touches = held_touches(option, quote, spent)
            charged = quoted_picodollars(option.rates, quote)
        else:
            usage = replace(usage, output_tokens=output_tokens)
            touches = requoted_touches(option, usage, spent)
            charged = used_picodollars(option.rates, usage)
        lease = self._clock.now() + timedelta(milliseconds=self._lease_ms)
        sequence = self._journal.hold.sequence + 1 if self._journal.hold else 0
        return Hold(self._journal.request.request_id, sequence, touches, lease, self._journal.draft(charged))


def _believed(usage: Usage | None) -> Usage | None:
    """An absurd count at the start of an answer must not close a budget."""
    return usage if usage is not None and is_believable(usage) else None
