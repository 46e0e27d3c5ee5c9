"""A gateway that kills itself at a labelled point: no handler runs, nothing is flushed.

Run as `python -m tests.support.crash_gateway STORE`, with a policy document on standard input. STORE is a
data folder, or `dynamodb:PORT:PREFIX` for tables that are there already. It prints the secret of the first
key and its port, serves, and sends itself SIGKILL when it comes to the point that FAREBOX_CRASH_AT names.
Only the ports around the core are wrapped; the core is the shipped one.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

import uvicorn
import uvloop
from msgspec.structs import replace

from farebox.adapters.aws.tables import TableNames
from farebox.adapters.clock import SystemClock, SystemRandomness
from farebox.adapters.local.event_bus import LocalEventBus
from farebox.cli.serve import admin_ports, server_config
from farebox.compose.local import open_local
from farebox.compose.settings import Settings
from farebox.domain.budget import Shortage, Touch
from farebox.domain.event import Event
from farebox.domain.record import RequestRecord
from farebox.gateway.pipeline import Gateway
from farebox.http.admin.apply import apply_document
from farebox.http.data_plane import DataPlane
from farebox.http.errors import status_of
from farebox.http.policy_document import parse_policy
from farebox.ports import EventBus, Hold, Ledger
from farebox.wire.http import Diverting, Headers, HttpAnswer, HttpRequest, Timeouts, Transport
from farebox.wire.http1 import Http1Transport
from tests.support.cloud.gateway import apply, wired_over
from tests.support.dynamo import Deployment

AT = "FAREBOX_CRASH_AT"
PASSED_BYTES = "FAREBOX_CRASH_PASSED_BYTES"
HOST = "127.0.0.1"
TABLES = "dynamodb"
"""How STORE begins that is a prefix of tables."""


class Point(StrEnum):
    """Where a process may die. PASSED is after so many bytes of answers went to clients."""

    BEFORE_HOLD = "before hold"
    AFTER_HOLD = "after hold"
    AFTER_HEADERS = "after headers"
    PASSED = "mid-stream"
    BEFORE_TOP_UP = "before top-up"
    AFTER_TOP_UP = "after top-up"
    AFTER_LAST_BYTE = "after last byte"
    BETWEEN_SETTLE_AND_EMIT = "between settle and emit"


@dataclass(slots=True)
class Fate:
    """Dies at one point. What was written to the database and to sockets before is all that remains."""

    point: Point
    bytes_left: int = 0

    def at(self, point: Point) -> None:
        if point is self.point:
            os.kill(os.getpid(), signal.SIGKILL)

    def passed(self, count: int) -> None:
        self.bytes_left -= count
        if self.bytes_left < 0:
            self.at(Point.PASSED)


@dataclass(frozen=True, slots=True)
class MortalLedger:
    """The ledger, with a fate before and after the steps of money."""

    ledger: Ledger
    fate: Fate

    async def reserve(self, hold: Hold) -> Shortage | None:
        self.fate.at(Point.BEFORE_HOLD)
        shortage = await self.ledger.reserve(hold)
        self.fate.at(Point.AFTER_HOLD)
        return shortage

    async def top_up(self, hold: Hold) -> Shortage | None:
        self.fate.at(Point.BEFORE_TOP_UP)
        shortage = await self.ledger.top_up(hold)
        self.fate.at(Point.AFTER_TOP_UP)
        return shortage

    async def renew(self, request_id: str, lease_until: datetime) -> None:
        await self.ledger.renew(request_id, lease_until)

    async def void(self, request_id: str) -> None:
        await self.ledger.void(request_id)

    async def settle(self, request_id: str, record: RequestRecord, booked: Sequence[Touch]) -> None:
        self.fate.at(Point.AFTER_LAST_BYTE)
        await self.ledger.settle(request_id, record, booked)

    async def exhaust(self, touches: Sequence[Touch]) -> None:
        await self.ledger.exhaust(touches)

    async def expired_holds(self, now: datetime, *, limit: int = 100) -> Sequence[Hold]:
        return await self.ledger.expired_holds(now, limit=limit)


@dataclass(frozen=True, slots=True)
class MortalEvents:
    """The event bus, with a fate before it hears anything."""

    events: EventBus
    fate: Fate

    async def emit(self, event: Event) -> None:
        self.fate.at(Point.BETWEEN_SETTLE_AND_EMIT)
        await self.events.emit(event)


@dataclass(frozen=True, slots=True)
class MortalTransport:
    """The way to the provider, with a fate behind the head of an answer."""

    transport: Transport
    fate: Fate

    async def send(
        self, request: HttpRequest, timeouts: Timeouts, *, silence_ms: int | None = None
    ) -> HttpAnswer:
        answer = await self.transport.send(request, timeouts, silence_ms=silence_ms)
        self.fate.at(Point.AFTER_HEADERS)
        return MortalAnswer(answer, self.fate)

    async def aclose(self) -> None:
        await self.transport.aclose()


class MortalAnswer:
    """An answer, with a fate behind every piece of it that went on to the client."""

    def __init__(self, answer: HttpAnswer, fate: Fate) -> None:
        self.status: int = answer.status
        self.headers: Headers = answer.headers
        self._answer, self._fate = answer, fate
        self._given_bytes = 0

    async def receive(self) -> bytes:
        # Whoever asks for more has passed on what it was given.
        self._fate.passed(self._given_bytes)
        piece = await self._answer.receive()
        self._given_bytes = len(piece)
        return piece

    def divert(self, take: Callable[[bytes], bool]) -> None:
        def watched(chunk: bytes) -> bool:
            is_taken = take(chunk)
            if is_taken:
                self._fate.passed(len(chunk))
            return is_taken

        if isinstance(self._answer, Diverting):
            self._answer.divert(watched)

    def abort(self) -> None:
        self._answer.abort()

    async def aclose(self) -> None:
        await self._answer.aclose()


@dataclass(frozen=True, slots=True)
class Parts:
    """One gateway, and what it was wired over."""

    gateway: Gateway
    ledger: Ledger
    events: EventBus
    transport: Transport
    secret: str


def mortal(parts: Parts, fate: Fate) -> Gateway:
    """Give the same gateway, every port that money passes wrapped."""
    gateway, ledger = parts.gateway, MortalLedger(parts.ledger, fate)
    settler = replace(gateway.settler, ledger=ledger, events=MortalEvents(parts.events, fate))
    providers = replace(gateway.providers, http=MortalTransport(parts.transport, fate))
    trying = replace(gateway.trying, sender=replace(gateway.trying.sender, providers=providers))
    return replace(gateway, ledger=ledger, settler=settler, providers=providers, trying=trying)


async def on_a_laptop(folder: Path, settings: Settings, policy: Mapping[str, object]) -> Parts:
    """Wire a gateway over a data folder."""
    local = open_local(settings, folder, environment=os.environ, status_of=status_of, write_log=None)
    applied = await apply_document(parse_policy(policy), admin_ports(local), actor="test")
    secret = applied.created_keys[0].secret
    return Parts(local.gateway, local.store.ledger, local.events, local.transport, secret)


async def over_tables(port: int, prefix: str, settings: Settings, policy: Mapping[str, object]) -> Parts:
    """Wire a gateway over tables in MiniStack."""
    clock, transport, events = SystemClock(), Http1Transport(), LocalEventBus([])
    store = Deployment(port, TableNames.with_prefix(prefix)).store(transport, clock)
    keys = await apply(store, policy, clock)
    gateway = wired_over(store, settings, transport, clock, events=events).gateway
    return Parts(gateway, store.ledger, events, transport, next(iter(keys.values())))


async def serve(where: str, policy: Mapping[str, object], fate: Fate) -> None:
    """Serve until the fate comes."""
    settings = Settings(log="off")
    kind, _, place = where.partition(":")
    if kind == TABLES:
        port, _, prefix = place.partition(":")
        parts = await over_tables(int(port), prefix, settings, policy)
    else:
        parts = await on_a_laptop(Path(where), settings, policy)
    plane = DataPlane(mortal(parts, fate), SystemRandomness(), body_bytes_max=settings.max_body_bytes)
    listener = socket.create_server((HOST, 0))
    print(parts.secret, listener.getsockname()[1], flush=True)
    await uvicorn.Server(server_config(plane, settings)).serve(sockets=[listener])


def main(where: str) -> None:
    fate = Fate(Point(os.environ[AT]), int(os.environ.get(PASSED_BYTES, "0")))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(where, json.load(sys.stdin), fate))


if __name__ == "__main__":
    main(*sys.argv[1:])
