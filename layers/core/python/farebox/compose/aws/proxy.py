"""Wires the proxy function: the data plane over a deployment, for the streaming runtime."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from msgspec import Struct

from farebox.adapters.aws.services.secrets import ManagedSecrets
from farebox.adapters.clouds.credentials import ProviderCredentials, sts_origin
from farebox.adapters.clouds.entra import entra_origin
from farebox.adapters.local.event_bus import LocalEventBus
from farebox.adapters.price_data import PriceData
from farebox.compose.aws.store import AwsStore, open_store
from farebox.compose.deployment import load_deployment
from farebox.compose.gateway import GatewayPorts, WiredGateway, wire_gateway
from farebox.compose.google import google_credentials
from farebox.compose.settings import Settings, load_settings
from farebox.domain.errors import FareboxError
from farebox.http.data_plane import App, DataPlane, Receive, Scope, Send
from farebox.http.errors import status_of
from farebox.jobs.emf import EmfMetrics
from farebox.jobs.request_log import RequestLog

_log = logging.getLogger("farebox.proxy")


class Proxy(Struct, frozen=True):
    """The gateway of one environment, as an ASGI app that leaves nothing to be done behind a request: the
    environment is frozen when it returns.
    """

    aws: AwsStore
    wired: WiredGateway
    events: LocalEventBus
    plane: DataPlane

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, and book and tell what came of it."""
        try:
            await self.plane(scope, receive, send)
        finally:
            await self._finish()

    async def warm(self) -> None:
        """Read the policy while nobody waits yet. A store that does not answer now is asked again later."""
        try:
            await self.wired.gateway.policies.current()
        except FareboxError as error:
            _log.warning("the policy could not be read at the start: %s", error)

    async def aclose(self) -> None:
        """Book and tell what is left, then let go of sockets."""
        await self._finish()
        await self.aws.aclose()

    async def _finish(self) -> None:
        await self.wired.backlog.settle()
        await self.wired.cache.drain()
        await self.events.drain()


@asynccontextmanager
async def open_proxy(environment: Mapping[str, str], *, write: Callable[[str], None]) -> AsyncIterator[App]:
    """Open the proxy for as long as its environment lives; `write` gets a line of log or metrics, without its
    end. Raises `ConfigInvalid` where the environment lacks something.
    """
    proxy = _wire(environment, load_settings(environment), write)
    renewing = asyncio.create_task(proxy.wired.leases.run())
    try:
        await proxy.warm()
        yield proxy
    finally:
        renewing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await renewing
        await proxy.aclose()


def _wire(environment: Mapping[str, str], settings: Settings, write: Callable[[str], None]) -> Proxy:
    deployment = load_deployment(environment)
    aws = open_store(deployment, environment)
    prices = PriceData().book()
    metrics = EmfMetrics(write, deployment.stage, prices.claude.models)
    events = LocalEventBus([metrics, *([RequestLog(write)] if settings.log == "json" else [])])
    wired = wire_gateway(
        GatewayPorts(
            keys=aws.store.keys,
            policies=aws.store.policies,
            ledger=aws.store.ledger,
            breakers=aws.store.breakers,
            rate_limiter=aws.store.rate_limits,
            credentials=_credentials(environment, settings, aws, deployment.region),
            events=events,
            transport=aws.transport,
            clock=aws.clock,
            randomness=aws.randomness,
            cache=aws.store.cache,
        ),
        settings,
        prices,
        status_of=status_of,
    )
    plane = DataPlane(wired.gateway, aws.randomness, body_bytes_max=settings.max_body_bytes, books_last=True)
    return Proxy(aws, wired, events, plane)


def _credentials(
    environment: Mapping[str, str], settings: Settings, aws: AwsStore, region: str
) -> ProviderCredentials:
    own, transport, clock = aws.credentials, aws.transport, aws.clock
    return ProviderCredentials(
        ManagedSecrets(transport, aws.origin("secretsmanager"), region, own, clock),
        own,
        google_credentials(environment, own, transport, clock, endpoint=settings.google_endpoint_url),
        transport=transport,
        clock=clock,
        sts_origin=sts_origin(environment),
        entra_origin=entra_origin(environment),
    )
