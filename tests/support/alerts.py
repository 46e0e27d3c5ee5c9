"""Where alerts go in tests: a topic that remembers, notices in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from farebox.domain.errors import StoreFault
from farebox.ports.behind import Alert

CLAIM = timedelta(minutes=1)


class Topic:
    """Remembers what it took, and what it was asked to take; `refuses` says which alerts it never takes."""

    def __init__(self, *, is_away: bool = False, refuses: Callable[[Alert], bool] | None = None) -> None:
        self.taken: list[Alert] = []
        self.asked = 0
        self.is_away = is_away
        self.refuses = refuses or (lambda alert: False)

    async def publish(self, alert: Alert) -> None:
        self.asked += 1
        if self.is_away or self.refuses(alert):
            raise StoreFault("sns: InvalidParameter")
        self.taken.append(alert)


@dataclass
class Notice:
    """What is known of one name."""

    claimed_until: datetime
    told_until: datetime | None = None
    level: int = 0


class MemoryNotices:
    """Fills `ports.Notices` for one process."""

    def __init__(self) -> None:
        self._known: dict[str, Notice] = {}

    async def claim(self, name: str, now: datetime, *, level: int = 0) -> bool:
        known = self._known.setdefault(name, Notice(now))
        is_told = known.told_until is not None and known.told_until > now and known.level >= level
        if known.claimed_until > now or is_told:
            return False
        known.claimed_until = now + CLAIM
        return True

    async def told(self, name: str, until: datetime, *, level: int = 0) -> None:
        self._known[name] = Notice(datetime.min.replace(tzinfo=until.tzinfo), until, level)

    async def recede(self, name: str, level: int) -> None:
        if name in self._known:
            self._known[name].level = min(self._known[name].level, level)
