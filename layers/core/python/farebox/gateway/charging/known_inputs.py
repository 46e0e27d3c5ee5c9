"""Remembers what the last request of a session was counted at, so that the next one is quoted closely.

The provider's own count covers whatever is there again, byte for byte; all that follows is bound by its
bytes. So the caller's word is never taken: a conversation that was changed before its end is quoted by bytes.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict

from msgspec import Struct

from farebox.domain.plan import Conversation
from farebox.wire.request_body.estimate import text_tokens_bound

ENTRIES_MAX = 10_000
# Cache markers move from turn to turn, and the provider adds a little text of its own.
SLACK_TOKENS = 256

_MESSAGE_START = b'{"role":'


class _Known(Struct, frozen=True):
    conversation: Conversation
    prompt_tokens: int


class KnownInputs:
    """The newest conversations of this process. Another one starts with the byte bound: higher, not wrong."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str, str, str], _Known] = OrderedDict()

    def recognise(
        self, key: tuple[str, str | None, str | None, str], messages: memoryview, frame_digest: bytes
    ) -> tuple[Conversation | None, int | None]:
        """Name the conversation that messages belong to (None without a session), and give an upper bound of
        its input if its beginning was counted before. `key` is gateway key, session, agent and model.
        """
        key_id, session_id, agent_id, model = key
        if session_id is None:
            return None, None
        name = (key_id, session_id, agent_id or "", model)
        # The last message is no part of the prefix: its cache marker is gone when it comes again.
        prefix_bytes = max(bytes(messages).rfind(_MESSAGE_START), 0)
        known = self._known.get(name)
        digest = hashlib.sha256()
        bound, hashed = None, 0
        if known is not None and known.conversation.prefix_bytes <= prefix_bytes:
            hashed = known.conversation.prefix_bytes
            digest.update(messages[:hashed])
            seen = (known.conversation.frame_digest, known.conversation.prefix_digest)
            if seen == (frame_digest, digest.digest()):
                bound = known.prompt_tokens + text_tokens_bound(len(messages) - hashed) + SLACK_TOKENS
        digest.update(messages[hashed:prefix_bytes])
        return Conversation(name, frame_digest, prefix_bytes, digest.digest()), bound

    def learn(self, conversation: Conversation | None, prompt_tokens: int) -> None:
        """Remember what a request turned out to be, as its provider counted it."""
        if conversation is None:
            return
        self._known[conversation.key] = _Known(conversation, prompt_tokens)
        self._known.move_to_end(conversation.key)
        while len(self._known) > ENTRIES_MAX:
            self._known.popitem(last=False)
