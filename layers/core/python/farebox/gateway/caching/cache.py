"""Asks the cache before a target is asked, and keeps what the target said, behind the client's back."""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from farebox.domain.errors import StoreFault
from farebox.domain.plan import Option
from farebox.domain.record import Outcome
from farebox.domain.routing.caching import MAX_AGE_S_DEFAULT, CacheEntry, CacheStatus
from farebox.domain.usage import CostStatus, Usage
from farebox.gateway.caching.question import key_of, rule_of, wants_fresh
from farebox.gateway.caching.recording import ENTRY_BYTES_MAX, Recording, Room
from farebox.gateway.charging.journal import Journal
from farebox.gateway.charging.meter import GZIP, StreamMeter
from farebox.ports import Clock, ResponseCache
from farebox.providers.base import Call
from farebox.wire.headers import find
from farebox.wire.http import HttpAnswer

LOOK_UP_S = 0.5
"""A cache that takes longer costs more than it saves: the request goes on without it."""

STORE_S = 10.0
# Small answers take room too: a task each.
_ROOM_MIN_BYTES = 4_096
_KEPT_HEADERS = frozenset((b"content-type", b"content-encoding"))

_log = logging.getLogger("farebox.cache")

Finish = Callable[[Outcome], Awaitable[None]]


class Lookup(Struct, frozen=True):
    """What the cache was to a request at one target: `entry` is the answer, if it has one; `key` is None
    where nothing is kept.
    """

    option: Option
    status: CacheStatus = CacheStatus.DISABLED
    key: bytes | None = None
    max_age_s: int = 0
    entry: CacheEntry | None = None


