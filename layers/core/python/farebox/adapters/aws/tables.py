"""The tables, as plain data: what the stacks create is what the code reads and writes.

Every table is on demand, encrypted, with point-in-time recovery; that is the stacks' to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from msgspec import Struct


class Index(Struct, frozen=True):
    """A global secondary index, sparse where items lack its keys.

    `includes` are the attributes that it has beside keys.
    """

    name: str
    partition: str
    sort: str
    sort_type: str = "S"
    includes: tuple[str, ...] = ()


class Table(Struct, frozen=True):
    """One table. `stream` asks for new images of what was written; partition keys are strings.

    `expires` says that items may name, in `EXPIRES_AT`, the second after which DynamoDB may drop them. It
    does so late, within days: whoever reads such an item checks the moment too.
    """

    name: str
    partition: str
    sort: str | None = None
    indexes: tuple[Index, ...] = ()
    stream: bool = False
    expires: bool = False


EXPIRES_AT = "expires_at_s"
"""Epoch seconds, a number: the one attribute of every table that expires."""


BY_LEASE = Index("by_lease", "lease_shard", "lease_until_us", sort_type="N")
"""Open holds alone have these attributes."""

USAGE_COLUMNS = (
    "workspace",
    "key",
    "user",
    "model",
    "provider",
    "session_id",
    "metadata",
    "outcome",
    "is_error",
    "input_tokens",
    "cache_read_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "output_tokens",
    "cost_picodollars",
    "charged_picodollars",
    "saved_picodollars",
)
"""What usage is grouped by and summed over, so that it is read from the index alone."""

BY_TIME = Index("by_time", "time_shard", "place", includes=("at_us", *USAGE_COLUMNS, "entries"))
BY_SESSION = Index("by_session", "session_id", "place")

BY_OVERRUN = Index("by_overrun", "overrun", "place", includes=("entries", "overrun_picodollars"))
"""Rows of requests that cost more than was held for them alone have these attributes."""

KEYS = Table("keys", "pk", "sk")
"""Gateway and admin keys, the policy, and the audit log of both."""

BUDGETS = Table("budgets", "pk", "sk", indexes=(BY_LEASE,), expires=True)
"""Buckets and open holds; rate limits and decided thresholds, which expire."""

CACHE = Table("cache", "pk", "sk", expires=True)
"""Stored answers, and the state of circuit breakers. Nothing here is missed for long when it is lost."""

ANSWERS_PREFIX = "answers/"
"""What names in the cache bucket begin with: stored answers that are too large for an item."""

USAGE = Table("usage", "id", indexes=(BY_TIME, BY_SESSION, BY_OVERRUN), stream=True)
"""Ledger rows, append-only: the truth, and through its stream the outbox."""

ROLLUPS = Table("rollups", "pk", "sk", expires=True)
"""Usage summed by hour, day and month, for reports that need not read every row."""

TABLES = (KEYS, BUDGETS, CACHE, USAGE, ROLLUPS)


@dataclass(frozen=True, slots=True)
class TableNames:
    """What the tables are called in one deployment."""

    keys: str
    budgets: str
    cache: str
    usage: str
    rollups: str

    @classmethod
    def with_prefix(cls, prefix: str) -> TableNames:
        """Name them alike: 'farebox-prod-' gives 'farebox-prod-usage'."""
        return cls(*(prefix + table.name for table in TABLES))


def creation(table: Table, name: str) -> Mapping[str, Any]:
    """Give the CreateTable request for a table."""
    types = {table.partition: "S"} | ({table.sort: "S"} if table.sort else {})
    for index in table.indexes:
        types |= {index.partition: "S", index.sort: index.sort_type}
    request: dict[str, Any] = {
        "TableName": name,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [
            {"AttributeName": attribute, "AttributeType": kind} for attribute, kind in types.items()
        ],
        "KeySchema": _key_schema(table.partition, table.sort),
    }
    if table.indexes:
        request["GlobalSecondaryIndexes"] = [
            {
                "IndexName": index.name,
                "KeySchema": _key_schema(index.partition, index.sort),
                "Projection": _projection(index),
            }
            for index in table.indexes
        ]
    if table.stream:
        request["StreamSpecification"] = {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"}
    return request


def _key_schema(partition: str, sort: str | None) -> list[dict[str, str]]:
    schema = [{"AttributeName": partition, "KeyType": "HASH"}]
    return schema + ([{"AttributeName": sort, "KeyType": "RANGE"}] if sort else [])


def _projection(index: Index) -> dict[str, Any]:
    if not index.includes:
        return {"ProjectionType": "KEYS_ONLY"}
    return {"ProjectionType": "INCLUDE", "NonKeyAttributes": list(index.includes)}
