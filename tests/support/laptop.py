"""The laptop gateway inside a test: the real wiring over a folder, a real uvicorn on loopback, a raw client.

    with ScriptedUpstream([sse_message(usage=usage(input_tokens=3, output_tokens=2))]) as upstream:
        with Laptop(tmp_path, a_policy(upstream)) as laptop:
            answer = laptop.ask(asking("Hi.", stream=True))
            assert laptop.settled(1)[0].outcome is Outcome.FINISHED

The gateway runs on a thread of its own, so that synchronous tests drive it; `run` reaches into its loop.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import uvicorn
import uvloop

from farebox.cli.serve import BACKLOG, SETTLE_WITHIN_S, admin_ports, server_config
from farebox.compose.local import LocalGateway, open_local
from farebox.compose.settings import Settings
from farebox.domain.record import RequestRecord
from farebox.http.admin.apply import Applied, apply_document
from farebox.http.data_plane import DataPlane
from farebox.http.errors import status_of
from farebox.http.policy_document import parse_policy
from farebox.ports import BucketStanding
from tests.support.admin_app import admin_app
from tests.support.raw_client import HOST, WAIT_S, RawAnswer, RawClient
from tests.support.upstream import ScriptedUpstream

__all__ = [
    "CREDENTIAL_NAME",
    "HOST",
    "PROVIDER_SECRET",
    "QUICK",
    "Laptop",
    "RawAnswer",
    "RawClient",
    "a_policy",
    "asking",
]

PROVIDER_SECRET = "sk-ant-api03-of-the-provider"
CREDENTIAL_NAME = "UPSTREAM_KEY"
QUICK = Settings(drain_s=1)
"""The shipped settings, but a gateway that stops does not wait long for streams that a test left open."""

Result = TypeVar("Result")


def asking(text: str = "Hi.", /, **fields: object) -> bytes:
    """Write the body of a small Messages request."""
    document = {
        "model": "claude-sonnet-4-5",
        "max_tokens": 1000,
        "messages": [{"role": "user", "content": text}],
        **fields,
    }
    return json.dumps(document, separators=(",", ":")).encode()


def a_policy(upstream: ScriptedUpstream, **sections: object) -> dict[str, object]:
    """Write a policy document: one provider at the upstream, the key alice, one blocking budget for all.

    `sections` replace the sections of the same name.
    """
    provider = {
        "slug": "anthropic",
        "type": "anthropic",
        "credential": f"env:{CREDENTIAL_NAME}",
        "base_url": upstream.base_url,
    }
    return {
        "providers": [provider],
        "keys": [{"name": "alice", "user": "alice@example.com", "metadata": {"team": "core"}}],
        "budgets": [{"name": "everyone-day", "scope": {}, "usd": 1000, "period": "day"}],
        **sections,
    }


class Laptop:
    """A running gateway. `keys` are the secrets by key name, `log` the request lines it wrote.

    Leaving it stops it as SIGTERM would and asserts that every bucket is the sum of its rows and holds.
    """

    def __init__(
        self,
        folder: Path,
        policy: Mapping[str, object],
        *,
        settings: Settings = QUICK,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.keys: dict[str, str] = {}
        self.log: list[str] = []
        self.local: LocalGateway
        self._folder, self._policy, self._settings = folder, policy, settings
        self._environment = {CREDENTIAL_NAME: PROVIDER_SECRET, **(environment or {})}
        self._listener = socket.create_server((HOST, 0), backlog=BACKLOG)
        self._changed = threading.Condition()
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop
        self._stopping: asyncio.Event
        self._thread = threading.Thread(target=self._run, name="laptop-gateway", daemon=True)

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    @property
    def key(self) -> str:
        """The secret of the first key of the policy."""
        return next(iter(self.keys.values()))

    def apply(self, document: Mapping[str, object]) -> Applied:
        """Apply one more document, as `farebox apply` does."""
        applied = self.run(apply_document(parse_policy(document), admin_ports(self.local), actor="test"))
        self.keys |= {issued.key.name: issued.secret for issued in applied.created_keys}
        return applied

    def ask(
        self,
        body: bytes,
        *,
        target: str = "/v1/messages",
        headers: Sequence[tuple[str, str]] = (),
        key: str | None = None,
    ) -> RawAnswer:
        """Post a body with a gateway key (the first one, as x-farebox-key) and read the whole answer."""
        with self.open(body, target=target, headers=headers, key=key) as client:
            return client.read_answer()

    def open(
        self,
        body: bytes,
        *,
        target: str = "/v1/messages",
        headers: Sequence[tuple[str, str]] = (),
        key: str | None = None,
        receive_buffer_bytes: int | None = None,
    ) -> RawClient:
        """Post a body and leave the answer to the caller."""
        client = RawClient(self.port, receive_buffer_bytes=receive_buffer_bytes)
        own = ("x-farebox-key", self.key if key is None else key)
        client.request("POST", target, [own, ("Content-Type", "application/json"), *headers], body)
        return client

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine in the gateway's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(WAIT_S)

    def rows(self) -> list[RequestRecord]:
        """Give the ledger's rows, oldest first."""
        return list(reversed(self.run(self.local.store.reports.requests(limit=1000)).rows))

    def newest(self) -> RequestRecord:
        """Give the newest row."""
        return self.run(self.local.store.reports.requests(limit=1)).rows[0]

    def standings(self) -> list[BucketStanding]:
        """Give the buckets of every budget."""

        async def read() -> list[BucketStanding]:
            policy = await self.local.store.policies.current()
            now = self.local.clock.now()
            return list(await self.local.store.reports.standings(policy.budgets, now))

        return self.run(read())

    def open_holds(self) -> int:
        """Count the holds that are not settled yet."""
        query = "SELECT count(*) FROM hold"
        count = self.run(self.local.store.database.read(lambda store: store.execute(query).fetchone()[0]))
        return int(count)

    def wait_until(self, condition: Callable[[Self], bool]) -> None:
        """Block until a new request line makes the condition true. Raises `TimeoutError`."""
        with self._changed:
            if not self._changed.wait_for(lambda: condition(self), WAIT_S):
                raise TimeoutError(f"the gateway has logged {self.log}")

    def settled(self, count: int) -> list[RequestRecord]:
        """Wait until so many requests are over; then there are exactly as many rows, nothing is held and
        the books balance. Gives the rows, oldest first.
        """
        self.wait_until(lambda laptop: len(laptop.log) >= count)
        rows = self.rows()
        assert len(rows) == count == len(self.log), rows
        assert self.open_holds() == 0
        assert [standing.standing.held for standing in self.standings()] == [0] * len(self.standings())
        assert self.drifts() == []
        return rows

    def drifts(self) -> list[str]:
        """Give what the ledger's own audit finds wrong."""
        return list(self.run(self.local.store.reports.verify()))

    def stop(self) -> None:
        """Stop as SIGTERM does: open streams may go on for `drain_s`. Safe to call twice."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(WAIT_S + self._settings.drain_s)
        if self._failure is not None:
            raise self._failure

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(WAIT_S), "the gateway did not start"
        if self._failure is not None:
            raise self._failure
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        drifts = self.drifts() if error is None and self._thread.is_alive() else []
        self.stop()
        assert drifts == []

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._serve())
        except BaseException as failure:
            self._failure = failure
        finally:
            self._listener.close()
            self._ready.set()

    async def _serve(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        self.local = open_local(
            self._settings,
            self._folder,
            environment=self._environment,
            status_of=status_of,
            write_log=self._logged,
        )
        leases = asyncio.create_task(self.local.leases.run())
        try:
            admin = admin_ports(self.local)
            applied = await apply_document(parse_policy(self._policy), admin, actor="test")
            self.keys = {issued.key.name: issued.secret for issued in applied.created_keys}
            with admin_app(admin) as fallback:
                plane = DataPlane(
                    self.local.gateway,
                    self.local.randomness,
                    body_bytes_max=self._settings.max_body_bytes,
                    fallback=fallback,
                )
                await self._serve_until_stopped(plane)
                assert await plane.idle(SETTLE_WITHIN_S)
        finally:
            leases.cancel()
            await self.local.close()

    async def _serve_until_stopped(self, plane: DataPlane) -> None:
        server = _Server(server_config(plane, self._settings), self._ready.set, self._stopping)
        await server.serve(sockets=[self._listener])

    def _logged(self, line: str) -> None:
        with self._changed:
            self.log.append(line)
            self._changed.notify_all()


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: Callable[[], None], stopping: asyncio.Event) -> None:
        super().__init__(config)
        self._ready, self._stopping = ready, stopping

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    async def main_loop(self) -> None:
        """Stop when told to, not at the next tenth of a second."""
        await self.on_tick(0)
        await self._stopping.wait()
