"""The last step, and the only way out: price what was used, book it, tell the rest of the house. Once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import msgspec
from msgspec import Struct

from farebox.domain.errors import BudgetExhausted, StoreFault, UpstreamCut, UpstreamFault
from farebox.domain.event import RequestFinished
from farebox.domain.plan import Option
from farebox.domain.price import PriceBook
from farebox.domain.record import Outcome, RequestRecord
from farebox.domain.routing.caching import CacheEntry
from farebox.gateway.charging.backlog import Backlog
from farebox.gateway.charging.journal import Journal
from farebox.gateway.charging.known_inputs import KnownInputs
from farebox.gateway.charging.leases import Leases
from farebox.gateway.charging.meter import Reading, StreamMeter, expected_usage, read_message
from farebox.gateway.incoming import ClientLeft
from farebox.gateway.routing.relay import upstream_request_id
from farebox.ports import EventBus, Ledger
from farebox.wire.headers import find
from farebox.wire.http import HttpAnswer, is_success

CLIENT_GONE = "client gone"
"""The message a task is cancelled with when its client left; any other cancellation is the process
stopping.
"""

STATUS_CLIENT_GONE = 499
"""What a row shows when nobody was left to receive a status."""

_log = logging.getLogger("farebox.settle")


class Settler(Struct, frozen=True):
    """Ends requests. `status_of` gives the HTTP status that an exception is answered with."""

    ledger: Ledger
    events: EventBus
    leases: Leases
    prices: PriceBook
    inputs: KnownInputs
    backlog: Backlog
    status_of: Callable[[BaseException], int]

    async def failed(self, journal: Journal, ending: BaseException) -> None:
        """Settle a request that ended before an answer began: refused, no answer, client gone, process
        stopping.

        What may have reached the provider is priced at its likely input, since a provider bills what it has
        read.
        """
        if journal.is_finished:
            return
        if journal.dispatched_at is not None and journal.option is not None:
            reading = Reading(expected_usage(journal.option.quote, 0), is_exact=False)
            journal.attempted(self.prices, status=None, reading=reading)
        outcome = outcome_of(ending)
        status = STATUS_CLIENT_GONE if outcome is Outcome.CLIENT_GONE else self.status_of(ending)
        if isinstance(ending, BudgetExhausted) and ending.is_closed:
            journal.exhausted_budget = ending.budget
        await self._settle(journal, outcome, status, error_type=type(ending).__name__)

    async def answered(self, journal: Journal, source: HttpAnswer, body: bytes) -> None:
        """Settle a whole answer before the client gets it. An error of the provider costs nothing."""
        if journal.option is None:
            raise RuntimeError("an answer without a target")
        journal.first_byte()
        request_id = upstream_request_id(source)
        if not is_success(source.status):
            if journal.dispatched_at is not None:  # else it was closed when others were tried after it
                journal.attempted(
                    self.prices, status=source.status, reading=None, upstream_request_id=request_id
                )
            return await self._settle(journal, Outcome.UPSTREAM_ERROR, source.status)
        encoding = find(source.headers, b"content-encoding")
        fold, reading = read_message(body, encoding=encoding, quote=journal.option.quote)
        self._learn(journal.option, reading)
        journal.attempted(
            self.prices, status=source.status, reading=reading, fold=fold, upstream_request_id=request_id
        )
        return await self._settle(journal, Outcome.FINISHED, source.status)

    async def streamed(
        self, journal: Journal, meter: StreamMeter, source: HttpAnswer, outcome: Outcome
    ) -> None:
        """Settle a stream, however it ended."""
        if journal.option is None:
            raise RuntimeError("an answer without a target")
        reading = meter.reading(journal.option.quote)
        self._learn(journal.option, reading)
        journal.attempted(
            self.prices,
            status=source.status,
            reading=reading,
            fold=meter.fold,
            upstream_request_id=upstream_request_id(source),
        )
        await self._settle(journal, outcome, source.status, error_type=meter.error_type)

    async def cached(self, journal: Journal, entry: CacheEntry) -> None:
        """Settle an answer that was given before, before the client gets it: it draws on no budget."""
        journal.found_in_cache(entry.cost_picodollars)
        if journal.option is not None:
            self.inputs.learn(journal.option.conversation, entry.usage.prompt_tokens)
        await self._settle(journal, Outcome.CACHED, entry.status)

    def _learn(self, option: Option, reading: Reading) -> None:
        if reading.is_exact:
            self.inputs.learn(option.conversation, reading.usage.prompt_tokens)

    async def _settle(
        self, journal: Journal, outcome: Outcome, status: int, *, error_type: str | None = None
    ) -> None:
        if journal.is_finished:
            return
        journal.is_finished = True
        record = journal.record(outcome, status, error_type=error_type)
        booking = asyncio.ensure_future(self._book(journal, record))
        stop: asyncio.CancelledError | None = None
        while not booking.done():
            try:
                await asyncio.shield(booking)
            except asyncio.CancelledError as cancelled:
                # However often it is told to stop: what was used is booked first.
                stop = cancelled
        await booking
        if stop is not None:
            raise stop

    async def _book(self, journal: Journal, record: RequestRecord) -> None:
        touches = journal.booked()
        try:
            await self.ledger.settle(record.id, record, touches)
        except StoreFault as fault:
            # Tried again while the process lives. If it dies the hold is swept, and this line has what was
            # really used, for `farebox replay`.
            self.backlog.add(record, touches)
            _log.error("not settled: %s; record: %s", fault, msgspec.json.encode(record).decode())
        finally:
            # Whatever the store did: a hold that nobody settles any more must run out.
            self.leases.drop(record.id)
            if journal.admission is not None:
                await journal.admission.end(journal.spent)
        await self.events.emit(RequestFinished(record, journal.exhausted_budget))


def outcome_of(ending: BaseException) -> Outcome:
    """Name the way a request ended when no answer began."""
    if isinstance(ending, ClientLeft):
        return Outcome.CLIENT_GONE
    if isinstance(ending, asyncio.CancelledError):
        return Outcome.CLIENT_GONE if CLIENT_GONE in ending.args else Outcome.STOPPED
    if isinstance(ending, UpstreamCut):
        return Outcome.UPSTREAM_CUT
    if isinstance(ending, UpstreamFault):
        return Outcome.UPSTREAM_ERROR
    return Outcome.REFUSED
