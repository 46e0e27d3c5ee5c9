"""Answers kept in DynamoDB, large ones as objects of the cache bucket."""

from __future__ import annotations

import hashlib
import logging
import math
from datetime import datetime
from typing import cast

from farebox.adapters.aws.dynamodb.actions import Key, put
from farebox.adapters.aws.dynamodb.attributes import Item, Value
from farebox.adapters.aws.dynamodb.items import Items
from farebox.adapters.aws.services.objects import BucketObjects
from farebox.adapters.aws.tables import ANSWERS_PREFIX, EXPIRES_AT, TableNames
from farebox.adapters.cache_entry import EntryDamaged, packed, unpacked
from farebox.domain.routing.caching import CacheEntry

ITEM_BYTES_MAX = 390_000
"""DynamoDB takes items of 400 KB, names included; what is written costs a unit for each KB either way."""

_log = logging.getLogger("farebox.cache")


class DynamoResponseCache:
    """Fills `ports.ResponseCache`. Without a bucket there is no place for large entries."""

    def __init__(self, items: Items, tables: TableNames, objects: BucketObjects | None = None) -> None:
        self._items, self._table, self._objects = items, tables.cache, objects

    async def get(self, key: bytes, now: datetime) -> CacheEntry | None:
        """Give what is kept under a key and not past its time; DynamoDB drops items late."""
        item = await self._items.get(self._table, _item_key(key))
        if item is None:
            return None
        try:
            data = await self._data(item)
            entry = await unpacked(data)
        except (EntryDamaged, LookupError, TypeError) as problem:
            _log.warning("a cached answer cannot be read: %s", problem)
            return None
        return entry if now < entry.expires_at else None

    async def put(self, key: bytes, entry: CacheEntry) -> bool:
        """Keep an entry in the place of an older one. Objects have the name of their content, so that two
        that are stored at once cannot be mixed up; the bucket's own rule takes them away.
        """
        data = await packed(entry)
        place: dict[str, Value] = {"data": data}
        if len(data) > ITEM_BYTES_MAX:
            if self._objects is None:
                return False
            name = f"{ANSWERS_PREFIX}{key.hex()}/{hashlib.sha256(data).hexdigest()}"
            await self._objects.put(name, data)
            place = {"object": name}
        expires_at_s = math.ceil(entry.expires_at.timestamp())
        await self._items.write(put(self._table, {**_item_key(key), **place, EXPIRES_AT: expires_at_s}))
        return True

    async def _data(self, item: Item) -> bytes:
        if "object" not in item:
            return cast(bytes, item["data"])
        if self._objects is None:
            raise LookupError("it is in a bucket that this function is not told")
        data = await self._objects.get(cast(str, item["object"]))
        if data is None:
            raise LookupError("its object is gone")
        return data


def _item_key(key: bytes) -> Key:
    return {"pk": f"answer#{key.hex()}", "sk": "-"}
