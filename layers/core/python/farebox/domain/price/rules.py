"""Which token counts a provider bills, and at which model: iterations, server-side fallbacks and refusals."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import replace

from farebox.domain.price.model_id import normalise
from farebox.domain.price.table import RefusalRule
from farebox.domain.usage import Iteration, Served, Usage, prompt_tokens

# A refusal before any output still reports one output token.
_NO_OUTPUT_AT_MOST_TOKENS = 1


class Line(Struct, frozen=True):
    """One set of counters billed at one model. What `is_known` is False for has no rule, so no price."""

    model: str
    counters: Usage | Iteration
    is_fast: bool
    is_known: bool = True


class Bill(Struct, frozen=True):
    """Everything billed for one attempt, before prices."""

    lines: tuple[Line, ...]
    web_search_requests: int


def bill(served: Served, refusals: tuple[RefusalRule, ...]) -> Bill:
    """Choose the counters that are billed.

    With a `fallback_message` iteration the billable iterations are the bill and the top level is not; without
    one the top level is, plus what `compaction` and `advisor_message` iterations add to it.
    Source: pricing and refusals pages of platform.claude.com, read 2026-10.
    """
    usage = served.usage
    if usage is None:
        return Bill((), 0)
    waived = served.stop_reason == "refusal" and served.content_empty
    waived = waived and not _is_refusal_billed(served, served.stop_category, refusals)
    if any(iteration.type == "fallback_message" for iteration in usage.iterations):
        main = _fallback_lines(served, usage, waived, refusals)
    else:
        main = () if waived else tuple(_top_level_lines(served, usage))
    lines = main + tuple(_lines_beside(served, usage))
    return Bill(lines, 0 if waived else usage.web_search_requests)


def model_answering(served: Served) -> str:
    """Name the model that answered: the response's word, else the profile's stand-in, else the request's."""
    return served.response_model or served.profile_model or served.model


def _model_asked(served: Served) -> str:
    return served.profile_model or served.model


def _top_level_lines(served: Served, usage: Usage) -> Iterator[Line]:
    model, is_fast = model_answering(served), usage.speed == "fast"
    messages = tuple(iteration for iteration in usage.iterations if iteration.type == "message")
    if messages and _sums(messages) == _sums((usage,)):
        for iteration in _with_writes_of(usage, messages):
            yield Line(model, iteration, is_fast)
    else:
        yield Line(model, usage, is_fast)


def _sums(counters: tuple[Usage | Iteration, ...]) -> tuple[int, int, int, int]:
    return (
        sum(each.input_tokens for each in counters),
        sum(each.cache_read_tokens for each in counters),
        sum(each.cache_write_5m_tokens + each.cache_write_1h_tokens for each in counters),
        sum(each.output_tokens for each in counters),
    )


def _with_writes_of(usage: Usage, messages: tuple[Iteration, ...]) -> Iterator[Iteration]:
    """Give iterations that tell no lifetime of their cache writes the top level's, first come first."""
    if sum(each.cache_write_1h_tokens for each in messages) == usage.cache_write_1h_tokens:
        yield from messages
        return
    left = usage.cache_write_1h_tokens
    for each in messages:
        writes = each.cache_write_5m_tokens + each.cache_write_1h_tokens
        long_lived = min(left, writes)
        left -= long_lived
        yield replace(each, cache_write_5m_tokens=writes - long_lived, cache_write_1h_tokens=long_lived)


def _lines_beside(served: Served, usage: Usage) -> Iterator[Line]:
    """What is never inside the top level: compactions, advisors, and kinds of iteration without a rule."""
    for iteration in usage.iterations:
        if iteration.type == "compaction":
            yield Line(_model_asked(served), iteration, usage.speed == "fast")
        elif iteration.type == "advisor_message":
            yield Line(iteration.model or _model_asked(served), iteration, is_fast=False)
        elif (
            iteration.type not in ("message", "fallback_message")
            and prompt_tokens(iteration) + iteration.output_tokens
        ):
            yield Line(iteration.type, iteration, is_fast=False, is_known=False)


def _fallback_lines(
    served: Served, usage: Usage, waived: bool, refusals: tuple[RefusalRule, ...]
) -> tuple[Line, ...]:
    """Bill the serving model's iterations and those declined hops that are billed.

    A `message` entry of the serving model is a tool-loop step of the serving hop; of another model, a
    declined hop.
    """
    serving = {normalise(each.model or "").id for each in usage.iterations if each.type == "fallback_message"}
    is_fast = usage.speed == "fast"
    lines: list[Line] = []
    hops: list[list[Iteration]] = []
    for each in usage.iterations:
        model = each.model or _model_asked(served)
        if each.type == "fallback_message" or (each.type == "message" and normalise(model).id in serving):
            if not waived:
                lines.append(Line(each.model or model_answering(served), each, is_fast))
        elif each.type == "message":
            if not hops or normalise(hops[-1][-1].model or "").id != normalise(model).id:
                hops.append([])
            hops[-1].append(replace(each, model=model))
    categories = (*served.fallback_categories, *(None for _ in hops))
    for hop, category in zip(hops, categories, strict=False):
        has_output = sum(each.output_tokens for each in hop) > _NO_OUTPUT_AT_MOST_TOKENS
        if has_output or _is_refusal_billed(served, category, refusals):
            lines.extend(Line(each.model or "", each, is_fast) for each in hop)
    return tuple(lines)


def _is_refusal_billed(served: Served, category: str | None, refusals: tuple[RefusalRule, ...]) -> bool:
    """Say whether a refusal before any output is billed; where no dated rule speaks, it is."""
    for rule in refusals:
        if rule.holds(served.provider, served.at):
            return category in rule.billed_categories
    return True
