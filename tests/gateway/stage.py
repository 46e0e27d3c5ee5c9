"""The whole gateway inside one test's loop: real wiring over SQLite, a clock that stands, a scripted peer.

async with a_stage(tmp_path, a_file(budgets=[...])) as stage:
    told = await stage.ask(asking("Hi.", stream=True))
    assert stage.upstream.sent == []
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from farebox.adapters.clouds.credentials import ProviderCredentials, sts_origin
from farebox.adapters.local.event_bus import LocalEventBus
from farebox.adapters.local.rate_limits import LocalRateLimits
from farebox.adapters.local.secrets import LocalSecrets
from farebox.adapters.local.store import DATABASE_FILE, LocalStore
from farebox.adapters.price_data import PriceData
from farebox.compose.google import google_credentials
from farebox.domain.event import Event, RequestFinished
from farebox.domain.identity import GatewayKey
from farebox.domain.record import RequestRecord
from farebox.gateway.caching.cache import AnswerCache
from farebox.gateway.charging.backlog import Backlog
from farebox.gateway.charging.known_inputs import KnownInputs
from farebox.gateway.charging.leases import Leases
from farebox.gateway.incoming import IncomingRequest
from farebox.gateway.limit import Limits
from farebox.gateway.pipeline import Gateway
from farebox.gateway.reserve import HoldTerms
from farebox.gateway.route import Trying
from farebox.gateway.routing.trying.breakers import CircuitBreakers
from farebox.gateway.routing.trying.patience import Patience
from farebox.gateway.routing.trying.sending import Sender
from farebox.gateway.settle import Settler
from farebox.gateway.stream import MeteredStream
from farebox.http.admin.apply import apply_document
from farebox.http.admin.ports import AdminPorts
from farebox.http.data_plane import DataPlane
from farebox.http.errors import status_of
from farebox.http.policy_document import parse_policy
from farebox.ports import BucketStanding, Hold
from farebox.providers.demo.transport import DemoTransport
from farebox.providers.registry import Providers
from farebox.wire.http import Headers, Timeouts
from tests.gateway.peers import CountingRandomness, FaultyCache, FaultyLedger, ScriptedTransport
from tests.support.builders import FixedClock

SECRET = "sk-ant-api03-of-the-provider"
MODEL = "claude-opus-5-5"


def asking(text: str = "Hi.", **fields: object) -> bytes:
    """Write a small streaming request for claude-opus-5-5."""
    document = {
        "model": MODEL,
        "max_tokens": 1000,
        "stream": True,
        "messages": [{"role": "user", "content": text}],
    }
    return json.dumps({**document, **fields}, separators=(",", ":")).encode()


def a_file(**sections: object) -> dict[str, object]:
    """Write a policy: one provider with a credential of its own, and the key alice. `sections` replace."""
    return {"providers": [a_provider()], "keys": [{"name": "alice", "user": "alice@example.com"}], **sections}


def a_provider(slug: str = "anthropic", **fields: object) -> dict[str, object]:
    host = f"https://{slug}.example"
    return {"slug": slug, "type": "anthropic", "credential": "env:SECRET", "base_url": host, **fields}


@dataclass(frozen=True, slots=True)
class Told:
    """An answer as the client has it. `is_whole` says that it came to its proper end."""

    status: int
    headers: Headers
    body: bytes
    is_whole: bool

    def header(self, name: str) -> str | None:
        return next((value.decode() for key, value in self.headers if key == name.encode()), None)

    @property
    def error(self) -> tuple[int, str, str]:
        """Status, type and message of an error answer."""
        error = json.loads(self.body)["error"]
        return self.status, error["type"], error["message"]


@dataclass(slots=True)
class Stage:
    """The parts of one wired gateway that tests look at."""

    clock: FixedClock
    store: LocalStore
    ledger: FaultyLedger
    cache: FaultyCache
    upstream: ScriptedTransport
    gateway: Gateway
    leases: Leases
    admin: AdminPorts
    events: LocalEventBus
    environment: dict[str, str]
    keys: dict[str, str]
    finished: list[RequestRecord]
    plane: DataPlane
    asked: int = 0

    async def ask(
        self, body: bytes, *, key: str | None = "alice", path: str = "/v1/messages", **headers: str
    ) -> Told:
        """Post a body through the data plane with a key by its name; `x_a` in `headers` is `x-a`."""
        return await self.tell(body, self._headers(key, headers), path)

    async def tell(self, body: bytes, headers: Headers, path: str = "/v1/messages") -> Told:
        """Post a body with exactly these headers."""
        sent: list[Any] = []
        pending = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Any:
            if pending:
                return pending.pop()
            return await asyncio.get_running_loop().create_future()

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": headers}
        await self.plane(scope, receive, send)
        starts = [message for message in sent if message["type"] == "http.response.start"]
        assert len(starts) == 1, sent
        pieces = [message for message in sent if message["type"] == "http.response.body"]
        is_whole = bool(pieces) and not pieces[-1].get("more_body", False)
        text = b"".join(piece["body"] for piece in pieces)
        return Told(starts[0]["status"], starts[0]["headers"], text, is_whole)

    async def begin(self, body: bytes, *, key: str = "alice", **headers: str) -> MeteredStream:
        """Ask for a stream and leave reading it to the caller."""
        self.asked += 1
        request = IncomingRequest(
            f"req_{self.asked}", "messages", b"", self._headers(key, headers), _body_reader(body)
        )
        answer = await self.gateway.answer(request)
        assert answer.stream is not None
        return answer.stream

    async def rows(self) -> list[RequestRecord]:
        """Give the ledger's rows, oldest first."""
        return list(reversed((await self.store.reports.requests(limit=1000)).rows))

    async def standings(self) -> list[BucketStanding]:
        policy = await self.store.policies.current()
        return list(await self.store.reports.standings(policy.budgets, self.clock.now()))

    async def settled(self) -> dict[tuple[str, str], int]:
        """Give what is settled in each bucket that has something, by budget and bucket."""
        found = await self.standings()
        return {(s.budget.name, s.bucket): s.standing.settled for s in found if s.standing.settled}

    async def held(self) -> int:
        """Add up what is held everywhere."""
        return sum(each.standing.held for each in await self.standings())

    async def holds(self) -> list[Hold]:
        """Give every open hold as its sweeper would find it."""
        return list(await self.store.ledger.expired_holds(self.clock.now() + timedelta(days=9999)))

    async def key_named(self, name: str) -> GatewayKey:
        return await self.store.keys.get_gateway_key(name)

    def _headers(self, key: str | None, headers: Mapping[str, str]) -> Headers:
        own = [] if key is None else [(b"x-farebox-key", self.keys[key].encode())]
        return own + [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]


