"""What an Anthropic Messages answer used, from its stream or its body: both go through the same merge."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec.structs import replace

from farebox.domain.usage import Iteration, Usage
from farebox.wire.token_count import Counted, read_count

Json = Mapping[str, object]

_COUNTS = ("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
# Sums and breakdowns of the above that some Anthropic-compatible hosts add at the top level.
_BREAKDOWNS = ("total_tokens", "thinking_tokens", "reasoning_tokens")
_LIFETIMES = ("ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens")
_FROM_THE_START = ("speed", "inference_geo", "service_tier")
_OBJECTS = ("cache_creation", "server_tool_use", "fallback_credit")
_BEDROCK_METRICS = "amazon-bedrock-invocationMetrics"
_BEDROCK_COUNTS = {
    "inputTokenCount": "input_tokens",
    "outputTokenCount": "output_tokens",
    "cacheReadInputTokenCount": "cache_read_input_tokens",
    "cacheWriteInputTokenCount": "cache_creation_input_tokens",
}
# Code and prose are three to four bytes a token; three keeps the estimate on the high side.
_BYTES_PER_TOKEN = 3


class UsageFold:
    """Folds the decoded events of one stream into the usage that the equal non-streaming answer would report.

    Needs `message_start`, `message_delta`, `message_stop` and `content_block_start`; `content_block_delta`
    serves only the estimate for a stream that breaks off. Every other event, and anything malformed, is
    passed over.
    """

    def __init__(self) -> None:
        self.model: str | None = None
        self.stop_reason: str | None = None
        self.stop_category: str | None = None
        self.fallback_categories: tuple[str | None, ...] = ()
        self.content_empty = True
        self.is_complete = False
        self.delivered_bytes = 0
        self._fields: dict[str, object] | None = None
        self._unread: tuple[str, ...] = ()
        self._has_final_counts = False

    @property
    def usage(self) -> Usage | None:
        """The usage reported so far, None before the first. Until the end its output is a placeholder."""
        return None if self._fields is None else _usage(self._fields, self._unread)

    @property
    def is_final(self) -> bool:
        """Whether the final counts have arrived: counts in a delta, and a word that nothing follows them."""
        return self._has_final_counts and self.is_complete

    def estimated_usage(self) -> Usage | None:
        """Give the usage with the output of a stream that broke off estimated from what it delivered."""
        usage = self.usage
        if usage is None or self.is_final:
            return usage
        output_tokens = max(usage.output_tokens, -(-self.delivered_bytes // _BYTES_PER_TOKEN))
        return replace(usage, output_tokens=output_tokens)

    def event(self, event: Json) -> None:
        """Take one decoded `data` object."""
        kind = event.get("type")
        if kind == "content_block_delta":
            self.delivered_bytes += _delivered(_mapping(event.get("delta")))
        elif kind == "message_start":
            self._start(_mapping(event.get("message")))
        elif kind == "message_delta":
            self._delta(event)
        elif kind == "content_block_start":
            self._block(_mapping(event.get("content_block")))
        elif kind == "message_stop":
            self.is_complete = True
        if _BEDROCK_METRICS in event:
            self._bedrock_metrics(_mapping(event[_BEDROCK_METRICS]))

    def message(self, message: Json) -> None:
        """Take a whole non-streaming answer."""
        self._start(message)
        for block in _items(message.get("content")):
            self._block(block)
        self._stop(message)
        self._has_final_counts = self._fields is not None
        self.is_complete = True

    def _start(self, message: Json) -> None:
        model = message.get("model")
        self.model = model if isinstance(model, str) and model else self.model
        usage = message.get("usage")
        if isinstance(usage, Mapping):
            self._merge(usage, is_delta=False)

    def _delta(self, event: Json) -> None:
        self._stop(_mapping(event.get("delta")))
        usage = event.get("usage")
        if isinstance(usage, Mapping):
            self._merge(usage, is_delta=True)
            if read_count(usage.get("output_tokens")) is not None:
                self._has_final_counts = True
        self.is_complete = self.is_complete or self.stop_reason is not None

    def _stop(self, fields: Json) -> None:
        reason = fields.get("stop_reason")
        if isinstance(reason, str):
            self.stop_reason = reason
        details = fields.get("stop_details")
        if isinstance(details, Mapping):
            self.stop_category = _text(details.get("category"))

    def _block(self, block: Json) -> None:
        """A fallback block ends the declined model's output; what follows it is the next model's."""
        if block.get("type") == "fallback":
            category = _text(_mapping(block.get("trigger")).get("category"))
            self.fallback_categories = (*self.fallback_categories, category)
            self.content_empty = True
        else:
            self.content_empty = False

    def _merge(self, usage: Json, *, is_delta: bool) -> None:
        """Merge per field: null and missing keep, counts overwrite (zero too), wrong shapes do nothing."""
        fields = self._fields = {} if self._fields is None else self._fields
        kept_total = fields.get("cache_creation_input_tokens")
        for name, value in usage.items():
            if value is None or (is_delta and name in _FROM_THE_START and name in fields):
                continue
            if name.endswith("_tokens"):
                self._take_count(fields, name, value)
            elif _has_shape(name, value):
                fields[name] = value
            elif name in (*_OBJECTS, *_FROM_THE_START, "iterations"):
                self._unread = (*self._unread, name)
        if is_delta and usage.get("cache_creation_input_tokens") is None:
            self._drop_outgrown_total(
                fields, _mapping(usage.get("cache_creation")), read_count(kept_total) or 0
            )

    def _drop_outgrown_total(self, fields: dict[str, object], split: Json, kept_total: int) -> None:
        """A split that came without its total, as gateways send it, is not lost to the start's zero."""
        if sum(read_count(split.get(name)) or 0 for name in _LIFETIMES) > kept_total:
            fields.pop("cache_creation_input_tokens", None)

    def _take_count(self, fields: dict[str, object], name: str, value: object) -> None:
        count = read_count(value)
        if count is None:
            self._unread = (*self._unread, name)
        else:
            fields[name] = count

    def _bedrock_metrics(self, metrics: Json) -> None:
        """Fill what no usage reported; a stream without final counts takes its output count from here."""
        fields = self._fields = {} if self._fields is None else self._fields
        for theirs, ours in _BEDROCK_COUNTS.items():
            missing = ours not in fields or (ours == "output_tokens" and not self._has_final_counts)
            if missing and metrics.get(theirs) is not None:
                self._take_count(fields, ours, metrics[theirs])
        if read_count(metrics.get("outputTokenCount")) is not None:
            self._has_final_counts = True


