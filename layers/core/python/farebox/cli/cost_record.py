"""What one line given to `farebox cost --jsonl` means, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from farebox.domain.money import usd_text
from farebox.domain.price import PriceBook
from farebox.domain.usage import Cost, CostStatus, Served
from farebox.wire.usage.formats import APIS, Answer, fold_stream, usage_object

Json = Mapping[str, object]

_RANK = (CostStatus.PRICED, CostStatus.ESTIMATED, CostStatus.UNPRICED)
_FINAL_FIELDS = ("stop_reason", "stop_details", "content_empty", "fallback_categories", "profile_model")
_SHAPES = (
    ("chat", ("prompt_tokens", "completion_tokens", "choices")),
    ("generate_content", ("promptTokenCount", "candidatesTokenCount", "usageMetadata", "candidates")),
    ("converse", ("inputTokens", "outputTokens", "messageStart", "metadata")),
    ("responses", ("input_tokens_details", "output_tokens_details", "response")),
)
_ONLY_IN_MESSAGES = ("cache_creation_input_tokens", "cache_read_input_tokens", "cache_creation", "message")


class RecordInvalid(ValueError):
    """The line is JSON, but not a request that could be priced; the text says why."""


@dataclass(frozen=True, slots=True)
class Priced:
    """The answer to one line. `picodollars` is None exactly when `status` is `unpriced`."""

    status: CostStatus
    picodollars: int | None

    def line(self, identifier: object) -> dict[str, object]:
        """Give the object that is printed."""
        usd = None if self.picodollars is None else usd_text(self.picodollars)
        return {"id": identifier, "status": self.status.value, "usd": usd, "picodollars": self.picodollars}


def price_record(record: Json, book: PriceBook) -> Priced:
    """Price one record: its attempts' sum where it lists them, else itself. Raises `RecordInvalid`."""
    if record.get("endpoint") == "count_tokens":
        return Priced(CostStatus.PRICED, 0)
    attempts = record.get("attempts")
    if attempts is None:
        if record.get("usage") is None and record.get("stream") is None and record.get("http_status") is None:
            return Priced(CostStatus.UNPRICED, None)
        return _sum([_cost(record, book)])
    if (
        not isinstance(attempts, Sequence)
        or not attempts
        or not all(isinstance(each, Mapping) for each in attempts)
    ):
        raise RecordInvalid("attempts is not a list of objects")
    last = len(attempts) - 1
    return _sum([_cost(_attempt(record, each, index == last), book) for index, each in enumerate(attempts)])


def _attempt(record: Json, attempt: Json, is_last: bool) -> Json:
    """An attempt inherits the time and the API; how the answer ended is a property of the last one."""
    inherited = [name for name in ("at", "api", "provider", "model") if name in record]
    if record.get("provider") in (None, attempt.get("provider")) and "region" in record:
        inherited.append("region")
    if is_last:
        inherited += [name for name in _FINAL_FIELDS if name in record]
    return {**{name: record[name] for name in inherited}, **attempt}


def _sum(costs: Sequence[Cost]) -> Priced:
    status = max((cost.status for cost in costs), key=_RANK.index)
    amounts = [cost.picodollars for cost in costs if cost.picodollars is not None]
    return Priced(status, None if status is CostStatus.UNPRICED else sum(amounts))


def _cost(record: Json, book: PriceBook) -> Cost:
    provider = book.provider_named(_required_text(record, "provider"))
    answer = _answer(record, provider, book)
    refused = _mapping(record.get("stop_details")).get("category")
    usage, empty = answer.usage, record.get("content_empty")
    if not isinstance(empty, bool):
        empty = (
            answer.content_empty if record.get("stream") is not None else not (usage and usage.output_tokens)
        )
    categories = record.get("fallback_categories")
    return book.cost(
        Served(
            provider=provider,
            model=_required_text(record, "model"),
            at=_moment(record.get("at"), book),
            usage=usage,
            response_model=_text(record.get("response_model")) or answer.model,
            region=_text(record.get("region")),
            stop_reason=_text(record.get("stop_reason")) or answer.stop_reason,
            stop_category=_text(refused) or answer.stop_category,
            content_empty=empty,
            fallback_categories=(
                tuple(_text(each) for each in categories)
                if isinstance(categories, list)
                else answer.fallback_categories
            ),
            profile_model=_text(record.get("profile_model")),
            batch=record.get("service_tier") == "batch",
            is_exact=answer.is_final,
        )
    )


def _answer(record: Json, provider: str, book: PriceBook) -> Answer:
    """Without usage, an error status is exactly nothing; anything else may have been billed: an estimate."""
    usage, stream, tier = record.get("usage"), record.get("stream"), _text(record.get("service_tier"))
    if stream is not None:
        if not isinstance(stream, list) or not all(isinstance(event, Mapping) for event in stream):
            raise RecordInvalid("stream is not a list of events")
        return fold_stream(_api(record, stream, provider, book), stream, tier)
    if usage is None:
        status = record.get("http_status")
        return Answer(None, is_final=isinstance(status, int) and status >= 400)
    if not isinstance(usage, Mapping):
        raise RecordInvalid("usage is not an object")
    return Answer(usage_object(_api(record, [usage], provider, book), usage, tier))


def _api(record: Json, samples: Sequence[Json], provider: str, book: PriceBook) -> str:
    """Take the API that is named, else tell it by the fields that only one API has."""
    named = record.get("api")
    if named is not None:
        if named not in APIS:
            raise RecordInvalid(f"api is not one of {', '.join(APIS)}")
        return str(named)
    names = {name for sample in samples for name in sample}
    if not names.isdisjoint(_ONLY_IN_MESSAGES):
        return "messages"
    for api, fields in _SHAPES:
        if not names.isdisjoint(fields):
            return api
    return "messages" if provider in (*book.claude.providers, "demo") else "responses"


def _moment(value: object, book: PriceBook) -> datetime:
    """Without a time, prices are those of the table's own date, so that an answer never changes by itself."""
    text = book.claude.as_of if value is None else value
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        raise RecordInvalid(f"at is not an RFC 3339 time: {value!r}") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _required_text(record: Json, name: str) -> str:
    text = _text(record.get(name))
    if text is None:
        raise RecordInvalid(f"{name} is missing or not a text")
    return text


def _mapping(value: object) -> Json:
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
