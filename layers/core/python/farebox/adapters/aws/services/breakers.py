"""Circuit breakers in DynamoDB: one small partition of the cache table, read whole."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from typing import cast

import msgspec

from farebox.adapters.aws.dynamodb.actions import Key, put
from farebox.adapters.aws.dynamodb.attributes import Item
from farebox.adapters.aws.dynamodb.errors import Unmet
from farebox.adapters.aws.dynamodb.items import Items
from farebox.adapters.aws.tables import EXPIRES_AT, TableNames
from farebox.domain.routing.breaker import FORGOTTEN_AFTER, Breaker, BreakerKey

PARTITION = "breaker"

_breaker = msgspec.json.Decoder(Breaker).decode
_json = msgspec.json.Encoder()


class DynamoBreakers:
    """Fills `ports.breakers.Breakers`."""

    def __init__(self, items: Items, tables: TableNames) -> None:
        self._items, self._table = items, tables.cache

    async def breakers(self, now: datetime) -> Sequence[Breaker]:
        """Give every breaker that is known. DynamoDB drops items late, so their time is looked at."""
        found = [item async for item in self._items.query(self._table, "#pk = :pk", pk=PARTITION)]
        return [_read(item) for item in found if not _is_over(item, now)]

    async def breaker(self, key: BreakerKey, now: datetime) -> Breaker | None:
        """Give one as it stands."""
        item = await self._items.get(self._table, _item_key(key))
        return None if item is None or _is_over(item, now) else _read(item)

    async def put(self, breaker: Breaker, now: datetime) -> bool:
        """Store it where the version before its own still stands, by a condition on the item. A write whose
        acknowledgement was lost counts as somebody else's, and is read again.
        """
        expires_at_s = math.ceil((now + FORGOTTEN_AFTER).timestamp())
        item = {
            **_item_key(breaker.key),
            "version": breaker.version,
            "document": _json.encode(breaker).decode(),
            EXPIRES_AT: expires_at_s,
        }
        if breaker.version == 1:
            is_gone = f"attribute_not_exists(#pk) OR #{EXPIRES_AT} <= :now_s"
            action = put(self._table, item, is_gone, now_s=math.floor(now.timestamp()))
        else:
            action = put(self._table, item, "#version = :before", before=breaker.version - 1)
        try:
            await self._items.write(action)
        except Unmet:
            return False
        return True


def _read(item: Item) -> Breaker:
    return _breaker(cast(str, item["document"]))


def _is_over(item: Item, now: datetime) -> bool:
    return cast(int, item[EXPIRES_AT]) <= now.timestamp()


def _item_key(key: BreakerKey) -> Key:
    return {"pk": PARTITION, "sk": key.text()}
