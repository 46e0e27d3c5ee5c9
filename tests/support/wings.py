"""The wings that contract suites run on: every port over one kind of store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from farebox.adapters.local.rate_limits import LocalRateLimits
from farebox.adapters.local.sql.spending import LocalSpendingHistory
from farebox.adapters.local.store import LocalStore
from farebox.adapters.local.thresholds import LocalThresholds
from farebox.ports import (
    Keys,
    Ledger,
    Policies,
    RateLimiter,
    Reports,
    ResponseCache,
    SpendingHistory,
    Thresholds,
)
from farebox.ports.breakers import Breakers
from tests.support.builders import FixedClock


@dataclass(frozen=True, slots=True)
class Wing:
    """One store behind its ports, and the clock it reads."""

    keys: Keys
    policies: Policies
    ledger: Ledger
    reports: Reports
    rate_limits: RateLimiter
    thresholds: Thresholds
    spending: SpendingHistory
    cache: ResponseCache
    breakers: Breakers
    clock: FixedClock


def local_wing(store: LocalStore, clock: FixedClock) -> Wing:
    return Wing(
        keys=store.keys,
        policies=store.policies,
        ledger=store.ledger,
        reports=store.reports,
        rate_limits=LocalRateLimits(store.database),
        thresholds=LocalThresholds(store.database),
        spending=LocalSpendingHistory(store.database),
        cache=store.cache,
        breakers=store.breakers,
        clock=clock,
    )


def open_store(folder: Path, clock: FixedClock | None = None) -> LocalStore:
    return LocalStore.open(folder / "farebox.db", clock or FixedClock())
