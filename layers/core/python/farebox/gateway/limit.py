"""Step between resolve and reserve: draw on every rate limit the request touches, or refuse it.

What is drawn is an estimate for tokens and a lease for a place among concurrent requests; the end of the
request corrects the one and gives the other back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from farebox.domain.budget.brake import brake_and_cap, session_of
from farebox.domain.budget.rate_limit import AGENT_REMEMBERED, Draw, Level, LimitUnit, shortest
from farebox.domain.errors import BrakeExceeded, RateLimited, StoreFault
from farebox.domain.plan import Option, Quote
from farebox.domain.usage import used_tokens
from farebox.gateway.charging.amounts import Spent
from farebox.ports import Clock, RateLimiter
from farebox.wire.http import Headers
from farebox.wire.limit_headers import limit_headers, whole_seconds

OUTPUT_GUESS_TOKENS = 1_024
"""What an answer is taken to write until it is known. More would block others while it is open; what it
writes beyond is counted at its end.
"""

PLACE_RETRY_AFTER_S = 2
"""Nobody knows when a place among concurrent requests is given back."""

RENEWALS_PER_LEASE = 3

_log = logging.getLogger("farebox.limit")


class Admission(Struct, frozen=True):
    """What one request has drawn: the draws by the moment of each step. `levels` are where the limits of its
    present target stood; `headers` tell the client what is left.
    """

    limits: Limits
    request_id: str
    drawn: tuple[tuple[datetime, tuple[Draw, ...]], ...]
    levels: tuple[Level, ...]
    headers: Headers

    async def end(self, spent: Sequence[Spent]) -> None:
        """Put the true amounts in the place of what was drawn; nothing counts of a request that was never
        sent. A store that cannot answer leaves the estimate standing and the lease to run out.
        """
        self.limits.forget(self.request_id)
        await self.limits.correct(self.request_id, self.drawn, spent)


class Limits:
    """The rate limits of this process's requests. Leases of open ones are renewed while there are any."""

    def __init__(self, limiter: RateLimiter, clock: Clock, lease_ms: int) -> None:
        self._limiter, self._clock, self._lease_ms = limiter, clock, lease_ms
        self._open: dict[str, tuple[Draw, ...]] = {}
        self._renewing: asyncio.Task[None] | None = None

    async def admit(
        self, request_id: str, option: Option, before: Admission | None = None, spent: Sequence[Spent] = ()
    ) -> Admission | None:
        """Draw in one step on all limits of a target that were not drawn on `before`, or on none of them;
        then give back what the target that was left does not share. None where nothing is drawn.

        Raises `RateLimited` or `BrakeExceeded` for the limit that stands in the way for longest, and
        `StoreFault`; then all is as it was.
        """
        drawn = before.drawn if before is not None else ()
        known = {_key(draw) for _, draws in drawn for draw in draws}
        wanted = {_key(draw) for draw in option.draws}
        if wanted == known:
            return before
        now = self._clock.now()
        new = tuple(_priced(draw, option.quote) for draw in option.draws if _key(draw) not in known)
        levels = await self._drawn(new, now)
        kept = tuple((at, tuple(draw for draw in draws if _key(draw) in wanted)) for at, draws in drawn)
        left = tuple((at, tuple(draw for draw in draws if _key(draw) not in wanted)) for at, draws in drawn)
        self._keep(request_id, [draw for _, draws in (*kept, (now, new)) for draw in draws])
        await self.correct(request_id, left, spent)
        standing = [level for level in (before.levels if before else ()) if _key(level.draw) in wanted]
        levels = (*standing, *levels)
        return Admission(self, request_id, (*kept, (now, new)), levels, limit_headers(levels, now))

    def forget(self, request_id: str) -> None:
        """Stop renewing the places of a request that is over."""
        self._open.pop(request_id, None)
        if not self._open and self._renewing is not None:
            self._renewing.cancel()
            self._renewing = None

    async def correct(
        self,
        request_id: str,
        drawn: Sequence[tuple[datetime, Sequence[Draw]]],
        spent: Sequence[Spent],
    ) -> None:
        """Put what attempts really used in the place of what was drawn."""
        for at, draws in drawn:
            corrections = _corrections(draws, spent)
            if not corrections:
                continue
            try:
                await self._limiter.correct(corrections, at)
            except StoreFault as fault:
                _log.warning("rate limits of %s are not corrected: %s", request_id, fault)

    async def renew(self) -> None:
        """Move the lease of every place that this process's requests have."""
        places = [draw for draws in self._open.values() for draw in draws]
        try:
            await self._limiter.renew(places, self._clock.now() + timedelta(milliseconds=self._lease_ms))
        except StoreFault as fault:
            _log.warning("places of %d requests not renewed: %s", len(self._open), fault)

    async def _drawn(self, draws: Sequence[Draw], now: datetime) -> tuple[Level, ...]:
        if not draws:
            return ()
        levels = tuple(await self._limiter.admit(draws, now, self._leases_until(now)))
        short = shortest(levels)
        if short is not None:
            raise _refusal(short, levels, now)
        return levels

    def _leases_until(self, now: datetime) -> dict[LimitUnit, datetime]:
        return {
            LimitUnit.CONCURRENT: now + timedelta(milliseconds=self._lease_ms),
            LimitUnit.AGENTS: now + AGENT_REMEMBERED,
        }

    def _keep(self, request_id: str, draws: Sequence[Draw]) -> None:
        places = tuple(draw for draw in draws if draw.limit.unit is LimitUnit.CONCURRENT)
        self._open.pop(request_id, None)
        if places:
            self._open[request_id] = places
            if self._renewing is None or self._renewing.done():
                self._renewing = asyncio.create_task(self._keep_renewing())

    async def _keep_renewing(self) -> None:
        while True:
            await asyncio.sleep(self._lease_ms / 1000 / RENEWALS_PER_LEASE)
            await self.renew()


