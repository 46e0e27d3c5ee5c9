"""Reads a copy of the answer and knows, at any moment, what the attempt has used so far."""

from __future__ import annotations

import math
import zlib

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from farebox.domain.plan import Quote
from farebox.domain.usage import Iteration, Usage
from farebox.gateway.charging.hidden_output import HiddenOutput
from farebox.wire.http import JSON_FAULTS
from farebox.wire.sse import SseScanner
from farebox.wire.usage.fold import UsageFold, fold_message

# Bytes of a content_block_delta event that are not the text itself, as Anthropic writes them.
DELTA_FRAME_BYTES = 110
# Below every text that was measured but base64, so that a cut answer is rather over- than under-counted.
ESTIMATE_BYTES_PER_TOKEN = 3
INFLATED_BYTES_MAX = 64 * 1024 * 1024
# More than any request has ever used; a provider that says so is not believed.
BELIEVED_TOKENS_MAX = 20_000_000
GZIP = frozenset((b"gzip", b"x-gzip"))

WANTED = frozenset(
    (
        b"message_start",
        b"message_delta",
        b"message_stop",
        b"content_block_start",
        b"content_block_stop",
        b"error",
    )
)

_json = msgspec.json.Decoder(dict[str, object])


class Reading(Struct, frozen=True):
    """What an attempt used. `is_exact` is False where part of it is an estimate."""

    usage: Usage
    is_exact: bool


class StreamMeter:
    """Folds a Messages event stream as it passes. Feeding never changes bytes and never raises on odd
    input. `hidden` is for answers of which a part is written unseen.
    """

    def __init__(self, hidden: HiddenOutput | None = None) -> None:
        self._scanner = SseScanner(WANTED)
        self._hidden = hidden
        self._inflate: zlib._Decompress | None = None
        self._unread_bytes = 0
        self.fold = UsageFold()
        self.is_stopped = False
        self.error_type: str | None = None
        self.open_block: int | None = None
        self.can_be_read = True

    def read_as(self, coding: bytes | None) -> None:
        """Take the answer's content-encoding. What is neither plain nor gzip passes unread."""
        coding = (coding or b"identity").strip().lower()
        if coding in GZIP:
            self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 16)
        self.can_be_read = coding in GZIP or coding == b"identity"

    def feed(self, chunk: bytes) -> None:
        """Read the next bytes of the answer."""
        if self._inflate is not None and self.can_be_read:
            chunk = self._inflated(self._inflate, chunk)
        if not self.can_be_read:
            self._unread_bytes += len(chunk)
            return
        for name, data in self._scanner.feed(chunk):
            self._event(name, data)
        if self._hidden is not None:
            self._hidden.seen(self._scanner.delta_count)

    def end(self) -> None:
        """The answer has no more bytes."""
        for name, data in self._scanner.flush():
            self._event(name, data)

    @property
    def at_boundary(self) -> bool:
        """Whether an event of ours may be written here."""
        return self._scanner.at_boundary and self._inflate is None and self.can_be_read

    @property
    def is_plain(self) -> bool:
        """Whether the bytes that pass are the events themselves."""
        return self._inflate is None and self.can_be_read

    @property
    def delta_bytes(self) -> int:
        """Bytes of all complete delta events so far, or of everything that passed unread; and what stands for
        output that is not seen at all.
        """
        return self._scanner.delta_bytes + self._unread_bytes + self._hidden_tokens * ESTIMATE_BYTES_PER_TOKEN

    @property
    def is_complete(self) -> bool:
        """Whether the stream said that it was over: by message_stop, or by an error event. Only its framing
        can say so for one that cannot be read.
        """
        return self.is_stopped or self.error_type is not None or not self.can_be_read

    @property
    def output_tokens_seen(self) -> int:
        """Estimate the tokens of the text that passed so far, from its bytes."""
        scanner = self._scanner
        text_bytes = scanner.delta_bytes + self._unread_bytes - DELTA_FRAME_BYTES * scanner.delta_count
        return (
            max(math.ceil(text_bytes / ESTIMATE_BYTES_PER_TOKEN), scanner.delta_count) + self._hidden_tokens
        )

    def reading(self, quote: Quote) -> Reading:
        """Give the usage: the provider's own when the stream told it, else what was seen, as an estimate."""
        if self._hidden is not None:
            self._hidden.seen(self._scanner.delta_count)
        usage = self.fold.usage
        seen = min(self.output_tokens_seen, quote.output_tokens_max)
        if usage is None and self.error_type is not None and not self.delta_bytes:
            return Reading(Usage(), is_exact=True)  # an error before a message is as good as an error status
        if usage is None:
            return Reading(expected_usage(quote, seen), is_exact=False)
        if self.fold.is_final:
            return _believed(usage, quote, seen)
        told = _believed(usage, quote, seen).usage
        return Reading(replace(told, output_tokens=max(told.output_tokens, seen)), is_exact=False)

    @property
    def _hidden_tokens(self) -> int:
        return 0 if self._hidden is None or self.fold.is_final else self._hidden.tokens

    def _event(self, name: bytes, data: bytes) -> None:
        if self.is_stopped:
            return  # the answer is over, whatever else is said
        try:
            event = _json.decode(data)
        except JSON_FAULTS:
            return
        self.fold.event(event)
        if name == b"message_stop":
            self.is_stopped = True
        elif name == b"error":
            error = event.get("error")
            kind = error.get("type") if isinstance(error, dict) else None
            self.error_type = kind if isinstance(kind, str) else "api_error"
        elif name == b"content_block_start":
            index = event.get("index")
            self.open_block = index if isinstance(index, int) else None
        elif name == b"content_block_stop":
            self.open_block = None

    def _inflated(self, inflate: zlib._Decompress, chunk: bytes) -> bytes:
        try:
            return inflate.decompress(chunk, INFLATED_BYTES_MAX)
        except zlib.error:
            self.can_be_read = False
            return chunk