def fold_message(message: Json) -> UsageFold:
    """Fold a whole non-streaming answer; equals the fold of the stream that says the same."""
    fold = UsageFold()
    fold.message(message)
    return fold


def usage_from_object(usage: Json) -> Usage:
    """Read a bare usage object of the Messages API."""
    fold = UsageFold()
    fold.message({"usage": usage})
    return fold.usage or Usage()


def _usage(fields: Json, unread: tuple[str, ...]) -> Usage:
    counted = Counted(unread)
    write_5m, write_1h = _cache_writes(fields, counted)
    _note_unknown(fields, counted, "")
    usage = Usage(
        input_tokens=counted.count(fields, "input_tokens"),
        cache_read_tokens=counted.count(fields, "cache_read_input_tokens"),
        cache_write_5m_tokens=write_5m,
        cache_write_1h_tokens=write_1h,
        output_tokens=counted.count(fields, "output_tokens"),
        web_search_requests=counted.count(_mapping(fields.get("server_tool_use")), "web_search_requests"),
        speed=_text(fields.get("speed")),
        inference_geo=_text(fields.get("inference_geo")),
        service_tier=_text(fields.get("service_tier")),
        iterations=tuple(_iteration(entry, counted) for entry in _items(fields.get("iterations"))),
        credit_redeemed=_mapping(_mapping(fields.get("fallback_credit")).get("status")).get("type")
        == "redeemed",
    )
    return counted.marked(usage)


def _cache_writes(fields: Json, counted: Counted) -> tuple[int, int]:
    """Split the writes by lifetime: the flat field is the total, 1h at most that much, and the rest is 5m."""
    split = _mapping(fields.get("cache_creation"))
    lifetimes = {name: counted.count(split, name) for name in _LIFETIMES}
    for name, value in split.items():
        if name.endswith("_tokens") and name not in _LIFETIMES:
            counted.add_unmetered(f"cache_creation.{name}", value)
    total = sum(lifetimes.values())
    if fields.get("cache_creation_input_tokens") is not None:
        total = counted.count(fields, "cache_creation_input_tokens")
    write_1h = min(lifetimes["ephemeral_1h_input_tokens"], total)
    return total - write_1h, write_1h


def _note_unknown(fields: Json, counted: Counted, path: str) -> None:
    for name, value in fields.items():
        if name.endswith("_tokens") and name not in _COUNTS and name not in _BREAKDOWNS:
            counted.add_unmetered(path + name, value)


def _iteration(entry: Json, counted: Counted) -> Iteration:
    kind = _text(entry.get("type")) or "unknown"
    write_5m, write_1h = _cache_writes(entry, counted)
    if kind != "message":
        _note_unknown(entry, counted, f"{kind}.")
    return Iteration(
        type=kind,
        model=_text(entry.get("model")),
        input_tokens=counted.count(entry, "input_tokens"),
        cache_read_tokens=counted.count(entry, "cache_read_input_tokens"),
        cache_write_5m_tokens=write_5m,
        cache_write_1h_tokens=write_1h,
        output_tokens=counted.count(entry, "output_tokens"),
    )


def _has_shape(name: str, value: object) -> bool:
    if name in _OBJECTS:
        return isinstance(value, Mapping)
    if name == "iterations":
        return isinstance(value, list | tuple) and all(isinstance(entry, Mapping) for entry in value)
    return name in _FROM_THE_START and isinstance(value, str)


def _delivered(delta: Json) -> int:
    texts = (delta.get(name) for name in ("text", "thinking", "partial_json"))
    return sum(len(text.encode("utf-8", "surrogatepass")) for text in texts if isinstance(text, str))


def _items(value: object) -> Iterator[Json]:
    if isinstance(value, list | tuple):
        yield from (item for item in value if isinstance(item, Mapping))


def _mapping(value: object) -> Json:
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
