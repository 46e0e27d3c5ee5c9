"""Wires the laptop: the core over SQLite, files and the process itself."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from msgspec import Struct

from farebox.adapters.clock import SystemClock, SystemRandomness
from farebox.adapters.clouds.aws_profile import own_credentials
from farebox.adapters.clouds.credentials import ProviderCredentials, sts_origin
from farebox.adapters.clouds.entra import entra_origin
from farebox.adapters.clouds.google.login import read_login
from farebox.adapters.local.event_bus import LocalEventBus
from farebox.adapters.local.rate_limits import LocalRateLimits
from farebox.adapters.local.secrets import LocalSecrets
from farebox.adapters.local.sql.spending import LocalSpendingHistory
from farebox.adapters.local.store import DATABASE_FILE, LocalStore
from farebox.adapters.price_data import PriceData
from farebox.compose.alerts import LocalAlerts, local_alerts
from farebox.compose.gateway import GatewayPorts, wire_gateway
from farebox.compose.google import google_credentials
from farebox.compose.settings import Settings
from farebox.domain.routing.hosts import AddressRule
from farebox.gateway.caching.cache import AnswerCache
from farebox.gateway.charging.backlog import Backlog
from farebox.gateway.charging.leases import Leases
from farebox.gateway.pipeline import Gateway
from farebox.jobs.metrics import Metrics
from farebox.jobs.request_log import RequestLog
from farebox.jobs.sweep import Sweeper
from farebox.ports import Randomness
from farebox.wire.http1 import Http1Transport


class LocalGateway(Struct, frozen=True):
    """One laptop process, wired. `close` ends what `open_local` began."""

    store: LocalStore
    gateway: Gateway
    metrics: Metrics
    events: LocalEventBus
    leases: Leases
    backlog: Backlog
    cache: AnswerCache
    sweeper: Sweeper
    alerts: LocalAlerts
    spending: LocalSpendingHistory
    clock: SystemClock
    randomness: Randomness
    transport: Http1Transport

    async def close(self) -> None:
        """Tell listeners the last news, then let go of sockets and of the store."""
        await self.backlog.settle()
        await self.cache.drain()
        await self.events.drain()
        await self.transport.aclose()
        self.store.close()


def open_local(
    settings: Settings,
    data: Path,
    *,
    environment: Mapping[str, str],
    status_of: Callable[[BaseException], int],
    write_log: Callable[[str], None] | None,
) -> LocalGateway:
    """Open the data directory and wire a gateway over it. `write_log` gets one line a request.

    Raises `StoreFault`.
    """
    clock, randomness, metrics = SystemClock(), SystemRandomness(), Metrics()
    store = LocalStore.open(data / DATABASE_FILE, clock, cache_bytes_max=settings.cache_max_bytes)
    transport = _transport(settings)
    alerts = local_alerts(store, clock, transport, webhook_url=settings.webhook_url, write_log=write_log)
    events = _event_bus(metrics, alerts, write_log)
    wired = wire_gateway(
        GatewayPorts(
            keys=store.keys,
            policies=store.policies,
            ledger=store.ledger,
            breakers=store.breakers,
            rate_limiter=LocalRateLimits(store.database),
            credentials=_credentials(environment, settings, transport, clock),
            events=events,
            transport=transport,
            clock=clock,
            randomness=randomness,
            cache=store.cache if settings.cache_max_bytes else None,
        ),
        settings,
        PriceData().book(),
        status_of=status_of,
    )
    return LocalGateway(
        store=store,
        gateway=wired.gateway,
        metrics=metrics,
        events=events,
        leases=wired.leases,
        backlog=wired.backlog,
        cache=wired.cache,
        sweeper=Sweeper(store.ledger, store.policies, events, clock),
        alerts=alerts,
        spending=LocalSpendingHistory(store.database),
        clock=clock,
        randomness=randomness,
        transport=transport,
    )


def _transport(settings: Settings) -> Http1Transport:
    return Http1Transport(ssl.create_default_context(), chosen_hosts=AddressRule(settings.trusted_hosts))


def _credentials(
    environment: Mapping[str, str], settings: Settings, transport: Http1Transport, clock: SystemClock
) -> ProviderCredentials:
    own = own_credentials(environment, transport, clock)
    google = google_credentials(
        environment,
        own,
        transport,
        clock,
        endpoint=settings.google_endpoint_url,
        read_login=partial(read_login, environment),
    )
    return ProviderCredentials(
        LocalSecrets(environment),
        own,
        google,
        transport=transport,
        clock=clock,
        sts_origin=sts_origin(environment),
        entra_origin=entra_origin(environment),
    )


def _event_bus(
    metrics: Metrics, alerts: LocalAlerts, write_log: Callable[[str], None] | None
) -> LocalEventBus:
    log = [RequestLog(write_log)] if write_log else []
    return LocalEventBus([metrics, *log, alerts.watch, alerts.notifier])
