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
    """Adds up the silent stretches of one answer. `tokens` is what may have been written in them, as of the
    last call of `seen`.
    """

    __slots__ = ("_awake_ms", "_progress", "_silent_ms", "_since_ms", "tokens")

    def __init__(self, awake_ms: Callable[[], int]) -> None:
        self.tokens = 0
        self._awake_ms = awake_ms
        self._since_ms = awake_ms()
        self._silent_ms = 0
        self._progress = 0

    def seen(self, progress: int) -> None:
        """Note the time, and how far visible output has come: any number that grows with it."""
        now_ms = self._awake_ms()
        gap_ms = now_ms - self._since_ms
        is_over = progress != self._progress
        if is_over:
            self._progress, self._since_ms = progress, now_ms
        if gap_ms < GAP_MS:
            return
        silent_ms = self._silent_ms + gap_ms
        if is_over:
            self._silent_ms = silent_ms
        self.tokens = silent_ms * TOKENS_PER_SECOND_MAX // 1000
