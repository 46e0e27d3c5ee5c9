"""How many input tokens a request can cost before anybody counted them: by bytes, pictures and documents.

No public tokenizer exists for current Claude models. Over source, prose, JSON, logs, hex, emoji and base64
the fewest bytes a token took was 1.39 (three public tokenizers), so text / 1.3 is above all of them.
"""

from __future__ import annotations

import re

import msgspec
from msgspec import Struct

BOUND_BYTES_PER_10_TOKENS = 13
EXPECTED_BYTES_PER_TOKEN = 4
# Images are billed by size, up to a cap per image; this is above the largest published cap.
TOKENS_PER_IMAGE = 4_800
# A PDF is billed by page, text and picture; base64 of a scanned page is rarely below 20 kB.
BOUND_BASE64_BYTES_PER_DOCUMENT_TOKEN = 5
EXPECTED_TOKENS_OF_LINKED_DOCUMENT = 50_000
CONTEXT_TOKENS_MAX = 1_000_000

# Beyond these a body is counted as text, byte for byte: a higher bound, and cheap however it is nested.
BLOCKS_MAX = 200_000
CONTENT_DEPTH_MAX = 3

# Writers of JSON escape no printable ASCII, so whoever does may be hiding a word that is searched for here.
_ESCAPED_ASCII = re.compile(rb"\\u00[2-7]")


class InputEstimate(Struct, frozen=True):
    """Tokens. `bound` is above what the input can cost, `expected` is likely; the rest says which cache
    classes it may fall in.
    """

    bound_tokens: int
    expected_tokens: int
    caches: bool
    caches_for_1h: bool
    has_attachments: bool = False


class _Source(msgspec.Struct):
    type: str | None = None
    data: str = ""
    content: msgspec.Raw = msgspec.Raw(b"null")


class _Block(msgspec.Struct):
    type: str | None = None
    source: _Source | None = None
    content: msgspec.Raw = msgspec.Raw(b"null")


class _Message(msgspec.Struct):
    content: msgspec.Raw = msgspec.Raw(b"null")


class _Attachments(Struct):
    images: int = 0
    image_bytes: int = 0
    document_bytes: int = 0
    linked_documents: int = 0


_messages = msgspec.json.Decoder(list[_Message])
_blocks = msgspec.json.Decoder(list[_Block])


def estimate_input(body: bytes, messages: msgspec.Raw | None) -> InputEstimate:
    """Estimate from the body's bytes and its `messages`. Words are searched for as bytes, which is many times
    cheaper than parsing; an escaped word makes the dearest case the estimate.
    """
    has_escapes = body.find(b"\\u00") >= 0 and _ESCAPED_ASCII.search(body) is not None
    # Searched from the end: Claude Code marks the newest message, and writes system and tools behind it.
    caches = has_escapes or body.rfind(b'"cache_control"') >= 0
    attached = _Attachments()
    if messages is not None and (has_escapes or b'"source"' in body):
        attached = _attachments(body, messages)
    bound, expected = _tokens(len(body), attached)
    caches_for_1h = caches and (has_escapes or b'"1h"' in body)
    return InputEstimate(bound, expected, caches, caches_for_1h, attached != _Attachments())


def text_tokens_bound(text_bytes: int) -> int:
    """Give what so many bytes of text can be at most."""
    return text_bytes * 10 // BOUND_BYTES_PER_10_TOKENS + 1


def _tokens(body_bytes: int, attached: _Attachments) -> tuple[int, int]:
    text_bytes = max(body_bytes - attached.image_bytes - attached.document_bytes, 0)
    other = attached.images * TOKENS_PER_IMAGE
    other += attached.document_bytes // BOUND_BASE64_BYTES_PER_DOCUMENT_TOKEN
    expected = text_bytes // EXPECTED_BYTES_PER_TOKEN + 1 + other // 2
    expected += attached.linked_documents * EXPECTED_TOKENS_OF_LINKED_DOCUMENT
    # Nobody here knows how long a document is that the provider fetches.
    bound = CONTEXT_TOKENS_MAX if attached.linked_documents else text_tokens_bound(text_bytes) + other
    return min(bound, CONTEXT_TOKENS_MAX), min(expected, CONTEXT_TOKENS_MAX)


def _attachments(body: bytes, messages: msgspec.Raw) -> _Attachments:
    """Count images and documents, inside tool results too. What is too large or odd counts as text."""
    found = _Attachments()
    if body.count(b"{") > BLOCKS_MAX:
        return _by_words(body)
    try:
        pending = [(message.content, 0) for message in _messages.decode(messages)]
        while pending:
            content, depth = pending.pop()
            if bytes(memoryview(content)[:1]) != b"[" or depth >= CONTENT_DEPTH_MAX:
                continue
            for block in _blocks.decode(content):
                pending.append((block.content, depth + 1))
                if block.source is not None:
                    pending.append((block.source.content, depth + 1))
                    _count(block.type, block.source, found)
    except (msgspec.MsgspecError, RecursionError):
        return _by_words(body)
    return found


def _count(kind: str | None, source: _Source, found: _Attachments) -> None:
    if kind == "image":
        found.images += 1
        found.image_bytes += len(source.data)
    elif source.type == "base64":
        found.document_bytes += len(source.data)
    elif source.type in ("url", "file"):
        found.linked_documents += 1


def _by_words(body: bytes) -> _Attachments:
    """Bound what cannot be walked: all bytes are text, a mention of a picture is one, documents are long."""
    return _Attachments(images=body.count(b'"image"'), linked_documents=int(b'"document"' in body))
