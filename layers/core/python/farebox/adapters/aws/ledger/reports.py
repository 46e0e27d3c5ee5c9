"""Reading the ledger in DynamoDB for people: requests, usage, standings, resets and the audit of the sums.

Requests and usage are read through indexes, a moment behind the rows; buckets are read as they are.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import cast

from msgspec.structs import replace

from farebox.adapters.aws import audit
from farebox.adapters.aws.codec import cursor_place, cursor_text
from farebox.adapters.aws.dynamodb.attributes import Item
from farebox.adapters.aws.dynamodb.errors import Unmet
from farebox.adapters.aws.dynamodb.items import Items
from farebox.adapters.aws.ledger import rows
from farebox.adapters.aws.ledger.buckets.keys import key_of_item
from farebox.adapters.aws.ledger.buckets.movements import clear
from farebox.adapters.aws.ledger.buckets.shards import Buckets
from farebox.adapters.aws.ledger.buckets.standings import number, standing_of
from farebox.adapters.aws.ledger.rollups.spans import SpanKind, span_at
from farebox.adapters.aws.ledger.rollups.store import DynamoRollups
from farebox.adapters.aws.ledger.usage import Sums, grouping
from farebox.adapters.aws.ledger.verify import drifts
from farebox.adapters.aws.stamps import Stamps
from farebox.adapters.aws.tables import BY_SESSION, BY_TIME, TableNames
from farebox.domain.budget import Budget, Standing
from farebox.domain.errors import ConfigInvalid, StoreFault
from farebox.domain.record import RequestRecord
from farebox.ports import AuditEntry, BucketStanding, Page, UsageRow

_MAX_ROUNDS = 6
# Places begin with a digit.
_BELOW_ALL, _ABOVE_ALL = "!", "~"


class DynamoReports:
    """Fills `ports.Reports`. Without `rollups`, usage is summed from every row."""

    def __init__(
        self,
        items: Items,
        tables: TableNames,
        stamps: Stamps,
        buckets: Buckets,
        rollups: DynamoRollups | None = None,
    ) -> None:
        self._items, self._tables, self._stamps = items, tables, stamps
        self._buckets, self._rollups = buckets, rollups

    async def requests(
        self, *, limit: int = 50, session: str | None = None, cursor: str | None = None
    ) -> Page[RequestRecord]:
        """List ledger rows, newest first."""
        below = cursor_place(cursor, str) if cursor else None
        if below is not None and not rows.is_place(below):
            raise ConfigInvalid("cursor", "this is not a cursor of this list")
        places = self._places_of(session, below) if session else self._places(below, limit + 1)
        found: list[Item] = []
        async with aclosing(places):
            while len(found) <= limit:
                batch = await _take(places, limit + 1 - len(found))
                if not batch:
                    break
                found += await self._current_rows(batch)
        page = found[:limit]
        onward = cursor_text(page[-1]["place"]) if len(found) > limit else None
        return Page([rows.record_of_row(item) for item in page], onward)

    async def usage(
        self, *, by: str, since: datetime | None, until: datetime | None = None
    ) -> Sequence[UsageRow]:
        """Sum rows from `since` up to, not including, `until`; dearest first."""
        sums = Sums(grouping(by))
        gaps: Sequence[tuple[datetime | None, datetime | None]] = [(since, until)]
        if self._rollups is not None:
            start = await self._start(since)
            gaps = await self._rollups.add_to(sums, by=by, since=start, until=until) if start else ()
        for gap in gaps:
            await self._add_rows(sums, *gap)
        return sums.rows()

    async def _add_rows(self, sums: Sums, since: datetime | None, until: datetime | None) -> None:
        expired: dict[str, Item] = {}
        async for item in self._between(since, until):
            if rows.is_expired(item):
                expired[cast(str, item["id"])] = item
            else:
                sums.add(item)
        corrected = await self._corrected(list(expired))
        for row_id, item in expired.items():
            if row_id not in corrected:
                sums.add(item)

    async def standings(self, budgets: Sequence[Budget], now: datetime) -> Sequence[BucketStanding]:
        """Give the current window of every bucket; one that is the only one of its budget is always there."""
        return [standing for budget in budgets for standing in await self._standings(budget, now)]

    async def reset(self, budget: Budget, bucket: str | None, now: datetime, actor: str) -> int:
        """Start the current window of a bucket (or of all) anew by a correcting entry; count the reset ones.

        Buckets with nothing settled and not exhausted stay as they are. What open requests hold stays held.
        Each bucket is a step of its own.
        """
        found = [
            standing
            for standing in await self._standings(budget, now)
            if bucket in (None, standing.bucket) and (standing.standing.settled or standing.is_exhausted)
        ]
        for standing in found:
            await self._reset(standing, now, actor)
        return len(found)

    async def note(self, entry: AuditEntry) -> None:
        """Write an entry of the audit log for what changes no document."""
        await self._items.transact([audit.note(self._tables.keys, self._stamps.next_place(), entry)])

    async def audit(self, *, limit: int = 50, cursor: str | None = None) -> Page[AuditEntry]:
        """List what administrators changed, newest first."""
        return await audit.entries(self._items, self._tables.keys, limit=limit, cursor=cursor)

    async def verify(self) -> Sequence[str]:
        """Recompute every bucket from ledger rows and open holds; give one line for each drift."""
        return await drifts(self._items, self._tables)

    async def _start(self, since: datetime | None) -> datetime | None:
        """Give from when on there is something to sum: a whole month where that takes in every row."""
        slices = await asyncio.gather(
            *(self._slice(shard, None, 1, descending=False) for shard in rows.TIME_SHARDS)
        )
        places = [place for each in slices for place in each]
        if not places:
            return None
        first = rows.moment_of(min(places))
        if since is not None and since > first:
            return since.astimezone(UTC)
        return span_at(SpanKind.MONTH, first).start

    async def _places(self, below: str | None, count: int) -> AsyncGenerator[str, None]:
        """Walk through the places of rows, newest first, about `count` at a time."""
        while True:
            slices = await asyncio.gather(*(self._slice(shard, below, count) for shard in rows.TIME_SHARDS))
            places = sorted((place for each in slices for place in each), reverse=True)[:count]
            for place in places:
                yield place
            if len(places) < count:
                return
            below = places[-1]

    async def _slice(
        self, shard: str, below: str | None, count: int, *, descending: bool = True
    ) -> list[str]:
        found = self._items.query(
            self._tables.usage,
            "#time_shard = :shard AND #place < :below",
            index=BY_TIME.name,
            descending=descending,
            limit=count,
            shard=shard,
            below=below or _ABOVE_ALL,
        )
        return [cast(str, item["place"]) async for item in found]

    async def _places_of(self, session: str, below: str | None) -> AsyncGenerator[str, None]:
        """Walk through the places of one session's rows, newest first."""
        found = self._items.query(
            self._tables.usage,
            "#session_id = :session AND #place < :below",
            index=BY_SESSION.name,
            descending=True,
            session=session,
            below=below or _ABOVE_ALL,
        )
        async for item in found:
            yield cast(str, item["place"])

    async def _current_rows(self, places: Sequence[str]) -> list[Item]:
        """Read rows in the order of their places, without those that a correction has replaced."""
        ids = [rows.row_at(place) for place in places]
        stored = await self._items.get_many(self._tables.usage, [rows.row_key(row_id) for row_id in ids])
        by_id = {item["id"]: item for item in stored}
        expired = [row_id for row_id in ids if row_id in by_id and rows.is_expired(by_id[row_id])]
        corrected = await self._corrected(expired)
        return [by_id[row_id] for row_id in ids if row_id in by_id and row_id not in corrected]

    async def _corrected(self, expired: Sequence[str]) -> set[str]:
        """Give those of the swept requests whose true record has come."""
        keys = [rows.correction_key(row_id) for row_id in expired]
        found = await self._items.get_many(self._tables.usage, keys, names=["corrects"])
        return {cast(str, item["corrects"]) for item in found}

    async def _between(self, since: datetime | None, until: datetime | None) -> AsyncGenerator[Item, None]:
        """Walk through the rows of a span, in no order, with the attributes that are summed."""
        if since and until and since > until:
            return  # DynamoDB refuses to look between an end and a beginning
        for shard in rows.TIME_SHARDS:
            found = self._items.query(
                self._tables.usage,
                "#time_shard = :shard AND #place BETWEEN :first AND :last",
                index=BY_TIME.name,
                shard=shard,
                first=rows.place_at(since) if since else _BELOW_ALL,
                last=rows.place_at(until) if until else _ABOVE_ALL,
            )
            async for item in found:
                yield item

    async def _standings(self, budget: Budget, now: datetime) -> list[BucketStanding]:
        window = budget.window_at(now)
        standings = []
        for bucket, items in (await self._buckets.in_window(budget, window.key)).items():
            # Buckets left from an earlier scope of the same budget belong to no request any more.
            if budget.scope.has_one_bucket == (bucket == ""):
                standing = standing_of(budget, items)
                standings.append(BucketStanding(budget, bucket, window.key, standing, standing.is_marked))
        if budget.scope.has_one_bucket and not standings:
            return [BucketStanding(budget, "", window.key, Standing())]
        return sorted(standings, key=lambda each: each.bucket)

    async def _reset(self, standing: BucketStanding, now: datetime, actor: str) -> None:
        budget, token = standing.budget, self._items.token()
        for _ in range(_MAX_ROUNDS):
            found = await self._buckets.in_window(budget, standing.window_key)
            items = found.get(standing.bucket, [])
            settled = [(key_of_item(item), number(item, "settled")) for item in items]
            current = standing_of(budget, items)
            entry = _reset_entry(
                replace(standing, standing=current, is_exhausted=current.is_marked), now, actor
            )
            actions = [
                audit.note(self._tables.keys, self._stamps.next_place(), entry),
                *(clear(self._tables.budgets, key, settled=amount) for key, amount in settled),
            ]
            if current.settled:
                actions.append(rows.append_reset(self._tables.usage, settled, now, token))
            try:
                return await self._items.transact(actions)
            except Unmet as unmet:
                if current.settled and unmet.failed(len(actions) - 1):
                    # An earlier try did it, its answer lost.
                    return None
        raise StoreFault(f"budget '{budget.name}' kept changing under {_MAX_ROUNDS} resets")


async def _take(places: AsyncGenerator[str, None], count: int) -> list[str]:
    taken: list[str] = []
    if count > 0:
        async for place in places:
            taken.append(place)
            if len(taken) == count:
                break
    return taken


def _reset_entry(standing: BucketStanding, now: datetime, actor: str) -> AuditEntry:
    before: dict[str, object] = {
        "bucket": standing.bucket,
        "window": standing.window_key,
        "unit": standing.budget.unit.value,
        "settled": standing.standing.settled,
        "is_exhausted": standing.is_exhausted,
    }
    after = {**before, "settled": 0, "is_exhausted": False}
    return AuditEntry(now, actor, "reset", "bucket", standing.budget.name, before, after)
