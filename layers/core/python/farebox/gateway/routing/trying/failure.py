"""What an attempt that came to no answer counts as, by a status that configs go by; and what it has used."""

from __future__ import annotations

from msgspec import Struct

from farebox.domain.errors import (
    BudgetExhausted,
    BudgetHeld,
    ConfigInvalid,
    CredentialMissing,
    CredentialUnavailable,
    FareboxError,
    PolicyRefused,
    ProviderUnresolved,
    RateLimited,
    UpstreamCut,
    UpstreamFault,
    UpstreamTimeout,
)
from farebox.domain.plan import Option, Quote
from farebox.domain.routing.tree import REFUSED_BY_POLICY, Leaf
from farebox.gateway.charging.meter import Reading, StreamMeter, expected_usage, read_message
from farebox.gateway.routing.relay import KeptAnswer, is_event_stream
from farebox.wire.headers import find
from farebox.wire.http import Headers, HttpAnswer, is_success, read_whole
from farebox.wire.usage.fold import UsageFold

UNREACHABLE, CUT, TIMED_OUT, OWN_TIMEOUT = 503, 502, 504, 408
UNKNOWN_ERROR = 500

PROVIDER = "the provider"

ERROR_STATUSES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": UNKNOWN_ERROR,
    "timeout_error": TIMED_OUT,
    "overloaded_error": 529,
}
"""The status that Anthropic answers with where an error of this type is not an event in a stream.

Source: platform.claude.com/docs/en/api/errors, read 2026-11.
"""


class Failure(Struct, frozen=True):
    """An attempt that came to no answer.

    `status` is what a config goes by. If nothing else is tried the client gets `answer`, verbatim, where
    there is one that is not broken, else `error`; once something else was tried, only one that `is_whole`.
    `sent` are the bytes of an answer with a good status that had begun.
    """

    status: int
    reason: str
    error: FareboxError
    answer: HttpAnswer | None = None
    sent: bytes = b""
    is_whole: bool = False
    is_broken: bool = False

    @property
    def headers(self) -> Headers:
        """Give what the provider said beside its status."""
        return self.answer.headers if self.answer is not None else []

    @property
    def was_sent(self) -> bool:
        """Whether the provider may have read the request."""
        return not isinstance(self.error, UpstreamFault) or self.error.dispatched


async def status_failure(source: HttpAnswer) -> Failure:
    """Read an answer that says no, so that its connection is free. Raises `UpstreamFault`."""
    kept = KeptAnswer(source, [await read_whole(source)], is_whole=True)
    reason = f"status {source.status}"
    return Failure(source.status, reason, UpstreamCut(PROVIDER, reason), kept, is_whole=True)


def fault_failure(fault: UpstreamFault, leaf: Leaf) -> Failure:
    """Say what an attempt without an answer counts as."""
    if not fault.dispatched:
        is_own = isinstance(fault, UpstreamTimeout) and fault.timeout_ms == leaf.timeout_ms
        return Failure(OWN_TIMEOUT if is_own else UNREACHABLE, "not reached", fault)
    if isinstance(fault, UpstreamTimeout):
        return Failure(late_status(leaf), f"no answer: {fault.waited_for} timeout", fault)
    return Failure(CUT, "cut", fault)


def late_status(leaf: Leaf) -> int:
    """Give what it counts as when nothing came in time."""
    return TIMED_OUT if leaf.timeout_ms is None else OWN_TIMEOUT


def used_by_failure(failure: Failure, quote: Quote) -> tuple[UsageFold | None, Reading | None]:
    """Give what an attempt has used as far as can be told; no reading where it has cost nothing.

    An error status costs nothing. What may have been read and was not answered is priced at its likely input.
    """
    answer = failure.answer
    if answer is None:
        return None, Reading(expected_usage(quote, 0), is_exact=False) if failure.was_sent else None
    if not is_success(answer.status):
        return None, None
    if is_event_stream(answer):
        meter = StreamMeter()
        meter.feed(failure.sent)
        meter.end()
        return meter.fold, meter.reading(quote)
    return read_message(failure.sent, encoding=find(answer.headers, b"content-encoding"), quote=quote)


def refused_status(error: FareboxError, option: Option | None) -> int | None:
    """Give the status that a refusal counts as where it is the target's own; None where it is the caller's,
    who would be refused anywhere.
    """
    match error:
        case PolicyRefused() | ProviderUnresolved():
            return REFUSED_BY_POLICY
        case CredentialMissing():
            return 401
        case CredentialUnavailable() | ConfigInvalid():
            return 500
        case BudgetExhausted() if _is_budget_of_target(error.budget, option):
            return REFUSED_BY_POLICY
        case BudgetHeld() if _is_budget_of_target(error.budget, option):
            return 429
        case RateLimited() if _is_limit_of_target(error.limit, option):
            return 429
    return None


def _is_budget_of_target(name: str, option: Option | None) -> bool:
    touches = option.touches if option is not None else ()
    return any(touch.budget.name == name and touch.budget.scope.narrows_targets for touch in touches)


def _is_limit_of_target(name: str, option: Option | None) -> bool:
    draws = option.draws if option is not None else ()
    return any(draw.limit.name == name and draw.limit.scope.narrows_targets for draw in draws)
