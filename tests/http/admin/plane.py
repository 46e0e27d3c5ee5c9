"""An admin plane over a real local store, and what a test needs to ask it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from msgspec.structs import replace

from farebox.adapters.local.keys import LocalKeys
from farebox.adapters.local.sql.spending import LocalSpendingHistory
from farebox.adapters.local.store import LocalStore
from farebox.adapters.price_data import PriceData
from farebox.domain.errors import Conflict, NotFound
from farebox.domain.identity import GatewayKey, key_hash
from farebox.http.admin.ports import AdminPorts
from farebox.ports import Policies, Resource
from tests.support.admin_app import admin_app
from tests.support.builders import FixedClock, a_secret, an_admin_key

ADMIN_SECRET = a_secret(1_000, "fba-")


class CountingBytes:
    """Different bytes each time, the same in each run."""

    def __init__(self) -> None:
        self._count = 0

    def bytes(self, count: int) -> bytes:
        self._count += 1
        return self._count.to_bytes(2, "big").ljust(count, b"\0")


class RacingPolicies:
    """A policy store in which somebody else always writes first, a number of times."""

    def __init__(self, policies: Policies, races: int) -> None:
        self._policies, self.races = policies, races
        self.current, self.resources = policies.current, policies.resources

    async def write(
        self,
        *,
        upserts: Sequence[Resource],
        deletes: Sequence[tuple[str, str]],
        expected_version: int,
        actor: str,
    ) -> int:
        if self.races > 0:
            self.races -= 1
            raise Conflict("the version is another one")
        return await self._policies.write(
            upserts=upserts, deletes=deletes, expected_version=expected_version, actor=actor
        )


class LateKeys:
    """A key store that another process fills just after it was asked."""

    def __init__(self, keys: LocalKeys) -> None:
        self._keys, self._is_first = keys, True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._keys, name)

    async def get_gateway_key(self, name_or_id: str, workspace: str | None = None) -> GatewayKey:
        if self._is_first:
            self._is_first = False
            raise NotFound("key", name_or_id)
        return await self._keys.get_gateway_key(name_or_id, workspace)


@dataclass(frozen=True, slots=True)
class Plane:
    """One admin plane: its store, its ports and a client that holds the admin key."""

    store: LocalStore
    ports: AdminPorts
    clock: FixedClock
    client: httpx2.AsyncClient

    async def ask(self, method: str, path: str, status: int = 200, **request: Any) -> Any:
        """Ask, check the status and give the JSON."""
        answer = await self.client.request(method, path, **request)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    async def refused(self, method: str, path: str, status: int, **request: Any) -> tuple[str, str | None]:
        """Ask, and give the message and path of the refusal."""
        error = (await self.ask(method, path, status, **request))["error"]
        return error["message"], error.get("path")


def admin_ports(store: LocalStore, clock: FixedClock) -> AdminPorts:
    return AdminPorts(
        keys=store.keys,
        policies=store.policies,
        reports=store.reports,
        ledger=store.ledger,
        breakers=store.breakers,
        clock=clock,
        randomness=CountingBytes(),
        metrics=lambda: "farebox_requests_total 7\n",
        spending=LocalSpendingHistory(store.database),
        prices=PriceData().book(),
    )


@asynccontextmanager
async def admin_plane(folder: Path, *, races: int = 0) -> AsyncIterator[Plane]:
    clock = FixedClock()
    store = LocalStore.open(folder / "farebox.db", clock)
    ports = admin_ports(store, clock)
    if races:
        ports = replace(ports, policies=RacingPolicies(store.policies, races))
    await store.keys.add_admin_key(an_admin_key(), key_hash(ADMIN_SECRET))
    with admin_app(ports) as app:
        async with httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app, raise_app_exceptions=False),
            base_url="http://admin",
            headers={"authorization": f"Bearer {ADMIN_SECRET}"},
        ) as client:
            yield Plane(store, ports, clock, client)
    store.close()
