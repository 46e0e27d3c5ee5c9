"""What the admin plane needs from the world, in one value that composition fills."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from farebox.domain.config import AWS_CREDENTIAL, CALLER_CREDENTIAL, GOOGLE_CREDENTIAL
from farebox.domain.price import PriceBook
from farebox.jobs.replay import Replayer
from farebox.ports import Clock, Keys, Ledger, Policies, Randomness, Reports, SpendingHistory
from farebox.ports.breakers import Breakers

LAPTOP_CREDENTIALS = (CALLER_CREDENTIAL, AWS_CREDENTIAL, GOOGLE_CREDENTIAL, "env:", "file:")
"""How a credential begins that a gateway on a laptop can read."""

DEPLOYED_CREDENTIALS = (CALLER_CREDENTIAL, AWS_CREDENTIAL, "secretsmanager:")
"""How one begins that a deployed gateway can read. Google knows it where a provider has an audience."""


class AdminPorts(Struct, frozen=True):
    """`metrics` gives the Prometheus text of this process. Without `spending`, budgets have no burn rate;
    without `prices`, an apply does not compare negotiated ones with the list; without `replayer` there is
    nobody to tell of ledger rows again.

    `reads_credentials` are beginnings of the credentials that the gateway can read; others are warned about.
    """

    keys: Keys
    policies: Policies
    reports: Reports
    ledger: Ledger
    breakers: Breakers
    clock: Clock
    randomness: Randomness
    metrics: Callable[[], str]
    spending: SpendingHistory | None = None
    prices: PriceBook | None = None
    replayer: Replayer | None = None
    reads_credentials: tuple[str, ...] = LAPTOP_CREDENTIALS
