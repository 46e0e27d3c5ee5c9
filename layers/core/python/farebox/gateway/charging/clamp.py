"""Asks for a shorter answer where the whole of it does not fit, but a shorter one does."""

from __future__ import annotations

import dataclasses

from msgspec.structs import replace

from farebox.domain.budget import Shortage, Unit
from farebox.domain.plan import Option
from farebox.ports import Hold
from farebox.wire.request_body.changes import with_params

FLOOR_TOKENS = 1_024
"""Below this an answer is not worth its input."""


def clamped(option: Option, shortage: Shortage, held: Hold | None) -> Option | None:
    """Give the option with `max_tokens` lowered to what the short bucket has; None where its budget does not
    ask for that, the answer is held in slices and can be cut instead, or too little is left.

    `held` is what an earlier target of this request still holds.
    """
    touch, quote = shortage.touch, option.quote
    if not touch.budget.clamp or shortage.standing.is_marked or quote.in_slices:
        return None
    own = sum(each.amount for each in (held.touches if held else ()) if each.key == touch.key)
    standing = shortage.standing
    missing = standing.settled + standing.held - own + touch.amount - touch.budget.limit
    counts_output = touch.budget.unit is Unit.USD or "output" in touch.budget.count
    of_a_token = option.rates.output if touch.budget.unit is Unit.USD else 1
    if missing <= 0 or not counts_output or not of_a_token:
        return None
    fewer = -(-missing // (of_a_token * quote.output_runs))
    max_tokens = quote.output_tokens_max - fewer
    if max_tokens < max(FLOOR_TOKENS, quote.thinking_tokens + 1):
        return None
    body = with_params(option.body, default={}, override={"max_tokens": max_tokens}, drop=())
    output_tokens = quote.output_tokens - fewer * quote.output_runs
    shorter = replace(quote, output_tokens=output_tokens, output_tokens_max=max_tokens)
    return dataclasses.replace(option, body=body, quote=shorter, lowered_to=max_tokens)