def _body_reader(body: bytes) -> Callable[[], Any]:
    async def read() -> bytes:
        return body

    return read


@asynccontextmanager
async def a_stage(
    folder: Path,
    file: Mapping[str, object] | None = None,
    *,
    clock: FixedClock | None = None,
    terms: HoldTerms | None = None,
    listeners: Iterable[Callable[[Event], None]] = (),
) -> AsyncIterator[Stage]:
    """Wire a gateway and apply a policy; at the end every bucket must be the sum of its rows and holds."""
    clock = clock or FixedClock()
    store = LocalStore.open(folder / DATABASE_FILE, clock)
    stage = _wired(store, clock, terms or HoldTerms(wait_ms=0), tuple(listeners))
    try:
        applied = await apply_document(parse_policy(file or a_file()), stage.admin, actor="test")
        stage.keys.update({issued.key.name: issued.secret for issued in applied.created_keys})
        yield stage
        await stage.gateway.cache.drain()
        await stage.events.drain()
        assert await stage.store.reports.verify() == []
    finally:
        stage.store.close()


def _wired(
    store: LocalStore, clock: FixedClock, terms: HoldTerms, listeners: tuple[Callable[[Event], None], ...]
) -> Stage:
    finished: list[RequestRecord] = []
    ledger, cache = FaultyLedger(store.ledger), FaultyCache(store.cache)
    transport, randomness = ScriptedTransport(), CountingRandomness()

    def remember(event: Event) -> None:
        if isinstance(event, RequestFinished):
            finished.append(event.record)

    events = LocalEventBus([remember, *listeners])
    leases = Leases(ledger, clock, terms.lease_ms)
    inputs = KnownInputs()
    backlog = Backlog(ledger)
    prices = PriceData().book()
    environment = {"SECRET": SECRET}
    breakers = CircuitBreakers(store.breakers, events, clock)
    providers = Providers(transport, {"demo": DemoTransport()}, Timeouts(), clock)
    gateway = Gateway(
        keys=store.keys,
        policies=store.policies,
        ledger=ledger,
        credentials=ProviderCredentials(
            LocalSecrets(environment),
            None,
            google_credentials({}, None, transport, clock),
            transport=transport,
            clock=clock,
            sts_origin=sts_origin({}),
        ),
        providers=providers,
        prices=prices,
        settler=Settler(ledger, events, leases, prices, inputs, backlog, status_of),
        inputs=inputs,
        limits=Limits(LocalRateLimits(store.database), clock, terms.lease_ms),
        cache=AnswerCache(cache, clock),
        leases=leases,
        trying=Trying(Sender(providers, silence_ms=15_000), prices, Patience(), breakers, clock, randomness),
        clock=clock,
        randomness=randomness,
        terms=terms,
    )
    return Stage(
        clock=clock,
        store=store,
        ledger=ledger,
        cache=cache,
        upstream=transport,
        gateway=gateway,
        leases=leases,
        admin=AdminPorts(
            store.keys, store.policies, store.reports, ledger, store.breakers, clock, randomness, lambda: ""
        ),
        events=events,
        environment=environment,
        keys={},
        finished=finished,
        plane=DataPlane(gateway, randomness, body_bytes_max=1_000_000),
    )


async def apply(stage: Stage, file: Mapping[str, object]) -> None:
    """Apply one more document to a running stage."""
    applied = await apply_document(parse_policy(file), stage.admin, actor="test")
    stage.keys.update({issued.key.name: issued.secret for issued in applied.created_keys})


async def revoke(stage: Stage, name: str) -> None:
    """Revoke a key, as the admin plane does."""
    key = await stage.key_named(name)
    await stage.store.keys.update_gateway_key(replace(key, revoked_at=stage.clock.now()))


async def read_out(stream: MeteredStream) -> bytes:
    """Read a stream to its proper end."""
    text = b""
    while piece := await stream.receive():
        text += piece
    return text
