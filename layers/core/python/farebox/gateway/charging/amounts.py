"""What a request holds and books, bucket by bucket: arithmetic alone. Picodollars or tokens, by budget."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import replace

from farebox.domain.budget import Touch, Unit, added_up
from farebox.domain.plan import Option, Quote
from farebox.domain.price import Rates
from farebox.domain.usage import Usage, used_tokens


class Spent(Struct, frozen=True):
    """What an attempt that is over has used of its target's budgets and rate limits. `usage` is None where it
    is known to have cost nothing.
    """

    option: Option
    usage: Usage | None
    charged_picodollars: int
    was_sent: bool


def held_touches(option: Option, quote: Quote, spent: Iterable[Spent] = ()) -> tuple[Touch, ...]:
    """Give the blocking touches with what `quote` asks for at this target, on top of what was spent."""
    usd = quoted_picodollars(option.rates, quote)
    asked = (
        # At least 1, so that a limit of 0 refuses free models too.
        replace(
            touch,
            amount=max(1, usd if touch.budget.unit is Unit.USD else quoted_tokens(touch.budget.count, quote)),
        )
        for touch in option.touches
    )
    return _blocking(added_up((*asked, *_booked(spent))))


def requoted_touches(option: Option, usage: Usage, spent: Iterable[Spent] = ()) -> tuple[Touch, ...]:
    """Give the blocking touches with what exactly this usage costs at most, on top of what was spent."""
    usd = used_picodollars(option.rates, usage)
    asked = (
        replace(
            touch,
            amount=max(1, usd if touch.budget.unit is Unit.USD else used_tokens(touch.budget.count, usage)),
        )
        for touch in option.touches
    )
    return _blocking(added_up((*asked, *_booked(spent))))


def booked_touches(option: Option | None, spent: Iterable[Spent]) -> tuple[Touch, ...]:
    """Give every touch, alert-only ones too, with what the attempts really drew. Those of `option`, the last
    target, are there even where it was never asked.
    """
    return added_up((*(() if option is None else option.touches), *_booked(spent)))


def used_picodollars(rates: Rates, usage: Usage) -> int:
    """Price usage at worst-case unit prices."""
    return (
        usage.input_tokens * rates.input
        + usage.cache_read_tokens * rates.cache_read
        + usage.cache_write_5m_tokens * rates.cache_write_5m
        + usage.cache_write_1h_tokens * rates.cache_write_1h
        + usage.output_tokens * rates.output
        + usage.web_search_requests * rates.web_search
    )


def quoted_picodollars(rates: Rates, quote: Quote) -> int:
    """Price a quote at the dearest class its input may fall in."""
    # A negotiated input price can be below the listed price of a cache read.
    input_rate = max(rates.input, rates.cache_read)
    if quote.caches:
        input_rate = max(input_rate, rates.cache_write_5m)
    if quote.caches_for_1h:
        input_rate = max(input_rate, rates.cache_write_1h)
    tokens = quote.input_tokens_bound * input_rate + quote.output_tokens * rates.output
    return tokens + quote.web_searches * rates.web_search


def quoted_tokens(classes: Iterable[str], quote: Quote) -> int:
    """Count a quote's tokens in the classes that a token budget counts."""
    counted = set(classes)
    tokens = quote.output_tokens if "output" in counted else 0
    return tokens + (quote.input_tokens_bound if counted - {"output"} else 0)


def overrun_picodollars(held: Iterable[Touch], booked: Iterable[Touch]) -> int:
    """Give what is booked beyond what was held, in the dollar bucket where that is most."""
    amounts = {touch.key: touch.amount for touch in booked}
    beyond = [amounts.get(touch.key, 0) - touch.amount for touch in held if touch.budget.unit is Unit.USD]
    return max([0, *beyond])


def _booked(spent: Iterable[Spent]) -> list[Touch]:
    return [
        replace(touch, amount=_drawn(touch, attempt)) for attempt in spent for touch in attempt.option.touches
    ]


def _drawn(touch: Touch, attempt: Spent) -> int:
    if touch.budget.unit is Unit.USD:
        return attempt.charged_picodollars
    return used_tokens(touch.budget.count, attempt.usage) if attempt.usage else 0


def _blocking(touches: Iterable[Touch]) -> tuple[Touch, ...]:
    return tuple(touch for touch in touches if touch.budget.is_blocking)
