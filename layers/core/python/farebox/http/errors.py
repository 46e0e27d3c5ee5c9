"""The one place where errors become statuses, headers and bodies, in the shape that Anthropic's clients read.

The statuses were chosen by what Claude Code 2.1.330 does with each: 402 and `policy_blocked` are shown at
once after a single request; a 401, 5xx or 429 without `x-should-retry: false` is retried for three minutes.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from farebox.domain import errors
from farebox.wire.http import Headers

NO_RETRY: Headers = [(b"x-should-retry", b"false")]


class _Rule(Struct, frozen=True):
    status: int
    type: str
    is_final: bool


# The first class that fits decides, so the narrower ones come first.
_RULES: tuple[tuple[type[BaseException], _Rule], ...] = (
    (errors.RequestMalformed, _Rule(400, "invalid_request_error", True)),
    (errors.BodyTooLarge, _Rule(413, "request_too_large", True)),
    (errors.RouteUnknown, _Rule(404, "not_found_error", True)),
    (errors.KeyRefused, _Rule(401, "authentication_error", True)),
    (errors.CredentialMissing, _Rule(401, "authentication_error", True)),
    (errors.PolicyRefused, _Rule(400, "policy_blocked", True)),
    (errors.ProviderUnresolved, _Rule(400, "policy_blocked", True)),
    (errors.BudgetExhausted, _Rule(402, "billing_error", True)),
    (errors.BudgetHeld, _Rule(429, "rate_limit_error", False)),
    (errors.RateLimited, _Rule(429, "rate_limit_error", False)),
    (errors.BrakeSpent, _Rule(402, "billing_error", True)),
    (errors.BrakeExceeded, _Rule(429, "rate_limit_error", True)),
    (errors.ConfigInvalid, _Rule(400, "invalid_request_error", True)),
    (errors.NotFound, _Rule(404, "not_found_error", True)),
    (errors.Conflict, _Rule(409, "conflict_error", True)),
    (errors.CredentialUnavailable, _Rule(500, "api_error", True)),
    (errors.UpstreamTimeout, _Rule(504, "timeout_error", False)),
    (errors.UpstreamFault, _Rule(502, "api_error", False)),
    (errors.StoreFault, _Rule(503, "api_error", False)),
)
_UNEXPECTED = _Rule(500, "api_error", False)
_UNEXPECTED_MESSAGE = (
    "farebox failed while handling this request. The operator finds it in the log by its request id."
)


class ErrorAnswer(Struct, frozen=True):
    """How an error is told. `path` is the field of a document that is to blame."""

    status: int
    type: str
    message: str
    headers: Headers
    path: str | None = None

    def body(self, request_id: str | None = None) -> bytes:
        """Write Anthropic's error envelope."""
        error: dict[str, str] = {"type": self.type, "message": self.message}
        if self.path:
            error["path"] = self.path
        envelope: dict[str, object] = {"type": "error", "error": error}
        if request_id is not None:
            envelope["request_id"] = request_id
        return msgspec.json.encode(envelope)


def error_answer(error: BaseException) -> ErrorAnswer:
    """Decide how an error is told. Anything that is not ours is a 500 that gives nothing away."""
    rule = _rule(error)
    if not isinstance(error, errors.FareboxError):
        return ErrorAnswer(rule.status, rule.type, _UNEXPECTED_MESSAGE, [])
    headers: Headers = list(NO_RETRY) if rule.is_final else []
    if isinstance(error, errors.RateLimited):
        headers += [*error.limit_headers, *([] if error.is_worth_waiting else NO_RETRY)]
    if isinstance(error, errors.BudgetHeld | errors.RateLimited) and error.retry_after_s is not None:
        headers.append((b"retry-after", str(error.retry_after_s).encode()))
    path = error.path if isinstance(error, errors.ConfigInvalid) else None
    return ErrorAnswer(rule.status, rule.type, error.message, headers, path)


def status_of(error: BaseException) -> int:
    """Give the HTTP status alone."""
    return _rule(error).status


def _rule(error: BaseException) -> _Rule:
    return next((rule for kind, rule in _RULES if isinstance(error, kind)), _UNEXPECTED)
