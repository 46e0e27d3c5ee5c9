"""A circuit breaker: what is counted, when it opens, and how one probe closes it again."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from farebox.domain.routing.tree import BreakerRule

FORGOTTEN_AFTER = timedelta(days=2)
"""After its last change; no cool-down is longer than a day."""
SEPARATOR = "|"


class BreakerState(StrEnum):
    """CLOSED lets everything through -> OPEN when a rule is met -> HALF_OPEN after its cool-down, for one
    probe -> CLOSED when that answers, OPEN again when it fails.
    """

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class BreakerKey(Struct, frozen=True):
    """Whose failures are counted together: one model of one provider in one region, for all of a workspace.

    Not for other tenants: what counts as a failure, and how soon it is one, is for callers to choose. `host`
    is the one that a config puts in the place of the provider's own.
    """

    provider: str
    model: str
    region: str = ""
    workspace: str = ""
    host: str = ""

    def text(self) -> str:
        """Write it on one line."""
        return SEPARATOR.join((self.workspace, self.provider, self.region, self.host, self.model))

    @classmethod
    def of_text(cls, text: str) -> BreakerKey:
        """Read what `text` wrote."""
        workspace, provider, region, host, model = text.split(SEPARATOR, 4)
        return cls(provider, model, region, workspace, host)


class Breaker(Struct, frozen=True):
    """What all processes know of one breaker. Nothing is known, and nothing stored, of one that never failed.

    `failures` of `requests` are counted from the first failure on for the length of a cool-down. While
    `open_until` is set it is open, then half open; `probed_until` says that somebody is trying.
    """

    key: BreakerKey
    version: int = 0
    counted_from: datetime | None = None
    requests: int = 0
    failures: int = 0
    opened_at: datetime | None = None
    open_until: datetime | None = None
    probed_until: datetime | None = None

    def state(self, now: datetime) -> BreakerState:
        """Give its state at a moment."""
        if self.open_until is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if now < self.open_until else BreakerState.HALF_OPEN

    def leaves_out(self, now: datetime) -> bool:
        """Whether requests should go elsewhere: while it is open, and while somebody else probes."""
        is_probed = self.probed_until is not None and now < self.probed_until
        return self.state(now) is BreakerState.OPEN or is_probed

    def with_failure(self, rule: BreakerRule, now: datetime, answered: int = 0) -> Breaker:
        """Count a failure, and `answered` requests that were not told before."""
        state = self.state(now)
        if state is BreakerState.OPEN:
            return self
        if state is BreakerState.HALF_OPEN:
            return self._opened(rule, now)
        counted = self._counting(rule, now)
        counted = replace(counted, requests=counted.requests + 1 + answered, failures=counted.failures + 1)
        return counted._opened(rule, now) if counted._meets(rule) else counted

    def with_answers(self, rule: BreakerRule, now: datetime, answered: int) -> Breaker:
        """Count requests that were answered, while failures are counted at all."""
        if self.counted_from is None or self.open_until is not None or self._is_over(rule, now):
            return self
        return replace(self, requests=self.requests + answered)

    def with_success(self, began_at: datetime) -> Breaker:
        """Close it, if the request that was answered began after it opened."""
        if self.opened_at is None or began_at < self.opened_at:
            return self
        return Breaker(self.key, self.version)

    def with_probe(self, until: datetime) -> Breaker:
        """Let one request through, and nobody else until then."""
        return replace(self, probed_until=until)

    def without_probe(self, until: datetime) -> Breaker:
        """Let the next request through, if the probe still is the one that was to last until then."""
        return replace(self, probed_until=None) if self.probed_until == until else self

    def _counting(self, rule: BreakerRule, now: datetime) -> Breaker:
        if self.counted_from is not None and not self._is_over(rule, now):
            return self
        return replace(self, counted_from=now, requests=0, failures=0)

    def _is_over(self, rule: BreakerRule, now: datetime) -> bool:
        return self.counted_from is None or now >= self.counted_from + _cooldown(rule)

    def _meets(self, rule: BreakerRule) -> bool:
        if rule.failure_threshold is not None and self.failures >= rule.failure_threshold:
            return True
        percent = rule.failure_threshold_percent
        is_enough = self.requests >= rule.minimum_requests
        return percent is not None and is_enough and self.failures * 100 >= percent * self.requests

    def _opened(self, rule: BreakerRule, now: datetime) -> Breaker:
        return replace(self, opened_at=now, open_until=now + _cooldown(rule), probed_until=None)


def counts_as_failure(rule: BreakerRule, status: int) -> bool:
    """Say whether an attempt that ended so tells against its target."""
    return status >= 500 if rule.failure_statuses is None else status in rule.failure_statuses


def _cooldown(rule: BreakerRule) -> timedelta:
    return timedelta(milliseconds=rule.cooldown_ms)