def read_message(body: bytes, *, encoding: bytes | None, quote: Quote) -> tuple[UsageFold, Reading]:
    """Read the usage of a whole answer that was not streamed."""
    fold = UsageFold()
    message = _decoded(body, encoding)
    if message is not None:
        fold = fold_message(message)
    seen = min(len(body) // ESTIMATE_BYTES_PER_TOKEN, quote.output_tokens_max)
    if fold.usage is None:
        return fold, Reading(expected_usage(quote, seen), is_exact=False)
    return fold, _believed(fold.usage, quote, seen)


def expected_usage(quote: Quote, output_tokens: int) -> Usage:
    """Give what a request that was sent has probably used, when the provider never said."""
    tokens = quote.input_tokens_expected
    if quote.caches_for_1h:
        return Usage(cache_write_1h_tokens=tokens, output_tokens=output_tokens)
    if quote.caches:
        return Usage(cache_write_5m_tokens=tokens, output_tokens=output_tokens)
    return Usage(input_tokens=tokens, output_tokens=output_tokens)


def _believed(usage: Usage, quote: Quote, output_tokens_seen: int) -> Reading:
    """Take a provider's counts, unless they are none or absurd: what is missing is estimated, never free."""
    if is_believable(usage):
        return Reading(usage, is_exact=True)
    usage = replace(usage, iterations=(), web_search_requests=0, unmetered=(), unmetered_tokens=0)
    output = usage.output_tokens or output_tokens_seen
    expected = expected_usage(quote, min(output, BELIEVED_TOKENS_MAX))
    prompt = _prompt_counts(usage)
    if not any(prompt) or max(prompt) > BELIEVED_TOKENS_MAX:
        return Reading(expected, is_exact=False)
    return Reading(replace(usage, output_tokens=expected.output_tokens), is_exact=False)


def is_believable(usage: Usage) -> bool:
    """Say whether every count could be read and none is absurd."""
    besides = (usage.output_tokens, usage.web_search_requests, usage.unmetered_tokens)
    inside = [count for entry in usage.iterations for count in (*_prompt_counts(entry), entry.output_tokens)]
    return not usage.unread and max(*_prompt_counts(usage), *besides, *inside) <= BELIEVED_TOKENS_MAX


def _prompt_counts(usage: Usage | Iteration) -> tuple[int, int, int, int]:
    return (
        usage.input_tokens,
        usage.cache_read_tokens,
        usage.cache_write_5m_tokens,
        usage.cache_write_1h_tokens,
    )


def _decoded(body: bytes, encoding: bytes | None) -> dict[str, object] | None:
    try:
        if encoding is not None and encoding.lower() in GZIP:
            body = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(body, INFLATED_BYTES_MAX)
        return _json.decode(body)
    except (zlib.error, *JSON_FAULTS):
        return None
