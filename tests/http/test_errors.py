"""Every error of the tree, told: status, type, headers and words, as Claude Code and people need them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from farebox.domain import errors
from farebox.http.errors import error_answer, status_of

FINAL = [(b"x-should-retry", b"false")]
RESET = datetime(2026, 12, 1, tzinfo=UTC)


def exhausted(**changes: Any) -> errors.BudgetExhausted:
    fields: dict[str, Any] = {
        "budget": "platform-month",
        "bucket": "workspace=platform",
        "unit": "usd",
        "limit": 500,
        "settled": 500,
        "needed": 1,
        "window_end": RESET,
        "limit_text": "500 USD",
        "settled_text": "500.12 USD",
        "needed_text": "2 USD",
        "is_closed": True,
        "contact": "ops@example.com",
    }
    return errors.BudgetExhausted(**{**fields, **changes})


HELD = errors.BudgetHeld("key-day", "", 2, "20 USD", "1 USD", "19.50 USD")

QUOTA = ((b"x-ratelimit-limit-requests", b"120"),)


def limited(**changes: object) -> errors.RateLimited:
    fields: dict[str, Any] = {
        "limit": "key-rpm",
        "bucket": "alice",
        "allowance_text": "120 requests a minute",
        "used_text": "counted now: 120",
        "retry_after_s": 12,
        "fits_at": RESET,
        "is_hopeless": False,
        "limit_headers": QUOTA,
    }
    return errors.RateLimited(**{**fields, **changes})


SPENT = errors.BrakeSpent("runaway", "session_usd", "s-1", "$20.00 of $20.00 spent")
EXCEEDED = errors.BrakeExceeded("runaway", "agents_per_session", "s 1", "2 of 2 agents in a session", "#help")
HOPELESS = limited(retry_after_s=None, fits_at=None, is_hopeless=True)

TOLD = [
    (errors.RequestMalformed("model: is required."), 400, "invalid_request_error", FINAL),
    (errors.BodyTooLarge(1024), 413, "request_too_large", FINAL),
    (errors.RouteUnknown("GET", "/v2"), 404, "not_found_error", FINAL),
    (errors.KeyRefused(), 401, "authentication_error", FINAL),
    (errors.KeyRefused(missing=True), 401, "authentication_error", FINAL),
    (errors.CredentialMissing("anthropic"), 401, "authentication_error", FINAL),
    (errors.PolicyRefused("No."), 400, "policy_blocked", FINAL),
    (errors.ProviderUnresolved("None."), 400, "policy_blocked", FINAL),
    (exhausted(), 402, "billing_error", FINAL),
    (HELD, 429, "rate_limit_error", [(b"retry-after", b"2")]),
    (limited(), 429, "rate_limit_error", [*QUOTA, (b"retry-after", b"12")]),
    (limited(retry_after_s=60), 429, "rate_limit_error", [*QUOTA, *FINAL, (b"retry-after", b"60")]),
    (HOPELESS, 429, "rate_limit_error", [*QUOTA, *FINAL]),
    (SPENT, 402, "billing_error", FINAL),
    (EXCEEDED, 429, "rate_limit_error", FINAL),
    (errors.ConfigInvalid("budgets[2].period", "is required"), 400, "invalid_request_error", FINAL),
    (errors.NotFound("key", "bob"), 404, "not_found_error", FINAL),
    (errors.Conflict("Taken."), 409, "conflict_error", FINAL),
    (errors.CredentialUnavailable("anthropic", "env:X is not set"), 500, "api_error", FINAL),
    (errors.UpstreamUnreachable("host", "refused"), 502, "api_error", []),
    (errors.UpstreamTimeout("host", "first_byte", 120_000), 504, "timeout_error", []),
    (errors.UpstreamCut("host", "reset"), 502, "api_error", []),
    (errors.UpstreamStatusUnusable("host", 302), 502, "api_error", []),
    (errors.StoreFault("locked"), 503, "api_error", []),
]


def leaves(kind: type[errors.FareboxError]) -> set[type[errors.FareboxError]]:
    children = [child for child in kind.__subclasses__() if child.__module__ == errors.__name__]
    return {kind} if not children else set().union(*map(leaves, children))


def test_every_error_of_the_tree_is_told_below() -> None:
    assert {type(error) for error, *_ in TOLD} == leaves(errors.FareboxError)


@pytest.mark.parametrize(
    ("error", "status", "kind", "headers"), TOLD, ids=lambda value: type(value).__name__ if value else None
)
def test_an_error_is_told_with_its_status_type_headers_and_message(
    error: errors.FareboxError, status: int, kind: str, headers: list[tuple[bytes, bytes]]
) -> None:
    told = error_answer(error)
    assert (told.status, told.type, told.message, told.headers) == (status, kind, error.message, headers)
    assert status_of(error) == status


def test_the_body_is_anthropics_envelope() -> None:
    told = error_answer(errors.PolicyRefused("Not this model."))
    assert msgspec.json.decode(told.body("req_1")) == {
        "type": "error",
        "error": {"type": "policy_blocked", "message": "Not this model."},
        "request_id": "req_1",
    }
    assert "request_id" not in msgspec.json.decode(told.body())


def test_the_field_of_a_document_that_is_to_blame_is_named() -> None:
    error = msgspec.json.decode(error_answer(errors.ConfigInvalid("keys[0].name", "is required")).body())
    assert error["error"] == {
        "type": "invalid_request_error",
        "message": "keys[0].name: is required",
        "path": "keys[0].name",
    }


@pytest.mark.parametrize("error", [ValueError("sk-ant-secret"), KeyError("fb-secret"), RecursionError("x")])
def test_an_error_that_is_not_ours_gives_nothing_away(error: Exception) -> None:
    told = error_answer(error)
    assert (told.status, told.type, told.headers) == (500, "api_error", [])
    assert told.message == (
        "farebox failed while handling this request. The operator finds it in the log by its request id."
    )


def test_an_exhausted_budget_says_how_much_until_when_and_whom_to_ask() -> None:
    assert exhausted().message == (
        "Budget 'platform-month' (workspace=platform) is exhausted: 500.12 USD of 500 USD spent. "
        "It resets at 2026-12-01T00:00:00Z; ask ops@example.com to raise it."
    )


def test_an_exhausted_budget_without_end_contact_or_bucket_still_makes_sentences() -> None:
    bare = exhausted(
        window_end=None, contact=None, bucket="", settled=499, settled_text="499 USD", is_closed=False
    )
    assert bare.message == (
        "Budget 'platform-month' does not cover this request: 499 USD of 500 USD spent, "
        "and it may cost up to 2 USD. "
        "It does not reset by itself; ask your farebox administrator to raise it."
    )


def test_a_held_budget_says_when_to_try_again() -> None:
    assert HELD.message == (
        "Budget 'key-day' is in use: 1 USD of 20 USD spent and 19.50 USD held by open requests. "
        "Try again in 2 s."
    )


@pytest.mark.parametrize(
    ("waited_for", "words"),
    [
        ("connect", "a connection"),
        ("first_byte", "the first byte"),
        ("idle", "the next byte"),
        ("total", "the whole answer"),
    ],
)
def test_a_timeout_says_what_was_waited_for(waited_for: str, words: str) -> None:
    timeout = errors.UpstreamTimeout("api.example", waited_for, 500)
    assert timeout.message == f"Waited 500 ms for {words} from the provider at api.example."


def test_a_rate_limit_says_what_is_allowed_what_is_counted_and_when_it_frees() -> None:
    assert limited().message == (
        "Rate limit 'key-rpm' (alice) allows 120 requests a minute; counted now: 120. "
        "Try again in 12 s at 2026-12-01T00:00:00Z."
    )
    assert limited(bucket="", fits_at=None).message == (
        "Rate limit 'key-rpm' allows 120 requests a minute; counted now: 120. Try again in 12 s."
    )
    assert HOPELESS.message == (
        "Rate limit 'key-rpm' (alice) allows 120 requests a minute; counted now: 120. "
        "Waiting does not help; ask your farebox administrator to raise it."
    )


def test_a_brake_says_which_how_much_and_how_it_is_lifted() -> None:
    assert SPENT.message == (
        "The runaway brake 'runaway' stopped this session: $20.00 of $20.00 spent (session_usd). "
        "If the work is wanted, ask your farebox administrator to lift it: "
        "farebox brakes lift s-1 --for 2h --reason '...'"
    )
    assert EXCEEDED.message == (
        "The runaway brake 'runaway' stopped this session: 2 of 2 agents in a session (agents_per_session). "
        "If the work is wanted, ask #help to lift it: farebox brakes lift 's 1' --for 2h --reason '...'"
    )
