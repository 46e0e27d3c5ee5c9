"""What one provider attempt used, and what it cost: the values that prices are applied to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum

from msgspec import Struct, field
from msgspec.structs import replace


class Iteration(Struct, frozen=True):
    """One entry of Anthropic's `usage.iterations`: a sampling step inside, or beside, the top-level counters.

    `type` is `message`, `compaction`, `advisor_message` or `fallback_message`; other types stay as they came.
    """

    type: str
    model: str | None = None
    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    output_tokens: int = 0


class Usage(Struct, frozen=True):
    """One usage object in Anthropic's terms, whatever its provider's format was. The counters are disjoint.

    `unmetered` names counters that came with tokens and have no price here, and `unmetered_tokens` adds them
    up; `unread` names fields that were not counts at all and were passed over. Neither makes a request
    cheaper than it was: the first makes it unpriced, the second an estimate.
    """

    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    output_tokens: int = 0
    web_search_requests: int = 0
    speed: str | None = None
    inference_geo: str | None = None
    service_tier: str | None = None
    iterations: tuple[Iteration, ...] = ()
    credit_redeemed: bool = False
    unmetered: tuple[str, ...] = ()
    unmetered_tokens: int = 0
    unread: tuple[str, ...] = ()

    @property
    def prompt_tokens(self) -> int:
        """Everything the model read."""
        return prompt_tokens(self)


REMEMBERED_MAX = 5
"""Of entries and names in one usage object, once it was priced; its counters say all of it."""

TEXT_MAX = 64
"""Characters of a text that a provider chose. Some hosts are anybody's, and a ledger row has a bound."""


def remembered(usage: Usage) -> Usage:
    """Give of a usage object what is kept in the ledger, however long its lists and texts are."""
    return replace(
        usage,
        speed=_short(usage.speed),
        inference_geo=_short(usage.inference_geo),
        service_tier=_short(usage.service_tier),
        iterations=tuple(
            replace(entry, type=_plain(entry.type), model=_short(entry.model))
            for entry in usage.iterations[:REMEMBERED_MAX]
        ),
        unmetered=tuple(_plain(name) for name in usage.unmetered[:REMEMBERED_MAX]),
        unread=tuple(_plain(name) for name in usage.unread[:REMEMBERED_MAX]),
    )


def _short(text: str | None) -> str | None:
    return None if text is None else _plain(text)


def _plain(text: str) -> str:
    """Take the beginning of a text, without what is long in JSON."""
    return "".join(each for each in text[:TEXT_MAX] if each.isprintable())


def prompt_tokens(counters: Usage | Iteration) -> int:
    """Add up everything the model read, by which long-prompt prices are decided."""
    writes = counters.cache_write_5m_tokens + counters.cache_write_1h_tokens
    return counters.input_tokens + counters.cache_read_tokens + writes


def used_tokens(classes: Iterable[str], usage: Usage) -> int:
    """Count used tokens in the classes that a token budget counts."""
    by_class = {
        "input": usage.input_tokens,
        "cache_read": usage.cache_read_tokens,
        "cache_write": usage.cache_write_5m_tokens + usage.cache_write_1h_tokens,
        "output": usage.output_tokens,
    }
    return sum(by_class[name] for name in set(classes))


class Served(Struct, frozen=True):
    """Everything that the price of one attempt depends on, and nothing else.

    `provider` is a provider type (`anthropic`, `bedrock`, `vertex`, ...) or a vendor of the imported tables.
    `at` is when the attempt was sent, aware. `usage` is None when the provider reported none. `content_empty`
    is about the refusing model's own output. `fallback_categories` has the refusal category of each declined
    hop, in order. `profile_model` is what an application inference profile stands for. `is_exact` is False
    when the counts are only known to be a lower bound (a cut stream, a timeout).
    """

    provider: str
    model: str
    at: datetime
    usage: Usage | None
    response_model: str | None = None
    region: str | None = None
    stop_reason: str | None = None
    stop_category: str | None = None
    content_empty: bool = False
    fallback_categories: tuple[str | None, ...] = ()
    profile_model: str | None = None
    batch: bool = False
    is_exact: bool = True


class CostStatus(StrEnum):
    """How far a cost can be trusted: exactly, as a stated estimate, or not at all for want of a price."""

    PRICED = "priced"
    ESTIMATED = "estimated"
    UNPRICED = "unpriced"


class Cost(Struct, frozen=True):
    """What one attempt costs, in picodollars.

    `picodollars` is None exactly when `status` is `unpriced`; `charged_picodollars` is what budgets count
    either way. `rates` are the exact unit prices of the model that answered, decimal text per class, for the
    ledger row.
    """

    picodollars: int | None
    status: CostStatus
    charged_picodollars: int
    price_version: str
    rates: Mapping[str, str] = field(default_factory=dict)
