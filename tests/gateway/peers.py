"""What stands around a gateway in tests: a provider that plays a script, a store that fails, clocks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from farebox.domain.budget import Shortage, Touch
from farebox.domain.errors import StoreFault, UpstreamCut
from farebox.domain.record import RequestRecord
from farebox.domain.routing.caching import CacheEntry
from farebox.ports import Hold, Ledger, ResponseCache
from farebox.wire.http import Headers, HttpRequest, Timeouts
from tests.support.builders import FixedClock
from tests.support.upstream import Reply, sse_message, usage

USED = usage(input_tokens=100, output_tokens=50)


@dataclass(slots=True)
class ScriptedAnswer:
    """An answer whose pieces come one by one; None in the script waits until `more` is set."""

    status: int
    headers: Headers
    pieces: list[bytes | None]
    more: asyncio.Event = field(default_factory=asyncio.Event)
    is_aborted: bool = False
    is_closed: bool = False

    async def receive(self) -> bytes:
        if self.is_aborted:
            raise UpstreamCut("upstream.example", "it was dropped")
        if not self.pieces:
            return b""
        piece = self.pieces.pop(0)
        if piece is None:
            await self.more.wait()
            return await self.receive()
        return piece

    def abort(self) -> None:
        self.is_aborted = True
        self.more.set()

    async def aclose(self) -> None:
        self.is_closed = True


class ScriptedTransport:
    """Remembers what was sent. `script` gives the reply, or raises."""

    def __init__(self) -> None:
        self.script: Callable[[HttpRequest], Reply | ScriptedAnswer] = lambda _: sse_message(usage=USED)
        self.sent: list[HttpRequest] = []
        self.timeouts: list[Timeouts] = []
        self.answers: list[ScriptedAnswer] = []

    async def send(
        self, request: HttpRequest, timeouts: Timeouts, *, silence_ms: int | None = None
    ) -> ScriptedAnswer:
        self.sent.append(request)
        self.timeouts.append(timeouts)
        reply = self.script(request)
        answer = reply if isinstance(reply, ScriptedAnswer) else answer_of(reply)
        self.answers.append(answer)
        # As over a network, others run before the answer begins.
        await asyncio.sleep(0)
        return answer

    async def aclose(self) -> None:
        return


def answer_of(reply: Reply) -> ScriptedAnswer:
    headers = [(name.lower().encode(), value.encode()) for name, value in reply.headers]
    return ScriptedAnswer(
        reply.status, headers, [piece for piece in reply.pieces if isinstance(piece, bytes)]
    )


class FaultyLedger:
    """A ledger whose named methods raise `StoreFault`, before they act or, in `lost`, after."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.failing: set[str] = set()
        self.lost: set[str] = set()
        self.calls: list[str] = []
        self.may_settle = asyncio.Event()
        self.may_settle.set()

    async def reserve(self, hold: Hold) -> Shortage | None:
        self._before("reserve")
        shortage = await self.ledger.reserve(hold)
        self._after("reserve")
        return shortage

    async def top_up(self, hold: Hold) -> Shortage | None:
        self._before("top_up")
        return await self.ledger.top_up(hold)

    async def renew(self, request_id: str, lease_until: datetime) -> None:
        self._before("renew")
        await self.ledger.renew(request_id, lease_until)

    async def void(self, request_id: str) -> None:
        self._before("void")
        await self.ledger.void(request_id)

    async def settle(self, request_id: str, record: RequestRecord, booked: Sequence[Touch]) -> None:
        self._before("settle")
        await self.may_settle.wait()
        await self.ledger.settle(request_id, record, booked)
        self._after("settle")

    async def exhaust(self, touches: Sequence[Touch]) -> None:
        self._before("exhaust")
        await self.ledger.exhaust(touches)

    async def expired_holds(self, now: datetime, *, limit: int = 100) -> Sequence[Hold]:
        self._before("expired_holds")
        return await self.ledger.expired_holds(now, limit=limit)

    def _before(self, name: str) -> None:
        self.calls.append(name)
        if name in self.failing:
            raise StoreFault("the disk is on fire")

    def _after(self, name: str) -> None:
        if name in self.lost:
            raise StoreFault("the answer was lost")


class FaultyCache:
    """A cache whose named methods raise `StoreFault`, and which goes on only while it may."""

    def __init__(self, cache: ResponseCache) -> None:
        self.cache = cache
        self.failing: set[str] = set()
        self.calls: list[str] = []
        self.may_get, self.may_put = asyncio.Event(), asyncio.Event()
        self.may_get.set()
        self.may_put.set()

    async def get(self, key: bytes, now: datetime) -> CacheEntry | None:
        self._before("get")
        await self.may_get.wait()
        return await self.cache.get(key, now)

    async def put(self, key: bytes, entry: CacheEntry) -> bool:
        self._before("put")
        await self.may_put.wait()
        return await self.cache.put(key, entry)

    def _before(self, name: str) -> None:
        self.calls.append(name)
        if name in self.failing:
            raise StoreFault("the disk is on fire")


class CountingRandomness:
    """Different bytes at each call, the same in each run."""

    def __init__(self) -> None:
        self._calls = 0

    def bytes(self, count: int) -> bytes:
        self._calls += 1
        return self._calls.to_bytes(count, "big")


class SteppingClock(FixedClock):
    """A fixed wall clock whose durations grow by `step_ms` at each look."""

    def __init__(self, step_ms: int = 0) -> None:
        super().__init__()
        self.step_ms = step_ms
        self._looks = 0

    def monotonic_ms(self) -> int:
        self._looks += 1
        return super().monotonic_ms() + self._looks * self.step_ms
