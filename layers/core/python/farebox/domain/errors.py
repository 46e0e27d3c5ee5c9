"""Everything that can go wrong, as one tree. `http/errors.py` alone turns it into statuses and bodies.

FareboxError
├── Refusal                     ours to say, the caller's to mend; nothing was sent upstream
│   ├── RequestMalformed        the body or a header cannot be read
│   ├── BodyTooLarge
│   ├── RouteUnknown
│   ├── KeyRefused              no key, or one that is unknown, revoked or expired: never told apart
│   ├── PolicyRefused           model, provider, config or guardrail says no
│   ├── ProviderUnresolved      no provider serves this model for this caller
│   ├── CredentialMissing       the provider wants the caller's own credential and none came along
│   ├── BudgetExhausted         money or tokens are gone until the window ends or the limit is raised
│   ├── BudgetHeld              only open requests stand in the way; waiting helps
│   ├── RateLimited             too much in a window, or too many at once
│   ├── BrakeApplied            a runaway brake stopped a session; an administrator may lift it
│   │   ├── BrakeSpent              the session, or one agent of it, has spent what it may
│   │   └── BrakeExceeded           it asks too fast or has too many agents
│   ├── ConfigInvalid           an `apply` file or an admin request that cannot be taken
│   ├── NotFound                an admin resource that does not exist
│   └── Conflict                an admin resource that exists already
└── Fault                       not the caller's doing
    ├── CredentialUnavailable   the provider's credential is configured and cannot be read
    ├── UpstreamFault           the provider, or the way to it
    │   ├── UpstreamUnreachable     nothing was sent
    │   ├── UpstreamTimeout         it was sent, and no answer came in time
    │   ├── UpstreamStatusUnusable  it sends elsewhere, or its status is none: no answer, no work done
    │   └── UpstreamCut             the answer broke off, or was not HTTP
    └── StoreFault              the ledger or the key store cannot answer: refuse closed
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from datetime import datetime

ADMINISTRATOR = "your farebox administrator"
WORTH_WAITING_S = 60


class FareboxError(Exception):
    """Root of the tree."""

    def __str__(self) -> str:
        return self.message

    @property
    def message(self) -> str:
        """One or two sentences for the person at the keyboard: what happened, the number, the next step."""
        return self.args[0] if self.args else type(self).__name__


class Refusal(FareboxError):
    """The caller can mend this; no provider was called."""


@dataclass(eq=False)
class RequestMalformed(Refusal):
    detail: str

    @property
    def message(self) -> str:
        return self.detail


@dataclass(eq=False)
class BodyTooLarge(Refusal):
    limit_bytes: int

    @property
    def message(self) -> str:
        return f"The request body is larger than the gateway's limit of {self.limit_bytes} bytes."


@dataclass(eq=False)
class RouteUnknown(Refusal):
    method: str
    path: str

    @property
    def message(self) -> str:
        return f"farebox has no route {self.method} {self.path}."


@dataclass(eq=False)
class KeyRefused(Refusal):
    """The same for a missing, unknown, revoked and expired key, so that nobody can probe for keys.

    Claude Code 2.1.330 puts words of its own in the place of a 401 that names the header x-api-key.
    """

    missing: bool = False

    @property
    def message(self) -> str:
        if self.missing:
            return (
                "No farebox gateway key came with this request. "
                "Send it as x-farebox-key or as a bearer token (Authorization: Bearer fb-...)."
            )
        return (
            "This farebox gateway key is not valid (unknown, revoked or expired). "
            "Ask whoever gave it to you for a new one."
        )


@dataclass(eq=False)
class PolicyRefused(Refusal):
    detail: str

    @property
    def message(self) -> str:
        return self.detail


@dataclass(eq=False)
class ProviderUnresolved(Refusal):
    detail: str

    @property
    def message(self) -> str:
        return self.detail


@dataclass(eq=False)
class CredentialMissing(Refusal):
    provider: str

    @property
    def message(self) -> str:
        return (
            f"Provider '{self.provider}' uses the caller's own credential and none came along. "
            "Log in to Claude Code, or set ANTHROPIC_API_KEY to an sk-ant-... key of your own; "
            "the farebox key goes in x-farebox-key."
        )


@dataclass(eq=False)
class BudgetExhausted(Refusal):
    """Amounts are picodollars or tokens, by `unit`. `is_closed` says that nothing at all is let through."""

    budget: str
    bucket: str
    unit: str
    limit: int
    settled: int
    needed: int
    window_end: datetime | None
    limit_text: str
    settled_text: str
    needed_text: str
    is_closed: bool
    contact: str | None = None

    @property
    def message(self) -> str:
        bucket = f" ({self.bucket})" if self.bucket else ""
        end = self.window_end
        reset = f"It resets at {end:%Y-%m-%dT%H:%M:%SZ}" if end else "It does not reset by itself"
        who = self.contact or "your farebox administrator"
        spent = f"{self.settled_text} of {self.limit_text} spent"
        state = (
            f"is exhausted: {spent}."
            if self.is_closed
            else f"does not cover this request: {spent}, and it may cost up to {self.needed_text}."
        )
        return f"Budget '{self.budget}'{bucket} {state} {reset}; ask {who} to raise it."


@dataclass(eq=False)
class BudgetHeld(Refusal):
    """Not enough is free, but open requests hold part of it and will give some back."""

    budget: str
    bucket: str
    retry_after_s: int
    limit_text: str
    settled_text: str
    held_text: str

    @property
    def message(self) -> str:
        bucket = f" ({self.bucket})" if self.bucket else ""
        return (
            f"Budget '{self.budget}'{bucket} is in use: {self.settled_text} of {self.limit_text} spent and "
            f"{self.held_text} held by open requests. Try again in {self.retry_after_s} s."
        )


@dataclass(eq=False)
class RateLimited(Refusal):
    """`allowance_text` is such as '120 requests a minute', `used_text` what counts now and what was asked
    for. `fits_at` is None when it is not known; `is_hopeless` says that waiting never helps. `limit_headers`
    are those of the limits that the request touched.
    """

    limit: str
    bucket: str
    allowance_text: str
    used_text: str
    retry_after_s: int | None
    fits_at: datetime | None
    is_hopeless: bool
    contact: str | None = None
    limit_headers: tuple[tuple[bytes, bytes], ...] = ()

    @property
    def is_worth_waiting(self) -> bool:
        """Whether somebody at the keyboard would rather wait than be told."""
        return self.retry_after_s is not None and self.retry_after_s < WORTH_WAITING_S

    @property
    def message(self) -> str:
        bucket = f" ({self.bucket})" if self.bucket else ""
        told = f"Rate limit '{self.limit}'{bucket} allows {self.allowance_text}; {self.used_text}."
        if self.is_hopeless:
            return f"{told} Waiting does not help; ask {self.contact or ADMINISTRATOR} to raise it."
        at = f" at {self.fits_at:%Y-%m-%dT%H:%M:%SZ}" if self.fits_at else ""
        return f"{told} Try again in {self.retry_after_s} s{at}."


@dataclass(eq=False)
class BrakeApplied(Refusal):
    """`cap` is the field of the brake; `session` is as `farebox brakes lift` takes it."""

    brake: str
    cap: str
    session: str
    found_text: str
    contact: str | None = None

    @property
    def message(self) -> str:
        return (
            f"The runaway brake '{self.brake}' stopped this session: {self.found_text} ({self.cap}). "
            f"If the work is wanted, ask {self.contact or ADMINISTRATOR} to lift it: "
            f"{lift_command(self.session)}"
        )


def lift_command(session: str) -> str:
    """Give the command that lets a session go on; clients choose its name, which may look like an option."""
    options = "--for 2h --reason '...'"
    if session.startswith("-"):
        return f"farebox brakes lift {options} -- {shlex.quote(session)}"
    return f"farebox brakes lift {shlex.quote(session)} {options}"


@dataclass(eq=False)
class BrakeSpent(BrakeApplied):
    """Dollars."""


@dataclass(eq=False)
class BrakeExceeded(BrakeApplied):
    """Requests in a minute, or agents."""


@dataclass(eq=False)
class ConfigInvalid(Refusal):
    """`path` is where in the document, such as `budgets[2].period`."""

    path: str
    detail: str

    @property
    def message(self) -> str:
        return f"{self.path}: {self.detail}" if self.path else self.detail


@dataclass(eq=False)
class NotFound(Refusal):
    kind: str
    name: str

    @property
    def message(self) -> str:
        return f"There is no {self.kind} '{self.name}'."


@dataclass(eq=False)
class Conflict(Refusal):
    detail: str

    @property
    def message(self) -> str:
        return self.detail


class Fault(FareboxError):
    """Not the caller's doing."""


