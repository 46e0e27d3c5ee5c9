"""Remembers what the last request of a session cost in input tokens, so that the next one is quoted closely.

The provider's own count of the part that was sent before, and the byte bound for what was added since: far
below the byte bound of the whole, and still above what the input can be.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TypeAlias

InputKey: TypeAlias = tuple[str, str, str, int]
"""Session, agent, model, and a checksum of where the body begins: one conversation."""

ENTRIES_MAX = 10_000
# Cache markers move from turn to turn and tool texts are rendered anew; a few tokens either way.
SLACK_TOKENS = 256


@dataclass(frozen=True, slots=True)
class _Known:
    bound_tokens: int
    prompt_tokens: int


class KnownInputs:
    """The newest conversations of this process. Another one starts with the byte bound: higher, never wrong."""

    def __init__(self) -> None:
        self._known: OrderedDict[InputKey, _Known] = OrderedDict()

    def bound(self, key: InputKey | None, byte_bound_tokens: int) -> int:
        """Give an upper bound of the input's tokens: all by bytes, or what is known and the rest by bytes."""
        known = self._known.get(key) if key else None
        if known is None or byte_bound_tokens < known.bound_tokens:
            return byte_bound_tokens
        grown = known.prompt_tokens + byte_bound_tokens - known.bound_tokens + SLACK_TOKENS
        # A provider that counts more than there are bytes adds text of its own: then bytes bound nothing.
        return grown if known.prompt_tokens > known.bound_tokens else min(byte_bound_tokens, grown)

    def learn(self, key: InputKey | None, byte_bound_tokens: int, prompt_tokens: int) -> None:
        """Remember what a request turned out to be, as its provider counted it."""
        if key is None:
            return
        self._known[key] = _Known(byte_bound_tokens, prompt_tokens)
        self._known.move_to_end(key)
        while len(self._known) > ENTRIES_MAX:
            self._known.popitem(last=False)


def input_key(
    session_id: str | None, agent_id: str | None, model: str, prefix_checksum: int
) -> InputKey | None:
    """Name the conversation that a body belongs to; None without a session."""
    if session_id is None:
        return None
    return session_id, agent_id or "", model, prefix_checksum
