"""Output that is billed and never seen: thinking that is summarised or left out of the stream.

What cannot be counted is bound by time: a model writes so fast and no faster. The provider's own count
replaces it at the end.
"""

from __future__ import annotations

from collections.abc import Callable

# Above what current models were seen to write on average; fast modes come with their own, visible, stream.
TOKENS_PER_SECOND_MAX = 150
# A gap this long between two pieces of visible output is not the network.
GAP_MS = 1_000


class HiddenOutput:
    """Adds up the silent stretches of one answer. `progress` is any number that grows with visible output."""

    def __init__(self, monotonic_ms: Callable[[], int]) -> None:
        self._monotonic_ms = monotonic_ms
        self._since_ms = monotonic_ms()
        self._silent_ms = 0
        self._progress = 0

    def seen(self, progress: int) -> None:
        """Note how far visible output has come."""
        if progress == self._progress:
            return
        self._progress = progress
        now_ms = self._monotonic_ms()
        gap_ms = now_ms - self._since_ms
        if gap_ms >= GAP_MS:
            self._silent_ms += gap_ms
        self._since_ms = now_ms

    @property
    def tokens(self) -> int:
        """What may have been written in silence so far, the present stretch included."""
        gap_ms = self._monotonic_ms() - self._since_ms
        silent_ms = self._silent_ms + (gap_ms if gap_ms >= GAP_MS else 0)
        return silent_ms * TOKENS_PER_SECOND_MAX // 1000
