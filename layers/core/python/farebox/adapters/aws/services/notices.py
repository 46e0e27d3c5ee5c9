"""Which alerts were told: one small item a notice, which expires; claimed by a conditional write."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

from farebox.adapters.aws.codec import microseconds
from farebox.adapters.aws.dynamodb.actions import Key, update
from farebox.adapters.aws.dynamodb.errors import Unmet
from farebox.adapters.aws.dynamodb.items import Items
from farebox.adapters.aws.tables import EXPIRES_AT, TableNames

CLAIM = timedelta(minutes=1)
"""How long one who may tell has until the next one may."""

KEPT = timedelta(days=2)
"""How much longer than it is wanted an item stays; DynamoDB drops it in its own time."""

_MAX_NAME_BYTES = 1_000


class DynamoNotices:
    """Fills `ports.Notices`. The items are beside the sums, in the one table that holds no money."""

    def __init__(self, items: Items, tables: TableNames) -> None:
        self._items, self._table = items, tables.rollups

    async def claim(self, name: str, now: datetime, *, level: int = 0) -> bool:
        """Claim by one conditional write, so that of any number of callers one is told yes."""
        until = now + CLAIM
        values = {
            "now_us": microseconds(now),
            "level": level,
            "claimed_until_us": microseconds(until),
            EXPIRES_AT: int((until + KEPT).timestamp()),
        }
        # A notice that was claimed and never told has no `told_until_us`.
        is_open = "(attribute_not_exists(#claimed_until_us) OR #claimed_until_us <= :now_us)"
        is_told = "attribute_exists(#told_until_us) AND #told_until_us > :now_us AND #told_level >= :level"
        change = f"SET #claimed_until_us = :claimed_until_us, #{EXPIRES_AT} = :{EXPIRES_AT}"
        try:
            await self._items.write(
                update(self._table, _key(name), change, f"{is_open} AND NOT ({is_told})", values)
            )
        except Unmet as unmet:
            # An earlier try of this very call may have won; then it is ours, told twice at worst.
            return unmet.is_unsure
        return True

    async def told(self, name: str, until: datetime, *, level: int = 0) -> None:
        """Note it, and let the claim go."""
        values = {
            "told_until_us": microseconds(until),
            "told_level": level,
            "claimed_until_us": 0,
            EXPIRES_AT: int((until + KEPT).timestamp()),
        }
        change = "SET " + ", ".join(f"#{field} = :{field}" for field in values)
        await self._items.write(update(self._table, _key(name), change, "", values))

    async def recede(self, name: str, level: int) -> None:
        """Lower what was told; a notice that stands lower, or not at all, stays as it is."""
        change, condition = "SET #told_level = :level", "#told_level > :level"
        try:
            await self._items.write(update(self._table, _key(name), change, condition, {"level": level}))
        except Unmet:
            return


def _key(name: str) -> Key:
    # Callers choose names of models and sessions, and a key has to be shorter than some.
    if len(name.encode()) > _MAX_NAME_BYTES:
        name = "~" + hashlib.sha256(name.encode()).hexdigest()
    return {"pk": f"notice#{name}", "sk": "-"}
