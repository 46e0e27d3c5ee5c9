"""Numbers that put what one process writes in order, also within one moment."""

from __future__ import annotations

from farebox.adapters.aws.codec import microseconds
from farebox.ports import Clock


class Stamps:
    """They only grow, and stay near the wall clock in microseconds: those of two processes mix well.

    `process` is a name that no other process has.
    """

    def __init__(self, clock: Clock, process: str) -> None:
        self._clock = clock
        self._process = process
        self._last = 0

    def next(self) -> int:
        """Give a number larger than every one before."""
        self._last = max(self._last + 1, microseconds(self._clock.now()))
        return self._last

    def next_place(self) -> str:
        """Give a sort key that no process gives a second time."""
        return f"{self.next():017d}#{self._process}"
