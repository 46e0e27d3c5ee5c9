"""What was read a moment ago, kept so that a busy process does not read it again for each request."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

from farebox.ports import Clock

Name = TypeVar("Name", bound=Hashable)
Value = TypeVar("Value")

ENTRIES_MAX = 10_000


class Kept(Generic[Name, Value]):
    """Values by name with the moment they were read. Bounded: when full, the oldest go."""

    def __init__(self, clock: Clock, fresh_ms: int) -> None:
        self._clock, self._fresh_ms = clock, fresh_ms
        self._values: dict[Name, tuple[int, Value]] = {}
        self._forgotten_ms: int | None = None

    def fresh(self, name: Name) -> Value | None:
        """Give what was read within `fresh_ms`."""
        return self.within(name, self._fresh_ms)

    def within(self, name: Name, age_ms: int) -> Value | None:
        """Give what was read at most so long ago."""
        found = self._values.get(name)
        if found is None or self._clock.monotonic_ms() - found[0] >= age_ms:
            return None
        return found[1]

    def keep(self, name: Name, value: Value, read_at_ms: int) -> None:
        """Keep what a read that began at `read_at_ms` gave, unless all was to be forgotten since."""
        if self._forgotten_ms is not None and read_at_ms <= self._forgotten_ms:
            return
        self._values.pop(name, None)
        self._values[name] = (read_at_ms, value)
        if len(self._values) > ENTRIES_MAX:
            del self._values[next(iter(self._values))]

    def forget(self) -> None:
        """Read everything anew from now on."""
        self._values.clear()
        self._forgotten_ms = self._clock.monotonic_ms()
