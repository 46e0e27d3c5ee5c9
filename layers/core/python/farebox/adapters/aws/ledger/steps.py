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
from farebox.adapters.aws.dynamodb.errors import Unmet
from farebox.adapters.aws.dynamodb.items import Items
from farebox.adapters.aws.ledger import buckets, holds, rows
from farebox.adapters.aws.ledger.buckets import Movements
from farebox.adapters.aws.ledger.holds import OpenHold
from farebox.adapters.aws.stamps import Stamps
from farebox.adapters.aws.tables import BY_LEASE, TableNames
from farebox.domain.budget import Shortage, Touch
from farebox.domain.errors import StoreFault
from farebox.domain.record import Outcome, RequestRecord
from farebox.ports import Hold

MAX_ROUNDS = 6
"""How often one step is made anew because another step on the same request came between."""


class DynamoLedger:
    """Fills `ports.Ledger`.

    What this process knows of its own open holds is kept, so that each step is one round trip; a step on what
    has changed meanwhile is told what is there instead.
    """

    def __init__(self, items: Items, tables: TableNames, stamps: Stamps) -> None:
        self._items, self._tables = items, tables
        self._stamps = stamps
        self._known: dict[str, OpenHold] = {}

    async def reserve(self, hold: Hold) -> Shortage | None:
        """Hold every touch, or none and say which bucket is short.

        A bucket that was exhausted is short too, until its limit rises. A request that has a hold already,
        or is settled, changes nothing and is not refused.
        """
        token = self._items.token()
        movements = Movements()
        movements.hold(hold.touches, under_limit=True)
        actions = [
            holds.open_hold(self._tables.budgets, hold, token),
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
            return _shortage(unmet, hold.touches, movements, offset=2)
        self._known[hold.request_id] = OpenHold.of(hold, token)
        return None

    async def top_up(self, hold: Hold) -> Shortage | None:
        """Replace the open hold by this one; only amounts that grow are checked.

        A sequence that is not newer than the stored one, and a request that is over, change nothing. Raises
        `StoreFault` when the hold was swept: what it grew by could not be held any more.
        """
        token = self._items.token()
        known = self._known.get(hold.request_id) or await self._stored_hold(hold.request_id)
        for _ in range(MAX_ROUNDS):
            if known is None:
                self._known.pop(hold.request_id, None)
                await self._refuse_if_swept(hold.request_id)
                return None
            if hold.sequence <= known.sequence:
                return None
            movements = Movements()
            movements.hold(hold.touches, under_limit=True)
            movements.release(known.touches)
            movements.check_growth_alone()
            replaced = holds.replace_hold(self._tables.budgets, hold, token, known)
            try:
                await self._items.transact([replaced, *movements.actions(self._tables.budgets)])
            except Unmet as unmet:
                if unmet.failed(0):
                    known = OpenHold.read(unmet.item(0))
                elif await self._was_written(hold, token, unmet):
                    return None
                else:
                    return _shortage(unmet, hold.touches, movements, offset=1)
            else:
                self._known[hold.request_id] = OpenHold.of(hold, token)
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
            movements.release(known.touches)
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
        stamp = self._stamps.next()
        entries = buckets.entries_of(booked)
        for _ in range(MAX_ROUNDS):
            movements = Movements()
            movements.release(known.touches if known else ())
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
                    return await self._correct(request_id, unmet, record, booked)
                known = OpenHold.read(unmet.item(0))
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
        self, request_id: str, unmet: Unmet, record: RequestRecord, booked: Sequence[Touch]
    ) -> None:
        row = unmet.item(1)
        if row is None or not rows.is_expired(row) or record.outcome is Outcome.EXPIRED:
            return
        movements = Movements()
        movements.book(buckets.entries_of(booked))
        movements.book(rows.entries_of_row(row), -1)
        correction = rows.append_correction(
            self._tables.usage, request_id, record, movements.settled(), self._stamps.next()
        )
        try:
            await self._items.transact([correction, *movements.actions(self._tables.budgets)])
        except Unmet:
            # It has been corrected already: the row is there.
            return

    async def _mark(self, touch: Touch) -> None:
        try:
            await self._items.write(buckets.mark(self._tables.budgets, touch))
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


def _shortage(unmet: Unmet, touches: Sequence[Touch], movements: Movements, *, offset: int) -> Shortage:
    """Name the first touch whose bucket is short, and how it stood when it was."""
    place = {key: number for number, key in enumerate(movements.keys(), offset)}
    for touch in touches:
        number = place.get(buckets.key_of(touch))
        if number is not None and unmet.failed(number):
            return Shortage(touch, buckets.standing_of(touch.budget, unmet.item(number)))
    raise StoreFault(f"a step was refused for no reason of ours: {unmet}")


def _unsettled(request_id: str) -> StoreFault:
    return StoreFault(f"request {request_id} kept changing under {MAX_ROUNDS} steps")
