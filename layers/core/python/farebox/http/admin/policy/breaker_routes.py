"""Routes of circuit breakers: how targets that failed lately stand. Nobody sets them by hand."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter

from farebox.domain.routing.breaker import Breaker, BreakerState
from farebox.http.admin.ports import AdminPorts
from farebox.http.admin.rows import Row, listing
from farebox.http.moments import optional_utc_text


def breaker_router(ports: AdminPorts) -> APIRouter:
    """Make the routes."""
    router = APIRouter(prefix="/v1/admin/breakers", tags=["providers"])

    @router.get("", summary="List circuit breakers that failed lately, by provider, region and model")
    async def list_all() -> Row:
        now = ports.clock.now()
        return listing([_row(breaker, now) for breaker in await ports.breakers.breakers(now)])

    return router


def _row(breaker: Breaker, now: datetime) -> Row:
    state = breaker.state(now)
    return {
        "provider": breaker.key.provider,
        "model": breaker.key.model,
        "region": breaker.key.region or None,
        "workspace": breaker.key.workspace or None,
        "host": breaker.key.host or None,
        "state": state.value,
        "failures": breaker.failures,
        "requests": breaker.requests,
        "opened_at": optional_utc_text(breaker.opened_at),
        "open_until": optional_utc_text(breaker.open_until if state is BreakerState.OPEN else None),
    }
