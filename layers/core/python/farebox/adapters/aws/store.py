"""The whole DynamoDB wing over one client: all that one deployment stores."""

from __future__ import annotations

from msgspec import Struct

from farebox.adapters.aws.dynamodb.client import DynamoClient
from farebox.adapters.aws.dynamodb.items import Items
from farebox.adapters.aws.key_store.keys import DynamoKeys
from farebox.adapters.aws.ledger.buckets.keys import DEFAULT_SHARDS
from farebox.adapters.aws.ledger.buckets.shards import Buckets
from farebox.adapters.aws.ledger.outbox import DynamoLedgerRows
from farebox.adapters.aws.ledger.reports import DynamoReports
from farebox.adapters.aws.ledger.rollups.store import DynamoRollups
from farebox.adapters.aws.ledger.spending import DynamoSpendingHistory
from farebox.adapters.aws.ledger.steps import DynamoLedger
from farebox.adapters.aws.ledger.thresholds import DynamoThresholds
from farebox.adapters.aws.limits.limiter import DynamoRateLimits
from farebox.adapters.aws.policies import DynamoPolicies
from farebox.adapters.aws.services.breakers import DynamoBreakers
from farebox.adapters.aws.services.cache import DynamoResponseCache
from farebox.adapters.aws.services.notices import DynamoNotices
from farebox.adapters.aws.services.objects import BucketObjects
from farebox.adapters.aws.stamps import Stamps
from farebox.adapters.aws.tables import TableNames
from farebox.ports import Clock


class DynamoStore(Struct, frozen=True):
    """Fills the ports of the store."""

    keys: DynamoKeys
    policies: DynamoPolicies
    ledger: DynamoLedger
    reports: DynamoReports
    rollups: DynamoRollups
    ledger_rows: DynamoLedgerRows
    notices: DynamoNotices
    rate_limits: DynamoRateLimits
    thresholds: DynamoThresholds
    spending: DynamoSpendingHistory
    cache: DynamoResponseCache
    breakers: DynamoBreakers
    buckets: Buckets

    @classmethod
    def over(
        cls,
        client: DynamoClient,
        tables: TableNames,
        clock: Clock,
        *,
        is_rolled_up: bool = False,
        objects: BucketObjects | None = None,
        shards: int = DEFAULT_SHARDS,
    ) -> DynamoStore:
        """Open the tables, which have to be there; nothing is read yet.

        `is_rolled_up` says that somebody counts the ledger's rows, so that reports need not read them all;
        `objects` is where answers are kept that are too large for an item. A wide
        bucket that is first used from now on gets as many `shards`.
        """
        items, stamps = Items(client), Stamps(clock, client.token())
        rollups = DynamoRollups(items, tables, clock)
        buckets = Buckets(items, tables.budgets, shards)
        return cls(
            DynamoKeys(items, tables, clock, stamps),
            DynamoPolicies(items, tables, clock, stamps),
            DynamoLedger(items, tables, stamps, buckets),
            DynamoReports(items, tables, stamps, buckets, rollups if is_rolled_up else None),
            rollups,
            DynamoLedgerRows(items, tables),
            DynamoNotices(items, tables),
            DynamoRateLimits(items, tables, clock),
            DynamoThresholds(items, tables, buckets),
            DynamoSpendingHistory(items, tables),
            DynamoResponseCache(items, tables, objects),
            DynamoBreakers(items, tables),
            buckets,
        )
