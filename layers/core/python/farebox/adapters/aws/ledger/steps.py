"""Money in DynamoDB: holds, buckets and the append-only ledger, every method one transaction.

A step is recognised when it comes again, however late and in whatever process: the hold and the row carry the
token of the step that wrote them, and every later step names in its condition the one it has read. The client
token of a transaction does the same for ten minutes, and only for a repetition to the letter.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import cast

from farebox.adapters.aws.codec import microseconds
from farebox.adapters.aws.dynamodb.attributes import Item
from farebox.adapters.aws.dynamodb.errors import Unmet
from farebox.adapters.aws.dynamodb.items import Items
from farebox.adapters.aws.ledger import holds, rows
from farebox.adapters.aws.ledger.buckets.keys import BucketKey, Places
from farebox.adapters.aws.ledger.buckets.movements import Movements, mark
from farebox.adapters.aws.ledger.buckets.shards import Buckets
from farebox.adapters.aws.ledger.buckets.standings import standing_of
from farebox.adapters.aws.ledger.holds import OpenHold
from farebox.adapters.aws.stamps import Stamps
from farebox.adapters.aws.tables import BY_LEASE, TableNames
from farebox.domain.budget import Shortage, Standing, Touch
from farebox.domain.errors import StoreFault
from farebox.domain.record import Outcome, RequestRecord
from farebox.ports import Hold

MAX_ROUNDS = 12
"""How often one step is made anew because another step on the same request came between."""


class DynamoLedger:
    """Fills `ports.Ledger`.

    What this process knows of its own open holds is kept, so that each step is one round trip; a step on what
    has changed meanwhile is told what is there instead.
    """

    def __init__(self, items: Items, tables: TableNames, stamps: Stamps, buckets: Buckets) -> None:
        self._items, self._tables = items, tables
        self._stamps, self._buckets = stamps, buckets
        self._known: dict[str, OpenHold] = {}

    async def reserve(self, hold: Hold) -> Shortage | None:
        """Hold every touch, or none and say which bucket is short.

        A bucket that was exhausted is short too, until its limit rises. A request that has a hold already,
        or is settled, changes nothing and is not refused.
        """
        token = self._items.token()
        places = self._places(hold.request_id, None)
        for _ in range(MAX_ROUNDS):
            movements = Movements()
            movements.hold(hold.touches, places)
            actions = [
                holds.open_hold(self._tables.budgets, hold, token, places),
                rows.no_row(self._tables.usage, hold.request_id),
                *movements.actions(self._tables.budgets),
            ]
            try:
                await self._items.transact(actions)
            except Unmet as unmet:
                stored = OpenHold.read(unmet.item(0))
                if stored is not None:
                    self._known[hold.request_id] = stored
                if unmet.failed(0) or unmet.failed(1) or await self._was_written(hold, token, unmet):
                    return None
                shortage = await self._shortage(unmet, hold.touches, places, movements, offset=2)
                if shortage is not None:
                    return shortage
            else:
                self._known[hold.request_id] = OpenHold.of(hold, token, places)
                return None
        raise _unsettled(hold.request_id)

    async def top_up(self, hold: Hold) -> Shortage | None:
        """Replace the open hold by this one; only amounts that grow are checked.

        A sequence that is not newer than the stored one, and a request that is over, change nothing. Raises
        `StoreFault` when the hold was swept: what it grew by could not be held any more.
        """
        token = self._items.token()
        known = self._known.get(hold.request_id) or await self._stored_hold(hold.request_id)
        places = self._places(hold.request_id, known)
        for _ in range(MAX_ROUNDS):
            if known is None:
                self._known.pop(hold.request_id, None)
                await self._refuse_if_swept(hold.request_id)
                return None
            if hold.sequence <= known.sequence:
                return None
            movements = Movements()
            movements.hold(hold.touches, places)
            movements.release(known.held)
            movements.check_growth_alone()
            replaced = holds.replace_hold(self._tables.budgets, hold, token, places, known)
            try:
                await self._items.transact([replaced, *movements.actions(self._tables.budgets)])
            except Unmet as unmet:
                if unmet.failed(0):
                    known = OpenHold.read(unmet.item(0))
                    places = self._places(hold.request_id, known)
                elif await self._was_written(hold, token, unmet):
                    return None
                else:
                    shortage = await self._shortage(unmet, hold.touches, places, movements, offset=1)
                    if shortage is not None:
                        return shortage
            else:
                self._known[hold.request_id] = OpenHold.of(hold, token, places)
                return None
        raise _unsettled(hold.request_id)

    async def renew(self, request_id: str, lease_until: datetime) -> None:
        """Move the lease of an open hold; never back."""
        try:
            await self._items.write(holds.renew_hold(self._tables.budgets, request_id, lease_until))
        except Unmet:
            return

    async def void(self, request_id: str) -> None:
        """Give everything back: nothing was sent. The id may be reserved again."""
        known = self._known.pop(request_id, None) or await self._stored_hold(request_id)
        for _ in range(MAX_ROUNDS):
            if known is None:
                return
            movements = Movements()
            movements.release(known.held)
            ended = holds.end_hold(self._tables.budgets, request_id, known)
            try:
                await self._items.transact([ended, *movements.actions(self._tables.budgets)])
            except Unmet as unmet:
                known = OpenHold.read(unmet.item(0))
            else:
                return
        raise _unsettled(request_id)

    async def settle(self, request_id: str, record: RequestRecord, booked: Sequence[Touch]) -> None:
        """Release the hold if one is open, book `booked` and write the ledger row.

        Where the sweeper was quicker, the true record follows once as `id#correction`, which books the
        difference.
        """
        known = self._known.pop(request_id, None)
        places = self._places(request_id, known)
        stamp = self._stamps.next()
        for _ in range(MAX_ROUNDS):
            entries = places.entries_of(booked)
            movements = Movements()
            movements.release(known.held if known else ())
            movements.book(entries)
            actions = [
                holds.end_hold(self._tables.budgets, request_id, known),
                rows.append_request(self._tables.usage, request_id, record, entries, stamp),
                *movements.actions(self._tables.budgets),
            ]
            try:
                await self._items.transact(actions)
            except Unmet as unmet:
                if unmet.failed(1):
                    return await self._correct(request_id, unmet.item(1), record, booked)
                if unmet.failed(0):
                    known = OpenHold.read(unmet.item(0))
                    places = self._places(request_id, known)
                else:
                    await self._make_way(unmet, places, movements, offset=2)
            else:
                return None
        raise _unsettled(request_id)

    async def exhaust(self, touches: Sequence[Touch]) -> None:
        """Mark buckets exhausted until their window ends or their limit rises above `touch.budget.limit`.

        Each mark stands by itself; repeating the call completes it.
        """
        await asyncio.gather(*(self._mark(touch) for touch in touches))

    async def expired_holds(self, now: datetime, *, limit: int = 100) -> Sequence[Hold]:
        """Give open holds whose lease has run out, the longest first.

        The index that finds them lags, so each is read again: what was renewed or ended is left out, and
        what it does not show yet is found by the next sweep.
        """
        found = await asyncio.gather(*(self._expired_in(shard, now, limit) for shard in holds.LEASE_SHARDS))
        # An index that lags may show a hold twice: where it was and where it is.
        keys = list(dict.fromkeys(key for _, key in sorted(pair for pairs in found for pair in pairs)))[
            :limit
        ]
        items = await self._items.get_many(
            self._tables.budgets, [holds.hold_key(key.removeprefix(holds.PARTITION)) for key in keys]
        )
        open_holds = [hold for hold in map(holds.stored_hold, items) if hold.lease_until <= now]
        return sorted(open_holds, key=lambda hold: (hold.lease_until, hold.request_id))

    async def _stored_hold(self, request_id: str) -> OpenHold | None:
        item = await self._items.get(self._tables.budgets, holds.hold_key(request_id))
        return OpenHold.read(item)

    async def _was_written(self, hold: Hold, token: str, unmet: Unmet) -> bool:
        """Say whether an earlier try of the same step was carried out, its answer lost."""
        if not unmet.is_unsure:
            return False
        stored = await self._stored_hold(hold.request_id)
        if stored is None or stored.token != token:
            return False
        self._known[hold.request_id] = stored
        return True

    async def _refuse_if_swept(self, request_id: str) -> None:
        row = await self._items.get(self._tables.usage, rows.row_key(request_id))
        if row is None or not rows.is_expired(row):
            return
        if await self._items.get(self._tables.usage, rows.correction_key(request_id)) is None:
            raise StoreFault(f"the hold of request {request_id} ran out and was booked")

    async def _correct(
        self, request_id: str, row: Item | None, record: RequestRecord, booked: Sequence[Touch]
    ) -> None:
        if row is None or not rows.is_expired(row) or record.outcome is Outcome.EXPIRED:
            return
        expired = rows.entries_of_row(row)
        places = self._buckets.places(request_id, (key for key, _ in expired))
        stamp = self._stamps.next()
        for _ in range(MAX_ROUNDS):
            movements = Movements()
            movements.book(places.entries_of(booked))
            movements.book(expired, -1)
            correction = rows.append_correction(
                self._tables.usage, request_id, record, movements.settled(), stamp
            )
            try:
                return await self._items.transact([correction, *movements.actions(self._tables.budgets)])
            except Unmet as unmet:
                if unmet.failed(0):
                    # It has been corrected already: the row is there.
                    return None
                await self._make_way(unmet, places, movements, offset=1)
        raise _unsettled(request_id)

    def _places(self, request_id: str, known: OpenHold | None) -> Places:
        return self._buckets.places(request_id, known.shards if known else ())

    async def _shortage(
        self, unmet: Unmet, touches: Sequence[Touch], places: Places, movements: Movements, *, offset: int
    ) -> Shortage | None:
        """Name the first touch whose bucket is short, and how it stood when it was; None where only shards of
        wide buckets were, for which room has been sought.
        """
        moving = {key: (number, each) for number, (key, each) in enumerate(movements.all(), offset)}
        failed = [
            (touch, key, *moving[key])
            for touch in touches
            if (key := places.key_of(touch)) in moving and unmet.failed(moving[key][0])
        ]
        if not failed:
            raise StoreFault(f"a step was refused for no reason of ours: {unmet}")
        for touch, key, number, movement in failed:
            if key.shard is None:
                return Shortage(touch, standing_of(touch.budget, [unmet.item(number)]))
            found = await self._buckets.make_room(key, movement.growth, touch.budget)
            if isinstance(found, Standing):
                return Shortage(touch, found)
            places.move_to(found)
        return None

    async def _make_way(self, unmet: Unmet, places: Places, movements: Movements, *, offset: int) -> None:
        """Seek room for what a booking needs above its hold, on wide buckets."""
        for number, (key, movement) in enumerate(movements.all(), offset):
            if unmet.failed(number):
                places.move_to(await self._buckets.make_way(key, movement.growth))

    async def _mark(self, touch: Touch) -> None:
        keys = await self._buckets.keys_of(self._places("", None).key_of(touch))
        await asyncio.gather(*(self._mark_item(key, touch.budget.limit) for key in keys))

    async def _mark_item(self, key: BucketKey, limit: int) -> None:
        try:
            await self._items.write(mark(self._tables.budgets, key, limit))
        except Unmet:
            # It is marked for this limit or a higher one.
            return

    async def _expired_in(self, shard: str, now: datetime, limit: int) -> list[tuple[int, str]]:
        found = self._items.query(
            self._tables.budgets,
            "#lease_shard = :shard AND #lease_until_us <= :now",
            index=BY_LEASE.name,
            limit=limit,
            shard=shard,
            now=microseconds(now),
        )
        return [(cast(int, item["lease_until_us"]), cast(str, item["pk"])) async for item in found]


def _unsettled(request_id: str) -> StoreFault:
    return StoreFault(f"request {request_id} kept changing under {MAX_ROUNDS} steps")