class AnswerCache:
    """The cache as the requests of one process use it. Without a store nothing is asked and nothing kept."""

    def __init__(
        self,
        store: ResponseCache | None,
        clock: Clock,
        *,
        max_age_s: int = MAX_AGE_S_DEFAULT,
        look_up_s: float = LOOK_UP_S,
        store_s: float = STORE_S,
        room: Room | None = None,
    ) -> None:
        self._store, self._clock = store, clock
        self._max_age_s, self._look_up_s, self._store_s = max_age_s, look_up_s, store_s
        self._room = room or Room()
        self._storing: set[asyncio.Task[None]] = set()

    async def look_up(
        self, option: Option, call: Call, journal: Journal, before: Lookup | None = None
    ) -> Lookup:
        """Look for an answer at a target, once however often it is tried. It never fails a request: a cache
        that cannot answer, or not soon, has none.
        """
        if before is not None and before.option is option:
            return before
        lookup = await self._look_up(option, call, journal)
        journal.cache_status = lookup.status
        journal.request.handling.cache_status = lookup.status.upper()
        return lookup

    def recorded(self, source: HttpAnswer, lookup: Lookup | None) -> HttpAnswer:
        """Give a stream as one that is remembered while it passes, where it may be kept."""
        if lookup is None or lookup.key is None or source.status != 200:
            return source
        return Recording(source, self._room)

    def kept_after(
        self, finish: Finish, source: HttpAnswer, meter: StreamMeter, journal: Journal, lookup: Lookup | None
    ) -> Finish:
        """Keep a stream once `finish` has settled it: all of it, and only if it came to its own end."""
        if lookup is None or not isinstance(source, Recording):
            return finish

        async def finish_and_keep(outcome: Outcome) -> None:
            await finish(outcome)
            if outcome is Outcome.FINISHED and meter.is_stopped and meter.is_plain:
                self.keep(source, source.body, journal, lookup)

        return finish_and_keep

    def keep(self, source: HttpAnswer, body: bytes | None, journal: Journal, lookup: Lookup | None) -> None:
        """Keep an answer that was settled, if it is a whole one; the client does not wait for it."""
        cost = journal.costs[-1] if journal.costs else None
        if lookup is None or lookup.key is None or source.status != 200 or not body or cost is None:
            return
        # What could not be read for its usage may be no message at all.
        if self._store is None or cost.status is CostStatus.ESTIMATED or len(body) > ENTRY_BYTES_MAX:
            return
        size = max(len(body), _ROOM_MIN_BYTES)
        if not self._room.take(size):
            _log.warning("an answer is not kept: too many wait to be")
            return
        entry = _entry(journal, source, body, self._clock.now(), lookup.max_age_s)
        task = asyncio.create_task(self._put(self._store, lookup.key, entry, size))
        self._storing.add(task)
        task.add_done_callback(self._storing.discard)

    async def drain(self) -> None:
        """Wait until everything is stored that is to be."""
        while self._storing:
            await asyncio.wait(self._storing)

    async def _look_up(self, option: Option, call: Call, journal: Journal) -> Lookup:
        request, plan = journal.request, journal.plan
        if self._store is None or plan is None:
            return Lookup(option)
        rule = rule_of(request, plan, option, max_age_s=self._max_age_s)
        if rule is None or not rule.max_age_s:
            return Lookup(option)
        key = key_of(rule, call, option, request, plan.caller, journal.organisation)
        if key is None:
            return Lookup(option)
        if wants_fresh(request):
            return Lookup(option, CacheStatus.REFRESH, key, rule.max_age_s)
        entry = await self._found(self._store, key, request.request_id)
        if entry is None or not entry.is_fresh(self._clock.now(), rule.max_age_s):
            return Lookup(option, CacheStatus.MISS, key, rule.max_age_s)
        return Lookup(option, CacheStatus.HIT, entry=entry)

    async def _found(self, store: ResponseCache, key: bytes, request_id: str) -> CacheEntry | None:
        try:
            async with asyncio.timeout(self._look_up_s):
                return await store.get(key, self._clock.now())
        except TimeoutError:
            _log.warning("the cache did not answer %s within %s s", request_id, self._look_up_s)
        except StoreFault as fault:
            _log.warning("the cache did not answer %s: %s", request_id, fault)
        return None

    async def _put(self, store: ResponseCache, key: bytes, entry: CacheEntry, size: int) -> None:
        try:
            async with asyncio.timeout(self._store_s):
                plain = await _plain(entry)
                if plain is not None and not await store.put(key, plain):
                    _log.info("an answer of %d bytes is too large to be kept", len(plain.body))
        except TimeoutError:
            _log.warning("an answer is not kept: the cache did not take it within %s s", self._store_s)
        except StoreFault as fault:
            _log.warning("an answer is not kept: %s", fault)
        finally:
            self._room.give_back(size)


def _entry(journal: Journal, source: HttpAnswer, body: bytes, now: datetime, max_age_s: int) -> CacheEntry:
    """Make an entry of an answer. Its ids, dates and limits belong to that one answer: they are left out."""
    attempt = journal.attempts[-1]
    headers = tuple((name, value) for name, value in source.headers if name in _KEPT_HEADERS)
    return CacheEntry(
        status=source.status,
        headers=headers,
        body=body,
        provider=attempt.provider,
        model=attempt.model,
        usage=attempt.usage or Usage(),
        cost_picodollars=attempt.cost_picodollars,
        stored_at=now,
        expires_at=now + timedelta(seconds=max_age_s),
    )


async def _plain(entry: CacheEntry) -> CacheEntry | None:
    """Give the entry without a coding, which the next client may not read; None where that cannot be."""
    coding = (find(list(entry.headers), b"content-encoding") or b"identity").strip().lower()
    body: bytes | None = entry.body
    if coding in GZIP:
        body = await asyncio.to_thread(_inflated, entry.body)
    elif coding != b"identity":
        body = None
    if body is None:
        return None
    headers = tuple((name, value) for name, value in entry.headers if name != b"content-encoding")
    return replace(entry, headers=headers, body=body)


def _inflated(body: bytes) -> bytes | None:
    """The meter has read it before; here it may be too large."""
    inflate = zlib.decompressobj(zlib.MAX_WBITS | 16)
    plain = inflate.decompress(body, ENTRY_BYTES_MAX)
    return plain if inflate.eof else None
