"""Step four: send the request to its target and come back with the head of an answer."""

from __future__ import annotations

from farebox.domain.config import ProviderSpec, Target
from farebox.domain.errors import ConfigInvalid, CredentialUnavailable, UpstreamFault
from farebox.domain.plan import Caller, Option
from farebox.domain.price import PriceBook
from farebox.gateway.charging.journal import Journal
from farebox.gateway.incoming import IncomingRequest
from farebox.ports import Secrets
from farebox.providers.base import Call
from farebox.providers.registry import Providers
from farebox.wire.http import HttpAnswer
from farebox.wire.messages import MessagesHead


async def route(
    option: Option, call: Call, journal: Journal, providers: Providers, prices: PriceBook, *, silence_ms: int
) -> HttpAnswer:
    """Send the call to an option's target. Raises `UpstreamFault` when there is no answer.

    An attempt that never reached the provider is closed here at no cost; any other is closed by whoever ends
    the request, since a provider bills what it has read (I10 in docs/ledger.md).
    """
    journal.dispatched()
    try:
        return await providers.send(option.target.provider, call, silence_ms=silence_ms)
    except UpstreamFault as fault:
        if not fault.dispatched:
            journal.attempted(prices, status=None, reading=None)
        raise


async def outgoing_call(
    request: IncomingRequest,
    body: bytes,
    head: MessagesHead,
    target: Target,
    caller: Caller,
    secrets: Secrets,
) -> Call:
    """Put together what goes out. The model is only written over where the target's differs from the body's.

    Raises `CredentialUnavailable`.
    """
    spec = target.provider
    return Call(
        operation=request.operation,
        query=request.query,
        headers=request.headers,
        body=body,
        is_stream=head.is_stream,
        model=target.model if target.model != head.model else None,
        secret=await _secret(spec, secrets) if spec.has_own_credential else None,
        caller_credential=caller.credential if spec.uses_caller_credential else None,
    )


async def _secret(spec: ProviderSpec, secrets: Secrets) -> str:
    try:
        return await secrets.resolve(spec.credential)
    except ConfigInvalid as error:
        raise CredentialUnavailable(spec.slug, error.message) from error
