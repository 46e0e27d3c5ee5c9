"""What other APIs' answers used, in Anthropic's terms: each names and nests the same counts its own way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from farebox.domain.usage import Usage
from farebox.wire.token_count import Counted
from farebox.wire.usage.fold import UsageFold, usage_from_object

Json = Mapping[str, object]


class Answer(Struct, frozen=True):
    """What one answer tells that its price depends on. `is_final` is False for a stream without its end."""

    usage: Usage | None
    model: str | None = None
    stop_reason: str | None = None
    stop_category: str | None = None
    content_empty: bool = False
    fallback_categories: tuple[str | None, ...] = ()
    is_final: bool = True


def usage_object(api: str, usage: Json, service_tier: str | None = None) -> Usage:
    """Read one usage object of an API: messages, chat, responses, generate_content or converse.

    Raises `KeyError` for another API.
    """
    return _READERS[api](usage, service_tier)


def fold_stream(api: str, events: Sequence[Json], service_tier: str | None = None) -> Answer:
    """Fold the decoded events of one stream. The last usage that the API sends is the one that counts."""
    if api == "messages":
        return _fold_messages(events)
    usage: dict[str, object] = {}
    model, tier, is_final = None, service_tier, False
    for event in events:
        body = _body(api, event)
        model = _text(body.get("model")) or _text(body.get("modelVersion")) or model
        tier = _text(body.get("service_tier")) or tier
        found = _mapping(body.get(_USAGE_FIELD[api]))
        # Gemini repeats its counts in every chunk and may leave one out of the last: so merge, never add.
        usage.update({name: value for name, value in found.items() if value is not None})
        is_final = is_final or bool(found)
    return Answer(usage_object(api, usage, tier) if usage else None, model, is_final=is_final)


def _fold_messages(events: Sequence[Json]) -> Answer:
    fold = UsageFold()
    for event in events:
        fold.event(event)
    return Answer(
        usage=fold.estimated_usage(),
        model=fold.model,
        stop_reason=fold.stop_reason,
        stop_category=fold.stop_category,
        content_empty=fold.content_empty,
        fallback_categories=fold.fallback_categories,
        is_final=fold.is_final,
    )


def _body(api: str, event: Json) -> Json:
    """Find the part of an event that is shaped like the whole answer."""
    if api == "responses":
        return _mapping(event.get("response"))
    if api == "converse" and "metadata" in event:
        return _mapping(event["metadata"])
    return event


def _chat(usage: Json, service_tier: str | None) -> Usage:
    """OpenAI chat: cached and cache-writing tokens are part of the prompt, reasoning of the completion."""
    details, produced = _mapping(usage.get("prompt_tokens_details")), usage.get("completion_tokens_details")
    return _openai(usage, "prompt_tokens", "completion_tokens", details, _mapping(produced), service_tier)


def _responses(usage: Json, service_tier: str | None) -> Usage:
    """OpenAI responses: the same under other names."""
    details, produced = _mapping(usage.get("input_tokens_details")), usage.get("output_tokens_details")
    return _openai(usage, "input_tokens", "output_tokens", details, _mapping(produced), service_tier)


def _openai(
    usage: Json, prompt: str, completion: str, details: Json, produced: Json, service_tier: str | None
) -> Usage:
    counted = Counted()
    read = counted.count(details, "cached_tokens")
    written = counted.count(details, "cache_write_tokens") or counted.count(details, "cache_creation_tokens")
    # Sound and images have prices of their own, which the tables here do not carry.
    for side, parts in (("input", details), ("output", produced)):
        for kind in ("audio_tokens", "image_tokens"):
            counted.add_unmetered(f"{side}.{kind}", parts.get(kind))
    output = counted.count(usage, completion)
    reasoning = counted.count(produced, "reasoning_tokens")
    # xAI counts reasoning beside the completion, which only the total gives away.
    if (
        reasoning
        and counted.count(usage, "total_tokens") == counted.count(usage, prompt) + output + reasoning
    ):
        output += reasoning
    return counted.marked(
        Usage(
            input_tokens=max(0, counted.count(usage, prompt) - read - written),
            cache_read_tokens=read,
            cache_write_5m_tokens=written,
            output_tokens=output,
            service_tier=service_tier,
        )
    )


def _generate_content(usage: Json, service_tier: str | None) -> Usage:
    """Gemini: cached tokens are in the prompt; thoughts are beside the candidates, tool prompts beside it."""
    counted = Counted()
    read = counted.count(usage, "cachedContentTokenCount")
    prompt = counted.count(usage, "promptTokenCount") + counted.count(usage, "toolUsePromptTokenCount")
    for side, kinds in (("prompt", ("AUDIO",)), ("candidates", ("AUDIO", "IMAGE", "VIDEO"))):
        for detail in _items(usage.get(f"{side}TokensDetails")):
            if detail.get("modality") in kinds:
                counted.add_unmetered(f"{side}.{detail['modality']}", detail.get("tokenCount"))
    return counted.marked(
        Usage(
            input_tokens=max(0, prompt - read),
            cache_read_tokens=read,
            output_tokens=counted.count(usage, "candidatesTokenCount")
            + counted.count(usage, "thoughtsTokenCount"),
            service_tier=service_tier,
        )
    )


def _converse(usage: Json, service_tier: str | None) -> Usage:
    """Bedrock Converse: disjoint counts, the writes' lifetimes in `cacheDetails`."""
    counted = Counted()
    written = counted.count(usage, "cacheWriteInputTokens")
    long_lived = [each for each in _items(usage.get("cacheDetails")) if each.get("ttl") == "1h"]
    write_1h = min(written, sum(counted.count(each, "inputTokens") for each in long_lived))
    return counted.marked(
        Usage(
            input_tokens=counted.count(usage, "inputTokens"),
            cache_read_tokens=counted.count(usage, "cacheReadInputTokens"),
            cache_write_5m_tokens=written - write_1h,
            cache_write_1h_tokens=write_1h,
            output_tokens=counted.count(usage, "outputTokens"),
            service_tier=service_tier,
        )
    )


def _messages(usage: Json, service_tier: str | None) -> Usage:
    return usage_from_object({**usage, "service_tier": usage.get("service_tier") or service_tier})


_READERS: Mapping[str, Callable[[Json, str | None], Usage]] = {
    "messages": _messages,
    "chat": _chat,
    "responses": _responses,
    "generate_content": _generate_content,
    "converse": _converse,
}
_USAGE_FIELD = {
    "chat": "usage",
    "responses": "usage",
    "generate_content": "usageMetadata",
    "converse": "usage",
}
APIS = tuple(_READERS)


def _items(value: object) -> list[Json]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list | tuple) else []


def _mapping(value: object) -> Json:
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
