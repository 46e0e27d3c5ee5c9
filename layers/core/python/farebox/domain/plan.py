"""One request, resolved: who asks, what for, from whom, and what it may cost. Nothing later reads
configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from msgspec import Struct

from farebox.domain.budget import Touch
from farebox.domain.budget.rate_limit import Draw
from farebox.domain.config import Target
from farebox.domain.identity import GatewayKey
from farebox.domain.price import Rates
from farebox.domain.record import Billing
from farebox.domain.routing.tree import Leaf, Node
from farebox.domain.routing.walk import Chooser


class CallerCredential(Struct, frozen=True):
    """The caller's own provider credential as it came: a header and its value. Never stored, never logged."""

    header: bytes
    value: bytes

    def __repr__(self) -> str:
        return f"CallerCredential({self.header!r})"

    @property
    def is_subscription(self) -> bool:
        """Whether it is a login of a Claude plan, which is not paid per token."""
        return b"sk-ant-oat" in self.value


class Caller(Struct, frozen=True):
    """Who sent the request, once the gateway key was accepted."""

    key: GatewayKey
    credential: CallerCredential | None
    metadata: Mapping[str, str]
    session_id: str | None
    agent_id: str | None
    trace_id: str


class Quote(Struct, frozen=True):
    """What a request may use, before it is sent. Tokens.

    `output_tokens` is what is held at first: a slice when the answer can be cut, so `in_slices`, else
    everything that may come: all of `output_tokens_max` as often as there are `output_runs`, and what is
    written beside. `thinks` says that some of it may be written unseen, `thinking_tokens` how much at least
    has to be allowed for that.
    """

    input_tokens_bound: int
    input_tokens_expected: int
    caches: bool
    caches_for_1h: bool
    output_tokens: int
    output_tokens_max: int
    web_searches: int
    thinks: bool = False
    in_slices: bool = True
    output_runs: int = 1
    thinking_tokens: int = 0


class Conversation(Struct, frozen=True):
    """What a request's input is recognised by when it comes again, longer.

    `key` is gateway key, session, agent and model; the prefix is all messages but the last one.
    """

    key: tuple[str, str, str, str]
    frame_digest: bytes
    prefix_bytes: int
    prefix_digest: bytes


@dataclass(frozen=True, slots=True)
class Option:
    """One target of a plan, at its own price: where in the config it stands, what it may cost, and whose
    budgets and rate limits it draws on.

    `rates` are unit prices at the worst case, for reserving; `conversation` is what the input is remembered
    by. `body` is what goes out, but for its `asked_model` where that of the target is another. `lowered_to`
    is the `max_tokens` that a budget made of a larger one.
    """

    leaf: Leaf
    target: Target
    body: bytes = field(repr=False)
    asked_model: str
    is_stream: bool
    billing: Billing
    rates: Rates
    quote: Quote
    touches: tuple[Touch, ...]
    draws: tuple[Draw, ...] = ()
    conversation: Conversation | None = None
    lowered_to: int | None = None


class Plan(Struct, frozen=True):
    """Immutable. `tree` and `chooser` say in which order targets are tried, and `option_of` gives what one of
    them means for this request, as of one policy; it raises a `Refusal` where key, workspace or provider do
    not admit it. `model` is as asked for, without the provider's name. `may_override` says that the caller
    may choose what a config would say.
    """

    request_id: str
    admitted_at: datetime
    caller: Caller
    model: str
    is_stream: bool
    session_id: str | None
    tree: Node
    chooser: Chooser
    option_of: Callable[[Leaf], Option]
    may_override: bool = False
