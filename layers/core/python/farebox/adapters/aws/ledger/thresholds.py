"""Thresholds in DynamoDB: decided by a conditional write, so once whoever asks; what is untold waits in a
partition of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import cast

import msgspec

from farebox.adapters.aws.codec import json_text, microseconds, short_key
from farebox.adapters.aws.dynamodb.actions import Action, Key, delete, put, update
from farebox.adapters.aws.dynamodb.attributes import Value
from farebox.adapters.aws.dynamodb.errors import Unmet
from farebox.adapters.aws.dynamodb.items import MAX_ACTIONS, Items
from farebox.adapters.aws.ledger import rows
from farebox.adapters.aws.ledger.buckets.keys import BucketKey
from farebox.adapters.aws.ledger.buckets.shards import Buckets
from farebox.adapters.aws.ledger.buckets.standings import marked_limit, number
from farebox.adapters.aws.tables import EXPIRES_AT, TableNames
from farebox.domain.budget.alert import Crossing
from farebox.domain.errors import StoreFault
from farebox.ports import Drawn

PARTITION = "threshold#"
UNTOLD = "untold"

KEPT = timedelta(days=90)
"""How long a decision outlives its window: nothing that is booked later in that window is told again."""

UNTOLD_KEPT = timedelta(days=60)
"""What nobody could be told goes before its decision does; without that it would be told for ever."""

_TOGETHER = MAX_ACTIONS // 2
_NOT_THERE = "attribute_not_exists(#pk)"
_crossing = msgspec.json.Decoder(Crossing).decode


class DynamoThresholds:
    """Fills `ports.Thresholds`."""

    def __init__(self, items: Items, tables: TableNames, buckets: Buckets) -> None:
        self._items, self._tables, self._buckets = items, tables, buckets

    async def drawn(self, request_ids: Sequence[str]) -> Sequence[Drawn]:
        """Give every bucket that these requests were booked on, as it stands now, each once."""
        ids = [row_id for each in dict.fromkeys(request_ids) for row_id in (each, rows.correction_id(each))]
        found = await self._items.get_many(
            self._tables.usage, [rows.row_key(row_id) for row_id in ids], names=["id", "entries"]
        )
        # In the order of the requests, whatever the order of the answer.
        found.sort(key=lambda item: ids.index(cast(str, item["id"])))
        keys = dict.fromkeys(key for item in found for key, _ in rows.entries_of_row(item))
        return await self._standings(list(keys))

    async def decide(self, crossings: Sequence[Crossing]) -> Sequence[Crossing]:
        """Store what nobody had decided before, fifty in one atomic step; give only that."""
        wanted = list({crossing.identity: crossing for crossing in reversed(crossings)}.values())[::-1]
        return [
            decided
            for start in range(0, len(wanted), _TOGETHER)
            for decided in await self._decide(wanted[start : start + _TOGETHER])
        ]

    async def untold(self, *, limit: int = 100) -> Sequence[Crossing]:
        """Give decided crossings that were not delivered yet, oldest first."""
        found = self._items.query(self._tables.budgets, "#pk = :pk", limit=limit, pk=UNTOLD)
        return [_crossing(cast(str, item["document"])) async for item in found]

    async def told(self, crossing: Crossing, at: datetime) -> None:
        """Note that everybody has been told; the first time stands."""
        decision = await self._items.get(self._tables.budgets, _decision_key(crossing))
        if decision is None or "told_at_us" in decision:
            return
        try:
            await self._items.transact(
                [
                    _tell(self._tables.budgets, crossing, at),
                    delete(self._tables.budgets, {"pk": UNTOLD, "sk": decision["place"]}),
                ]
            )
        except Unmet:
            # Somebody else has told it, or we have, and the answer was lost.
            return

    async def _standings(self, keys: Sequence[BucketKey]) -> list[Drawn]:
        found = await self._buckets.items_by_bucket(keys)
        # A refused request is booked at nothing, perhaps on a bucket that is not there yet.
        return [
            Drawn(
                key.budget,
                key.unit,
                key.bucket,
                key.window,
                sum(number(item, "settled") for item in items),
                marked_limit(items),
            )
            for key, items in found.items()
        ]

    async def _decide(self, crossings: Sequence[Crossing]) -> list[Crossing]:
        token, left = self._items.token(), list(crossings)
        while left:
            actions = [_decision(self._tables.budgets, crossing, token) for crossing in left]
            actions += [_to_be_told(self._tables.budgets, crossing, token) for crossing in left]
            try:
                await self._items.transact(actions)
            except Unmet as unmet:
                if any((unmet.item(number) or {}).get("token") == token for number in range(len(left))):
                    # An earlier try of this very step, its answer lost.
                    return left
                fresh = [crossing for number, crossing in enumerate(left) if not unmet.failed(number)]
                if len(fresh) == len(left):
                    raise StoreFault(f"thresholds were refused for no reason of ours: {unmet}") from unmet
                left = fresh
            else:
                return left
        return []


def _decision_key(crossing: Crossing) -> Key:
    return {"pk": f"{PARTITION}{short_key(crossing.identity)}", "sk": "-"}


def _place(crossing: Crossing, token: str) -> str:
    """Give a place in the order of telling that no other crossing has."""
    order = f"{microseconds(crossing.at):017d}#{crossing.threshold:06d}"
    return f"{order}#{token}#{short_key(crossing.identity)}"


def _decision(table: str, crossing: Crossing, token: str) -> Action:
    item: dict[str, Value] = {
        **_decision_key(crossing),
        "token": token,
        "place": _place(crossing, token),
        "decided_at_us": microseconds(crossing.at),
    }
    return put(table, {**item, **_expiry(crossing, KEPT)}, _NOT_THERE)


def _to_be_told(table: str, crossing: Crossing, token: str) -> Action:
    item: dict[str, Value] = {"pk": UNTOLD, "sk": _place(crossing, token), "document": json_text(crossing)}
    return put(table, {**item, **_expiry(crossing, UNTOLD_KEPT)})


def _expiry(crossing: Crossing, kept: timedelta) -> dict[str, Value]:
    """Say when an item may go; that of a window without an end stays."""
    end = crossing.window.end
    return {} if end is None else {EXPIRES_AT: microseconds(end + kept) // 1_000_000}


def _tell(table: str, crossing: Crossing, at: datetime) -> Action:
    condition = "attribute_exists(#pk) AND attribute_not_exists(#told_at_us)"
    return update(
        table, _decision_key(crossing), "SET #told_at_us = :at", condition, {"at": microseconds(at)}
    )