def _priced(draw: Draw, quote: Quote) -> Draw:
    if draw.limit.unit is not LimitUnit.TOKENS:
        return draw
    classes = set(draw.limit.count)
    tokens = min(quote.output_tokens_max, OUTPUT_GUESS_TOKENS) if "output" in classes else 0
    if classes - {"output"}:
        tokens += min(quote.input_tokens_expected, quote.input_tokens_bound)
    return replace(draw, amount=max(1, tokens))


def _corrections(draws: Sequence[Draw], spent: Sequence[Spent]) -> tuple[Draw, ...]:
    """Give what has to change, as differences; a place is given back whatever happened."""
    changes = []
    for draw in draws:
        sent = [attempt for attempt in spent if attempt.was_sent and _draws_on(attempt.option, draw)]
        true_amount = 1 if sent else 0
        if draw.limit.unit is LimitUnit.TOKENS:
            usages = [attempt.usage for attempt in sent if attempt.usage is not None]
            true_amount = sum(used_tokens(draw.limit.count, usage) for usage in usages)
        if draw.limit.unit is LimitUnit.CONCURRENT:
            changes.append(draw)
        elif draw.limit.unit is not LimitUnit.AGENTS and true_amount != draw.amount:
            changes.append(replace(draw, amount=true_amount - draw.amount))
    return tuple(changes)


def _draws_on(option: Option, draw: Draw) -> bool:
    return any(_key(each) == _key(draw) for each in option.draws)


def _key(draw: Draw) -> tuple[str, str]:
    return draw.limit.key, draw.bucket


def _refusal(short: Level, levels: Sequence[Level], now: datetime) -> RateLimited | BrakeExceeded:
    limit = short.draw.limit
    braked = brake_and_cap(limit.name)
    if braked is not None:
        found = f"{short.used} of {limit.allowance_text()}"
        return BrakeExceeded(*braked, session_of(limit.scope, short.draw.bucket), found, limit.contact)
    wait_s = PLACE_RETRY_AFTER_S if short.fits_at is None else whole_seconds(short.fits_at - now)
    return RateLimited(
        limit=limit.name,
        bucket=limit.scope.bucket_label(short.draw.bucket),
        allowance_text=limit.allowance_text(),
        used_text=_used_text(short),
        retry_after_s=None if short.is_hopeless else wait_s,
        fits_at=short.fits_at,
        is_hopeless=short.is_hopeless,
        contact=limit.contact,
        limit_headers=tuple(limit_headers(levels, now)),
    )


def _used_text(short: Level) -> str:
    if short.draw.limit.unit is LimitUnit.TOKENS:
        return f"counted now: {short.used}, and this request needs about {short.draw.amount}"
    return f"counted now: {short.used}"
