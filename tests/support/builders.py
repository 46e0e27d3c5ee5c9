"""Values for tests: each builder gives a believable default, and takes what the test is about as changes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec.structs import replace

from farebox.domain.budget import Budget, Scope, Touch, Unit
from farebox.domain.identity import AdminKey, GatewayKey, key_hash, key_text
from farebox.domain.money import PICODOLLARS_PER_USD
from farebox.domain.record import Attempt, Billing, Outcome, RequestRecord
from farebox.domain.routing.caching import CacheEntry
from farebox.domain.usage import CostStatus, Usage
from farebox.ports import Hold, Resource

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
"""A Monday."""


class FixedClock:
    """A clock that stands until it is moved."""

    def __init__(self, now: datetime = NOON) -> None:
        self.moment = now

    def now(self) -> datetime:
        return self.moment

    def monotonic_ms(self) -> int:
        return (self.moment - NOON) // timedelta(milliseconds=1)

    def awake_ms(self) -> int:
        return self.monotonic_ms()

    async def sleep_ms(self, duration_ms: int) -> None:
        """Pass over the time at once; others run meanwhile."""
        self.advance(timedelta(milliseconds=duration_ms))
        await asyncio.sleep(0)

    def advance(self, step: timedelta) -> None:
        self.moment += step


def a_secret(number: int = 1, prefix: str = "fb-") -> str:
    """Give the text of a key, another one for each number."""
    return key_text(prefix, number.to_bytes(32, "big"))


def a_hash(number: int = 1) -> bytes:
    return key_hash(a_secret(number))


def a_key(**changes: Any) -> GatewayKey:
    key = GatewayKey(
        id="key_1",
        name="alice",
        workspace="platform",
        shown="fb-000000",
        created_at=NOON,
        user="alice@example.com",
        metadata={"team": "core"},
    )
    return replace(key, **changes)


def an_admin_key(**changes: Any) -> AdminKey:
    return replace(AdminKey(id="adm_1", name="root", shown="fba-000000", created_at=NOON), **changes)


def a_scope(**terms: str | tuple[str, ...]) -> Scope:
    """Write `a_scope(workspace="platform", key="*")`; `metadata__team` stands for metadata.team."""
    return Scope(
        tuple(
            (dimension.replace("__", "."), (patterns,) if isinstance(patterns, str) else patterns)
            for dimension, patterns in terms.items()
        )
    )


def a_budget(*, usd: int | None = None, tokens: int | None = None, **changes: Any) -> Budget:
    """Give a budget of 10 USD a day on everything; `usd` and `tokens` set unit and limit together."""
    budget = Budget(
        name="everyone-day", scope=Scope(), unit=Unit.USD, limit=10 * PICODOLLARS_PER_USD, period="day"
    )
    if usd is not None:
        changes |= {"unit": Unit.USD, "limit": usd * PICODOLLARS_PER_USD}
    if tokens is not None:
        changes |= {"unit": Unit.TOKENS, "limit": tokens}
    return replace(budget, **changes)


def a_touch(amount: int = 0, *, budget: Budget | None = None, bucket: str = "", at: datetime = NOON) -> Touch:
    budget = budget or a_budget()
    return Touch(budget, bucket, budget.window_at(at), amount)


def an_attempt(**changes: Any) -> Attempt:
    attempt = Attempt(
        provider="anthropic",
        model="claude-sonnet-4-5",
        status=200,
        usage=Usage(input_tokens=10, output_tokens=20),
        cost_picodollars=330_000_000,
        cost_status=CostStatus.PRICED,
        charged_picodollars=330_000_000,
        duration_ms=900,
        upstream_request_id="req_up_1",
    )
    return replace(attempt, **changes)


def a_record(request_id: str = "req_1", **changes: Any) -> RequestRecord:
    record = RequestRecord(
        id=request_id,
        at=NOON,
        organisation="default",
        workspace="platform",
        key_id="key_1",
        key="alice",
        user="alice@example.com",
        metadata={"team": "core"},
        model="claude-sonnet-4-5",
        provider="anthropic",
        session_id="session_1",
        agent_id=None,
        trace_id="trace_1",
        status=200,
        outcome=Outcome.FINISHED,
        billing=Billing.METERED,
        usage=Usage(input_tokens=10, output_tokens=20),
        cost_picodollars=330_000_000,
        charged_picodollars=330_000_000,
        cost_status=CostStatus.PRICED,
        ttft_ms=400,
        duration_ms=900,
    )
    return replace(record, **changes)


def a_hold(request_id: str = "req_1", *touches: Touch, **changes: Any) -> Hold:
    hold = Hold(
        request_id=request_id,
        sequence=1,
        touches=touches,
        lease_until=NOON + timedelta(seconds=60),
        draft=a_record(request_id, outcome=Outcome.EXPIRED, cost_status=CostStatus.ESTIMATED),
    )
    return replace(hold, **changes)


def a_resource(kind: str = "provider", name: str = "anthropic", **changes: Any) -> Resource:
    documents: Mapping[str, Mapping[str, object]] = {
        "provider": {"slug": name, "type": "anthropic", "credential": "caller"},
        "workspace": {"slug": name},
        "config": {"slug": name, "config": {"provider": "@anthropic"}},
        "budget": {"name": name, "scope": {"workspace": ["platform"]}, "usd": "10", "period": "day"},
        "setting": {"value": name},
    }
    resource = Resource(
        kind=kind, name=name, document=documents.get(kind, {}), position=0, origin="apply", updated_at=NOON
    )
    return replace(resource, **changes)


def a_cache_entry(body: bytes = b'{"type":"message"}', **changes: Any) -> CacheEntry:
    entry = CacheEntry(
        status=200,
        headers=((b"content-type", b"application/json"),),
        body=body,
        provider="anthropic",
        model="claude-sonnet-4-5",
        usage=Usage(input_tokens=10, output_tokens=20),
        cost_picodollars=330_000_000,
        stored_at=NOON,
        expires_at=NOON + timedelta(days=7),
    )
    return replace(entry, **changes)
