"""Sends the request to one target, and finds out whether it is answered."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from farebox.domain.config import ANTHROPIC_BASE_URL
from farebox.domain.errors import Refusal, UpstreamFault
from farebox.domain.plan import Caller, Option
from farebox.domain.price.model_names import anthropic_id
from farebox.domain.routing.tree import Leaf
from farebox.gateway.charging.journal import Journal
from farebox.gateway.incoming import MESSAGES_API, IncomingRequest
from farebox.gateway.routing.trying.failure import Failure, fault_failure, status_failure
from farebox.gateway.routing.trying.opening import opened
from farebox.ports import Credentials
from farebox.providers.base import Call
from farebox.providers.registry import Providers
from farebox.wire.headers import with_anthropic_twins
from farebox.wire.http import HttpAnswer, Timeouts, is_success


class Sender(Struct, frozen=True):
    """The way to providers. After `silence_ms` without a byte an answer says so, for our pings."""

    providers: Providers
    silence_ms: int

    async def send(
        self, option: Option, call: Call, journal: Journal, *, is_watched: bool
    ) -> HttpAnswer | Failure:
        """Send a call to an option's target. An answer that `is_watched` is given once its first content is
        there, so that everything else is a failure; any other as soon as its head is.

        Raises the `Refusal` of a target that cannot be asked. What an attempt has cost is for others to say:
        a provider bills what it has read (I10 in docs/ledger.md).
        """
        bounds = bounds_of(self.providers.timeouts, option.leaf, call)
        journal.dispatched()
        try:
            source = await self.providers.send(
                option.target.provider, call, silence_ms=self.silence_ms, timeouts=bounds
            )
            if not is_watched:
                return source
            if not is_success(source.status):
                return await status_failure(source)
            waited_ms = journal.clock.monotonic_ms() - journal.dispatched_ms
            within_ms = max(bounds.first_byte_ms - waited_ms, 0)
            return await opened(source, option.leaf, is_stream=call.is_stream, within_ms=within_ms)
        except UpstreamFault as fault:
            return fault_failure(fault, option.leaf)
        except Refusal:
            journal.dispatched_at = None
            raise


def bounds_of(timeouts: Timeouts, leaf: Leaf, call: Call) -> Timeouts:
    """Take a target's own timeout: for the first content of a stream, and for all of any other answer. To
    connect is a part of that.
    """
    if leaf.timeout_ms is None:
        return timeouts
    connect_ms = min(timeouts.connect_ms, leaf.timeout_ms)
    first_byte_ms = min(timeouts.first_byte_ms, leaf.timeout_ms)
    total_ms = timeouts.total_ms if call.is_stream else min(timeouts.total_ms, leaf.timeout_ms)
    return replace(timeouts, connect_ms=connect_ms, first_byte_ms=first_byte_ms, total_ms=total_ms)


async def outgoing_call(
    request: IncomingRequest, option: Option, caller: Caller, credentials: Credentials
) -> Call:
    """Put together what goes out to a target. The model is only written over where the target's differs from
    the body's, or is another cloud's name for it.

    Raises `CredentialUnavailable`.
    """
    spec, model = option.target.provider, _model_there(request, option)
    return Call(
        operation=request.operation,
        query=request.query,
        headers=with_anthropic_twins(request.headers),
        body=option.body,
        is_stream=option.is_stream,
        model=model if model != option.asked_model else None,
        secret=await credentials.of(spec) if spec.has_own_credential else None,
        caller_credential=caller.credential if spec.uses_caller_credential else None,
        forward_headers=option.leaf.forward_headers,
    )


def _model_there(request: IncomingRequest, option: Option) -> str:
    """Clouds turn any name of a model into theirs. Anthropic's own API knows its own alone; another host that
    speaks it may know what a cloud calls it, unless a client of that cloud had no other name to give.
    """
    spec, model = option.target.provider, option.target.model
    if spec.type != "anthropic":
        return model
    is_own = spec.base_url in (None, ANTHROPIC_BASE_URL)
    return anthropic_id(model) if is_own or request.api != MESSAGES_API else model
