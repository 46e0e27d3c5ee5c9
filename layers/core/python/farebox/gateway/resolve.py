"""Step two: what was asked for, and where it may go. Makes the immutable plan."""

from __future__ import annotations

from datetime import datetime
from functools import partial

from farebox.domain.config import Policy
from farebox.domain.errors import Refusal
from farebox.domain.plan import Caller, Plan
from farebox.domain.price import PriceBook
from farebox.domain.routing.tree import Leaf
from farebox.gateway.charging.known_inputs import KnownInputs
from farebox.gateway.incoming import IncomingRequest
from farebox.gateway.routing.choosing import RequestChooser
from farebox.gateway.routing.facts import facts_of
from farebox.gateway.routing.options import Options
from farebox.gateway.routing.targets import Targets, find_targets
from farebox.gateway.routing.trying.breakers import CircuitBreakers, breaker_key
from farebox.ports import Randomness
from farebox.providers.registry import Providers
from farebox.wire.messages import MessagesHead

SESSION_ID_LENGTH_MAX = 128


def resolve(
    request: IncomingRequest,
    body: bytes,
    head: MessagesHead,
    caller: Caller,
    *,
    policy: Policy,
    prices: PriceBook,
    providers: Providers,
    inputs: KnownInputs,
    randomness: Randomness,
    breakers: CircuitBreakers,
    now: datetime,
) -> Plan:
    """Decide which targets a request has; what each of them means is worked out when it is its turn.

    Raises `PolicyRefused` and `RequestMalformed`.
    """
    targets = find_targets(request, head, caller, policy)
    session_id = caller.session_id or _printable(head.session_id)
    options = Options(request.request_id, session_id, body, head, targets, prices, providers, inputs, now)
    return Plan(
        request_id=request.request_id,
        admitted_at=now,
        caller=caller,
        model=targets.model,
        is_stream=head.is_stream,
        session_id=session_id,
        tree=targets.tree,
        chooser=RequestChooser(
            session_id,
            caller.key.id,
            head,
            facts_of(request, head, caller),
            randomness,
            partial(_is_left_out, targets, breakers),
        ),
        option_of=options.of,
        may_override=targets.may_override,
    )


def _is_left_out(targets: Targets, breakers: CircuitBreakers, leaf: Leaf) -> bool:
    try:
        return breakers.leaves_out(breaker_key(targets.target(leaf), targets.workspace.slug))
    except Refusal:  # that is for the request to be told, when it is this target's turn
        return False


def _printable(session_id: str | None) -> str | None:
    """Cut a session of the body down to what may be logged; it names a bucket, too."""
    text = "".join(char for char in session_id or "" if " " <= char <= "~")
    return text[:SESSION_ID_LENGTH_MAX].strip() or None
