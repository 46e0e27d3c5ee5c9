"""What the admin plane needs from the world, in one value that composition fills."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from farebox.ports import Clock, Keys, Ledger, Policies, Randomness, Reports, SpendingHistory


@dataclass(frozen=True, slots=True)
class AdminPorts:
    """`metrics` gives the Prometheus text of this process. Without `spending`, budgets have no burn rate."""

    keys: Keys
    policies: Policies
    reports: Reports
    ledger: Ledger
    clock: Clock
    randomness: Randomness
    metrics: Callable[[], str]
    spending: SpendingHistory | None = None
