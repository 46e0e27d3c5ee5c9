"""Wires the pipeline of one request; a laptop and a deployment differ only in what fills the ports."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from farebox.compose.settings import Settings
from farebox.domain.price import PriceBook
from farebox.gateway.caching.cache import AnswerCache
from farebox.gateway.charging.backlog import Backlog
from farebox.gateway.charging.known_inputs import KnownInputs
from farebox.gateway.charging.leases import Leases
from farebox.gateway.limit import Limits
from farebox.gateway.pipeline import Gateway
from farebox.gateway.reserve import HoldTerms
from farebox.gateway.route import Trying
from farebox.gateway.routing.trying.breakers import CircuitBreakers
from farebox.gateway.routing.trying.patience import Patience
from farebox.gateway.routing.trying.sending import Sender
from farebox.gateway.settle import Settler
from farebox.ports import (
    Clock,
    Credentials,
    EventBus,
    Keys,
    Ledger,
    Policies,
    Randomness,
    RateLimiter,
    ResponseCache,
)
from farebox.ports.breakers import Breakers
from farebox.providers.demo.transport import DemoTransport
from farebox.providers.registry import Providers
from farebox.wire.http import Timeouts, Transport


class GatewayPorts(Struct, frozen=True):
    """What a gateway needs of the world."""

    keys: Keys
    policies: Policies
    ledger: Ledger
    rate_limiter: RateLimiter
    breakers: Breakers
    credentials: Credentials
    events: EventBus
    transport: Transport
    clock: Clock
    randomness: Randomness
    cache: ResponseCache | None = None


class WiredGateway(Struct, frozen=True):
    """The pipeline, and what has to run behind its requests: leases, the backlog, and the cache that answers
    are put into.
    """

    gateway: Gateway
    leases: Leases
    backlog: Backlog
    cache: AnswerCache


def wire_gateway(
    ports: GatewayPorts, settings: Settings, prices: PriceBook, *, status_of: Callable[[BaseException], int]
) -> WiredGateway:
    """Wire the pipeline. `status_of` gives the HTTP status that an exception is answered with."""
    inputs = KnownInputs()
    providers = Providers(ports.transport, {"demo": DemoTransport()}, _timeouts(settings), ports.clock)
    lease_ms = settings.hold_lease_s * 1000
    leases, backlog = Leases(ports.ledger, ports.clock, lease_ms), Backlog(ports.ledger)
    cache = AnswerCache(ports.cache, ports.clock, max_age_s=settings.cache_max_age_s)
    gateway = Gateway(
        keys=ports.keys,
        policies=ports.policies,
        ledger=ports.ledger,
        credentials=ports.credentials,
        providers=providers,
        prices=prices,
        settler=Settler(ports.ledger, ports.events, leases, prices, inputs, backlog, status_of),
        inputs=inputs,
        limits=Limits(ports.rate_limiter, ports.clock, lease_ms),
        cache=cache,
        leases=leases,
        trying=Trying(
            Sender(providers, settings.ping_ms),
            prices,
            Patience(),
            CircuitBreakers(ports.breakers, ports.events, ports.clock),
            ports.clock,
            ports.randomness,
        ),
        clock=ports.clock,
        randomness=ports.randomness,
        terms=HoldTerms(lease_ms, settings.hold_wait_ms),
    )
    return WiredGateway(gateway, leases, backlog, cache)


def _timeouts(settings: Settings) -> Timeouts:
    return Timeouts(
        connect_ms=settings.connect_timeout_ms,
        first_byte_ms=settings.first_byte_timeout_ms,
        idle_ms=settings.idle_timeout_ms,
        total_ms=settings.total_timeout_ms,
    )
