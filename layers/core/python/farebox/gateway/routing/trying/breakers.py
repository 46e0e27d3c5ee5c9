"""Circuit breakers as one process sees them: a copy that is seconds old, and is written to when something
fails.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from farebox.domain.config import Target
from farebox.domain.errors import StoreFault
from farebox.domain.event import BreakerMoved
from farebox.domain.routing.breaker import Breaker, BreakerKey, BreakerState
from farebox.domain.routing.tree import BreakerRule
from farebox.ports import Clock, EventBus
from farebox.ports.breakers import Breakers

REFRESH_MS = 2_000
PROBE_MS = 30_000
"""How long others wait for a probe whose process says nothing any more."""
TRIES = 4
BREAKERS_MAX = 200
"""For each workspace: every process reads all of them, and callers name models as they like."""

_log = logging.getLogger("farebox.breakers")


class Permit(Struct, frozen=True):
    """Leave to ask a target; with `probe_until` for the one probe of its breaker."""

    key: BreakerKey
    probe_until: datetime | None = None


class CircuitBreakers:
    """While all is well the store is read every `refresh_ms`, by requests whose config has a breaker, and
    never written. A store that cannot answer leaves every target in.
    """

    def __init__(
        self, store: Breakers, events: EventBus, clock: Clock, *, refresh_ms: int = REFRESH_MS
    ) -> None:
        self._store, self._events, self._clock = store, events, clock
        self._refresh_ms = refresh_ms
        self._known: dict[BreakerKey, Breaker] = {}
        self._answered: dict[BreakerKey, int] = {}
        self._read_at_ms: int | None = None

    async def refresh(self) -> None:
        """Read what other processes know, unless that was just done."""
        now_ms = self._clock.monotonic_ms()
        if self._read_at_ms is not None and now_ms - self._read_at_ms < self._refresh_ms:
            return
        self._read_at_ms = now_ms
        try:
            self._known = {breaker.key: breaker for breaker in await self._store.breakers(self._clock.now())}
        except StoreFault as fault:
            _log.warning("circuit breakers are not read: %s", fault)

    def leaves_out(self, key: BreakerKey) -> bool:
        """Whether requests should go elsewhere just now."""
        breaker = self._known.get(key)
        return breaker is not None and breaker.leaves_out(self._clock.now())

    async def may_try(self, key: BreakerKey) -> Permit | None:
        """Give leave to ask a target. Where its breaker is half open, one of all processes gets it."""
        breaker, now = self._known.get(key), self._clock.now()
        if breaker is None or breaker.state(now) is BreakerState.CLOSED:
            return Permit(key)
        until = now + timedelta(milliseconds=PROBE_MS)
        may_probe = await self._change(key, lambda found: _probed(found, now, until))
        return Permit(key, until) if may_probe else None

    async def give_back(self, permit: Permit) -> None:
        """Let somebody else probe: who was to has not asked the target, or its answer told nothing."""
        until = permit.probe_until
        if until is not None:
            await self._change(permit.key, lambda found: found.without_probe(until))

    async def failed(self, key: BreakerKey, rule: BreakerRule) -> None:
        """Count a failure, as long as the workspace has not too many breakers already."""
        if key not in self._known and self._count_of(key.workspace) >= BREAKERS_MAX:
            _log.warning("circuit breaker %s is one too many and not counted", key.text())
            return
        now, answered = self._clock.now(), self._answered.pop(key, 0)
        await self._change(key, lambda found: found.with_failure(rule, now, answered))

    async def succeeded(self, key: BreakerKey, rule: BreakerRule, began_at: datetime) -> None:
        """Count an answer; where the breaker was open, it has recovered."""
        breaker = self._known.get(key)
        if breaker is not None and breaker.open_until is not None:
            await self._change(key, lambda found: found.with_success(began_at))
        elif rule.failure_threshold_percent is not None:
            await self._count_answer(key, rule, breaker)

    def _count_of(self, workspace: str) -> int:
        return sum(key.workspace == workspace for key in self._known)

    async def _count_answer(self, key: BreakerKey, rule: BreakerRule, breaker: Breaker | None) -> None:
        """Keep count here while all is well; once failures are counted, tell the others now and then."""
        answered = self._answered.get(key, 0) + 1
        self._answered[key] = min(answered, rule.minimum_requests) if breaker is None else answered
        if breaker is not None and answered >= rule.minimum_requests:
            del self._answered[key]
            now = self._clock.now()
            await self._change(key, lambda found: found.with_answers(rule, now, answered))

    async def _change(self, key: BreakerKey, change: Callable[[Breaker], Breaker | None]) -> bool:
        """Change a breaker for all; False where the change does not want to, by what others did meanwhile."""
        found = self._known.get(key, Breaker(key))
        try:
            for _ in range(TRIES):
                changed = change(found)
                if changed is None or changed == found:
                    self._known[key] = found
                    return changed is not None
                changed = replace(changed, version=found.version + 1)
                if await self._store.put(changed, self._clock.now()):
                    self._known[key] = changed
                    await self._tell(found, changed)
                    return True
                found = await self._store.breaker(key, self._clock.now()) or Breaker(key)
            _log.warning("circuit breaker %s changes too often to be counted", key.text())
        except StoreFault as fault:
            _log.warning("circuit breaker %s is not changed: %s", key.text(), fault)
        return True

    async def _tell(self, before: Breaker, after: Breaker) -> None:
        now = self._clock.now()
        was_open, is_open = before.open_until is not None, after.open_until is not None
        if was_open != is_open or before.opened_at != after.opened_at:
            _log.warning("circuit breaker %s is %s", after.key.text(), after.state(now).value)
            await self._events.emit(BreakerMoved(after.key, after.state(now), now))


def breaker_key(target: Target, workspace: str) -> BreakerKey:
    """Name the breaker of a target for a workspace."""
    spec = target.provider
    host = (spec.base_url or "") if spec.is_host_chosen else ""
    return BreakerKey(spec.slug, target.model, spec.region or "", workspace, host)


def _probed(found: Breaker, now: datetime, until: datetime) -> Breaker | None:
    if found.state(now) is BreakerState.CLOSED:
        return found
    return None if found.leaves_out(now) else found.with_probe(until)
