"""A real admin plane on a loopback port, for commands to talk to."""

from __future__ import annotations

import asyncio
import json
import queue
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from msgspec.structs import replace
from typer.testing import CliRunner

from farebox.adapters.local.store import DATABASE_FILE, LocalStore
from farebox.cli.main import application
from farebox.domain.budget import Touch
from farebox.domain.identity import key_hash
from farebox.domain.record import RequestRecord
from farebox.domain.routing.breaker import Breaker
from farebox.jobs.replay import Replayer
from tests.http.admin.plane import ADMIN_SECRET, admin_ports
from tests.support.admin_app import admin_app
from tests.support.builders import FixedClock, an_admin_key

QUIET = {
    **dict.fromkeys(("FAREBOX_URL", "FAREBOX_ADMIN_KEY", "FAREBOX_GATEWAY_KEY", "FAREBOX_DATA"), ""),
    "COLUMNS": "80",
    "NO_COLOR": "1",
}


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def run(*arguments: str, **environment: str) -> Ran:
    """Run a command in this process."""
    result = CliRunner().invoke(
        application(), list(arguments), prog_name="farebox", env={**QUIET, **environment}
    )
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return Ran(result.exit_code, result.stdout, result.stderr)


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway that runs, and the data directory whose credentials open it."""

    data: Path
    url: str

    def run(self, *arguments: str) -> Ran:
        return run(*arguments, "--data", str(self.data))

    def book(self, *records: RequestRecord) -> None:
        """Put requests in the ledger, as another process on the same file would, on every budget."""
        asyncio.run(_book(self.data, records))

    def break_circuit(self, breaker: Breaker) -> None:
        """Tell what another process on the same file knows of a circuit breaker."""
        asyncio.run(_break(self.data, breaker))


@contextmanager
def running_gateway(data: Path, replayer: Replayer | None = None) -> Iterator[Gateway]:
    data.mkdir(exist_ok=True)
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    credentials = {"base_url": url, "admin_url": url, "admin_key": ADMIN_SECRET, "gateway_key": "fb-x"}
    (data / "credentials.json").write_text(json.dumps(credentials))
    made: queue.SimpleQueue[uvicorn.Server] = queue.SimpleQueue()
    thread = threading.Thread(
        target=lambda: asyncio.run(_serve(data, listener, made.put, replayer)), daemon=True
    )
    thread.start()
    # A test may be over before the thread has made its server.
    server = made.get(timeout=30)
    try:
        yield Gateway(data, url)
    finally:
        server.should_exit = True
        thread.join(timeout=30)
        assert not thread.is_alive()


async def _serve(
    data: Path, listener: socket.socket, made: Callable[[uvicorn.Server], None], replayer: Replayer | None
) -> None:
    clock = FixedClock()
    store = LocalStore.open(data / "farebox.db", clock)
    if not await store.keys.list_admin_keys():
        await store.keys.add_admin_key(an_admin_key(), key_hash(ADMIN_SECRET))
    with admin_app(replace(admin_ports(store, clock), replayer=replayer)) as app:
        server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None, access_log=False))
        made(server)
        await server.serve(sockets=[listener])
    store.close()


async def _break(data: Path, breaker: Breaker) -> None:
    with closing(LocalStore.open(data / DATABASE_FILE, FixedClock())) as store:
        assert await store.breakers.put(breaker, FixedClock().now())


async def _book(data: Path, records: Sequence[RequestRecord]) -> None:
    store = LocalStore.open(data / "farebox.db", FixedClock())
    for record in records:
        booked = [
            Touch(
                budget,
                "" if budget.scope.has_one_bucket else f"{record.workspace}/{record.key}",
                budget.window_at(record.at),
                record.charged_picodollars,
            )
            for budget in (await store.policies.current()).budgets
        ]
        await store.ledger.settle(record.id, record, booked)
    store.close()
