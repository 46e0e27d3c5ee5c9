"""Rate limits: how much a scope may ask in any window of a length, and how that is counted in bounded space.

A window is counted in slots of a sixtieth of its length. What lies in the slots that the window touches
counts whole, the oldest one too, so no window of that length ever has more than the limit; what was drawn is
free again one slot late at most.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from msgspec import Struct

from farebox.domain.budget.limit import TOKEN_CLASSES
from farebox.domain.budget.scope import Scope, Subject

SLOTS = 60
PERIODS: Mapping[str, timedelta] = {
    "second": timedelta(seconds=1),
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(days=7),
}
AGENT_REMEMBERED = timedelta(days=7)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class LimitUnit(StrEnum):
    """What a limit counts. REQUESTS and TOKENS count in a window; CONCURRENT and AGENTS count members of a
    set, each for as long as its lease or memory lasts.
    """

    REQUESTS = "requests"
    TOKENS = "tokens"
    CONCURRENT = "concurrent"
    AGENTS = "agents"


class RateLimit(Struct, frozen=True):
    """At most `limit` in any window as long as `per`, which is '' where members are counted.

    `count` names the token classes of a token limit.
    """

    name: str
    scope: Scope
    unit: LimitUnit
    limit: int
    per: str = ""
    count: tuple[str, ...] = TOKEN_CLASSES
    contact: str | None = None

    @property
    def key(self) -> str:
        """Name the counter: the number may change and keeps what was counted, unit and length may not."""
        return f"{self.unit}/{self.per}/{self.name}"

    @property
    def counts_members(self) -> bool:
        """Whether it is a set that is limited, not a window."""
        return self.unit in (LimitUnit.CONCURRENT, LimitUnit.AGENTS)

    @property
    def slot_us(self) -> int:
        """How long a slot is, in microseconds. Rounded up: all slots must cover the window."""
        return -(-(PERIODS[self.per] // _MICROSECOND) // SLOTS)

    def allowance_text(self) -> str:
        """Say what is allowed: '120 requests a minute', '10 requests at once'."""
        plural = "" if self.limit == 1 else "s"
        if self.unit is LimitUnit.AGENTS:
            return f"{self.limit} agent{plural} in a session"
        if self.unit is LimitUnit.CONCURRENT:
            return f"{self.limit} request{plural} at once"
        article = "an" if self.per == "hour" else "a"
        return f"{self.limit} {self.unit.removesuffix('s')}{plural} {article} {self.per}"


class Draw(Struct, frozen=True):
    """What one request takes of one bucket. `member` is the request or agent that a set has to admit."""

    limit: RateLimit
    bucket: str
    amount: int = 1
    member: str = ""


class Level(Struct, frozen=True):
    """Where one bucket stands after a decision; `used` has the request's own part only if it was admitted.

    `fits_at` is when a request that is short will fit, None when nobody can tell or it never will; `empty_at`
    is when nothing is counted any more.
    """

    draw: Draw
    used: int
    is_short: bool
    fits_at: datetime | None
    empty_at: datetime

    @property
    def remaining(self) -> int:
        """What is left, 0 after a correction upwards."""
        return max(0, self.draw.limit.limit - self.used)

    @property
    def is_hopeless(self) -> bool:
        """Whether the request is too large for the limit even when nothing else is counted."""
        return self.draw.amount > self.draw.limit.limit


class SlidingCount(Struct, frozen=True):
    """What was drawn, as (slot, amount), oldest first; slots are numbered from 1970. At most 61 of them."""

    slots: tuple[tuple[int, int], ...] = ()

    @property
    def used(self) -> int:
        """Everything that is counted."""
        return sum(amount for _, amount in self.slots)

    def at(self, limit: RateLimit, now: datetime) -> SlidingCount:
        """Drop what no window that ends at `now` touches. What other clocks wrote ahead of us counts."""
        oldest = slot_at(limit, now) - SLOTS
        return SlidingCount(tuple(each for each in self.slots if each[0] >= oldest))

    def added(self, slot: int, amount: int) -> SlidingCount:
        """Count `amount` more, or less, in one slot."""
        amounts = dict(self.slots)
        amounts[slot] = amounts.get(slot, 0) + amount
        return SlidingCount(tuple(sorted((each, rest) for each, rest in amounts.items() if rest > 0)))

    def level(self, draw: Draw, now: datetime) -> Level:
        """Decide a draw. `self` is what counts at `now`, without it."""
        limit, used = draw.limit, self.used
        if used + draw.amount <= limit.limit:
            after = self.added(slot_at(limit, now), draw.amount)
            return Level(draw, after.used, False, None, after.empty_at(limit, now))
        return Level(draw, used, True, self._fits_at(draw), self.empty_at(limit, now))

    def empty_at(self, limit: RateLimit, now: datetime) -> datetime:
        """Say when the last of it leaves the window."""
        return leaves_at(limit, self.slots[-1][0]) if self.slots else now

    def _fits_at(self, draw: Draw) -> datetime | None:
        used = self.used
        for slot, amount in self.slots:
            used -= amount
            if used + draw.amount <= draw.limit.limit:
                return leaves_at(draw.limit, slot)
        return None


def slot_at(limit: RateLimit, moment: datetime) -> int:
    """Give the slot that a moment falls in."""
    return (moment - _EPOCH) // _MICROSECOND // limit.slot_us


def leaves_at(limit: RateLimit, slot: int) -> datetime:
    """Give the first moment at which a slot counts no more."""
    return _EPOCH + (slot + SLOTS + 1) * limit.slot_us * _MICROSECOND


def member_level(draw: Draw, others: int, until: datetime) -> Level:
    """Decide whether one more may join a set of `others`. Members come and go: nobody knows when it fits."""
    is_short = others + 1 > draw.limit.limit
    return Level(draw, others if is_short else others + 1, is_short, None, until)


def draws(limits: Iterable[RateLimit], subject: Subject, request_id: str) -> tuple[Draw, ...]:
    """Give every bucket that this request draws on, in the policy's order, an amount of 1 each."""
    found = []
    for limit in limits:
        bucket = limit.scope.bucket(subject)
        if bucket is not None:
            found.append(Draw(limit, bucket, member=_member(limit, subject, request_id)))
    return tuple(found)


def _member(limit: RateLimit, subject: Subject, request_id: str) -> str:
    if limit.unit is LimitUnit.AGENTS:
        return subject.get("agent", "")
    return request_id if limit.unit is LimitUnit.CONCURRENT else ""


def tightest(levels: Iterable[Level], unit: LimitUnit) -> Level | None:
    """Give the level with the least left among those of one unit; the smaller limit when they are equal."""
    of_unit = [level for level in levels if level.draw.limit.unit is unit]
    return min(of_unit, key=lambda level: (level.remaining, level.draw.limit.limit), default=None)


def shortest(levels: Iterable[Level]) -> Level | None:
    """Give the level that stands in the way for longest; None when none does."""
    short = [level for level in levels if level.is_short]
    return max(short, key=lambda level: (level.is_hopeless, level.fits_at or _EPOCH), default=None)