@dataclass(eq=False)
class CredentialUnavailable(Fault):
    provider: str
    detail: str

    @property
    def message(self) -> str:
        return f"The credential of provider '{self.provider}' cannot be read: {self.detail}."


class UpstreamFault(Fault):
    """The provider, or the way to it, failed. `dispatched` says whether the request may have been billed."""

    dispatched: bool = True


@dataclass(eq=False)
class UpstreamUnreachable(UpstreamFault):
    host: str
    detail: str
    dispatched = False

    @property
    def message(self) -> str:
        return f"Could not connect to the provider at {self.host}: {self.detail}."


@dataclass(eq=False)
class UpstreamTimeout(UpstreamFault):
    """`waited_for` is 'connect', 'first_byte', 'content', 'idle' or 'total'."""

    host: str
    waited_for: str
    timeout_ms: int

    @property
    def message(self) -> str:
        what = {
            "connect": "a connection",
            "first_byte": "the first byte",
            "content": "the first content",
            "idle": "the next byte",
        }
        waited = what.get(self.waited_for, "the whole answer")
        return f"Waited {self.timeout_ms} ms for {waited} from the provider at {self.host}."


@dataclass(eq=False)
class UpstreamCut(UpstreamFault):
    host: str
    detail: str

    @property
    def message(self) -> str:
        return f"The provider at {self.host} broke off its answer: {self.detail}."


@dataclass(eq=False)
class UpstreamStatusUnusable(UpstreamFault):
    host: str
    status: int
    dispatched = False

    @property
    def message(self) -> str:
        return (
            f"The provider at {self.host} answered with status {self.status}, which is not an answer "
            "to a request. Check the provider's base_url."
        )


@dataclass(eq=False)
class StoreFault(Fault):
    """`detail` may name accounts, roles and tables: it is for logs and administrators."""

    detail: str

    def __str__(self) -> str:
        return f"The farebox store cannot answer ({self.detail})."

    @property
    def message(self) -> str:
        return "The farebox store cannot answer; no request is sent while spending cannot be checked."
