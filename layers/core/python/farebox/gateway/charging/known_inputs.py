"""Remembers what the last request of a session was counted at, so that the next one is quoted closely.

The provider's own count covers whatever is there again, byte for byte; all that follows is bound by its
bytes. So the caller's word is never taken: a conversation that was changed before its end is quoted by bytes.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict
from dataclasses import dataclass

from farebox.domain.plan import Conversation
from farebox.wire.input_estimate import text_tokens_bound

ENTRIES_MAX = 10_000
# Cache markers move from turn to turn, and the provider adds a little text of its own.
SLACK_TOKENS = 256

_MESSAGE_START = b'{"role":'


@dataclass(frozen=True, slots=True)
class _Known:
    frame_checksum: int
    prefix_bytes: int
    prefix_checksum: int
    prompt_tokens: int


class KnownInputs:
    """The newest conversations of this process. Another one starts with the byte bound: higher, not wrong."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str, str, str], _Known] = OrderedDict()

    def bound(self, conversation: Conversation | None, messages: memoryview, byte_bound_tokens: int) -> int:
        """Give an upper bound of the input: what was counted and the rest by bytes, or all of it by bytes."""
        known = self._known.get(conversation.key) if conversation else None
        if known is None or conversation is None or known.frame_checksum != conversation.frame_checksum:
            return byte_bound_tokens
        if zlib.crc32(messages[: known.prefix_bytes]) != known.prefix_checksum:
            return byte_bound_tokens
        grown = known.prompt_tokens + text_tokens_bound(len(messages) - known.prefix_bytes) + SLACK_TOKENS
        return min(byte_bound_tokens, grown)

    def learn(self, conversation: Conversation | None, prompt_tokens: int) -> None:
        """Remember what a request turned out to be, as its provider counted it."""
        if conversation is None:
            return
        self._known[conversation.key] = _Known(
            conversation.frame_checksum,
            conversation.prefix_bytes,
            conversation.prefix_checksum,
            prompt_tokens,
        )
        self._known.move_to_end(conversation.key)
        while len(self._known) > ENTRIES_MAX:
            self._known.popitem(last=False)


def conversation_of(
    key: tuple[str, str | None, str | None, str], messages: memoryview, frame_checksum: int
) -> Conversation | None:
    """Name the conversation that messages belong to; None without a session.

    The last message is left out of the prefix: its cache marker is gone when it comes again.
    """
    key_id, session_id, agent_id, model = key
    if session_id is None:
        return None
    prefix_bytes = max(bytes(messages).rfind(_MESSAGE_START), 0)
    checksum = zlib.crc32(messages[:prefix_bytes])
    return Conversation((key_id, session_id, agent_id or "", model), frame_checksum, prefix_bytes, checksum)
