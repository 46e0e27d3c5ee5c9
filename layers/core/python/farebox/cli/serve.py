"""`farebox serve`: the gateway on this machine, from first start to the last settled stream."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import uvicorn

from farebox import __version__
from farebox.cli.access.credentials import greeting_lines, prepare_credentials
from farebox.cli.access.offer import offer_of
from farebox.cli.access.probe import is_farebox
from farebox.cli.tables import counted
from farebox.compose.local import LocalGateway, open_local
from farebox.compose.settings import Settings
from farebox.domain.errors import FareboxError
from farebox.http.admin.app import build_admin_app
from farebox.http.admin.apply import Applied, apply_document
from farebox.http.admin.ports import AdminPorts
from farebox.http.data_plane import DataPlane
from farebox.http.errors import status_of
from farebox.http.policy_document import parse_policy_text
from farebox.http.servers.server_protocol import BoundedHttpProtocol
from farebox.wire.shown_text import shown_json

ACTOR = "serve"
SWEEP_EVERY_MS = 15_000
KEEP_ALIVE_S = 120
BACKLOG = 2_048
SETTLE_WITHIN_S = 10
# With this uvicorn 0.54 cancels what is still open when the time is over.
STOP_MESSAGE = "Task cancelled, timeout graceful shutdown exceeded"

try:
    import uvloop

    _new_event_loop: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
except ImportError:  # not on Windows
    _new_event_loop = asyncio.new_event_loop


_log = logging.getLogger("farebox.serve")


class _Server(uvicorn.Server):
    """Announces itself when it is ready, and leaves signals to us: uvicorn would end the process before we
    settle.
    """

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        yield

    def stop(self) -> None:
        """Take no more, let open requests finish, and end."""
        self.should_exit = True


class _MirroredCuts(logging.Filter):
    """A response that we leave without its end is a cut on purpose, not an error."""

    def filter(self, record: logging.LogRecord) -> bool:
        return "without completing response" not in record.getMessage()


class _OurOwnStop(logging.Filter):
    """Says in one line that streams were still open when the time to finish was over.

    uvicorn cancels their tasks then, and would print each as an error of the application.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        if str(record.msg).startswith("Cancel %s running task(s)") and isinstance(record.args, tuple):
            count = int(str(record.args[0]))
            record.levelno, record.levelname = logging.WARNING, "WARNING"
            record.msg, record.args = f"cut {counted(count, 'open request')}: FAREBOX_DRAIN_S is over", ()
        error = record.exc_info[1] if record.exc_info else None
        return not (isinstance(error, asyncio.CancelledError) and error.args == (STOP_MESSAGE,))


class AddressRefused(FareboxError):
    """The address to listen on cannot be had."""


def serve(
    settings: Settings,
    *,
    host: str,
    port: int,
    data: Path,
    config: Path | None,
    environment: dict[str, str],
    claude: str,
) -> None:
    """Serve until SIGTERM or SIGINT, then let open streams finish within `drain_s`.

    `claude` is how `farebox claude` is called for this data directory. Raises `ConfigInvalid`, `StoreFault`
    and `AddressRefused` before anything is served.
    """
    _set_up_logging()
    listener = _listen(host, port)
    with asyncio.Runner(loop_factory=_new_event_loop) as runner:
        runner.run(_serve(settings, listener, host, data, config, environment, claude))


async def _serve(
    settings: Settings,
    listener: socket.socket,
    host: str,
    data: Path,
    config: Path | None,
    environment: dict[str, str],
    claude: str,
) -> None:
    document = parse_policy_text(config.read_bytes()) if config else None
    local = open_local(
        settings,
        data,
        environment=environment,
        status_of=status_of,
        write_log=print_line if settings.log == "json" else None,
    )
    background: Sequence[asyncio.Task[None]] = ()
    try:
        admin = admin_ports(local)
        applied = await apply_document(document, admin, actor=ACTOR) if document else None
        swept = await local.sweeper.sweep()
        base_url = f"http://{_url_host(host)}:{listener.getsockname()[1]}"
        credentials = await prepare_credentials(data, base_url, admin, is_live=is_farebox)
        plane = DataPlane(
            local.gateway,
            local.randomness,
            body_bytes_max=settings.max_body_bytes,
            fallback=build_admin_app(admin),
        )
        server = _Server(server_config(plane, settings), ready=lambda: print_line(f"listening on {base_url}"))
        background = _work_behind(local, server)
        policy = await admin.policies.current()
        offer = offer_of((spec.slug, spec.type, spec.credential) for spec in policy.providers)
        _greet(data, applied, swept, greeting_lines(credentials, base_url, claude, offer))
        await server.serve(sockets=[listener])
        await plane.idle(SETTLE_WITHIN_S)
    finally:
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        await local.close()


def _work_behind(local: LocalGateway, server: _Server) -> Sequence[asyncio.Task[None]]:
    """Start what runs behind the requests. Without all of it the gateway must not go on: it stops then."""

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            _log.error("a background task died; the gateway stops", exc_info=task.exception())
            server.stop()

    tasks = [
        asyncio.create_task(local.leases.run()),
        asyncio.create_task(local.backlog.run()),
        asyncio.create_task(local.sweeper.run(SWEEP_EVERY_MS, local.leases.renew)),
        asyncio.create_task(local.alerts.run(local.events)),
    ]
    for task in tasks:
        task.add_done_callback(ended)
    return tasks


def server_config(plane: DataPlane, settings: Settings) -> uvicorn.Config:
    """Give the HTTP server's settings. Its own headers stay off: the provider's `date` and `server` pass."""
    return uvicorn.Config(
        plane,
        http=BoundedHttpProtocol,
        ws="none",
        proxy_headers=False,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=settings.drain_s,
    )


def admin_ports(local: LocalGateway) -> AdminPorts:
    """Give what the admin plane needs of a wired laptop."""
    return AdminPorts(
        keys=local.store.keys,
        policies=local.store.policies,
        reports=local.store.reports,
        ledger=local.store.ledger,
        breakers=local.store.breakers,
        clock=local.clock,
        randomness=local.randomness,
        metrics=local.metrics.text,
        spending=local.spending,
        prices=local.gateway.prices,
    )


def print_line(line: str) -> None:
    """Write one line, JSON or not, to standard output at once."""
    print(shown_json(line), flush=True)


def _greet(data: Path, applied: Applied | None, swept: int, lines: Iterator[str]) -> None:
    print_line(f"farebox {__version__}, data in {data}")
    if applied is not None:
        for warning in applied.warnings:
            print_line(f"warning: {warning}")
        for issued in applied.created_keys:
            print_line(f"created key {issued.key.workspace}/{issued.key.name} (shown once): {issued.secret}")
    if swept:
        print_line(f"booked {counted(swept, 'request')} that a killed process had left open")
    for line in lines:
        print_line(line)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.getaddrinfo(host, port, family)  # a name that is none is told apart only here
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except socket.gaierror:
        raise AddressRefused(f"'{host}' is no address; --host 127.0.0.1 is this machine alone.") from None
    except OSError as error:
        raise AddressRefused(_why_not(host, port, error)) from None


def _why_not(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} of {host} is taken. Choose another with --port; --port 0 takes any free one."
    if error.errno == errno.EADDRNOTAVAIL:
        return f"This machine has no address {host}; --host 127.0.0.1 is this machine alone."
    if error.errno == errno.EACCES:
        return f"Port {port} is not open to this user. Choose one above 1023 with --port."
    return f"Cannot listen on {host}, port {port}: {os.strerror(error.errno or 0)}."


def _url_host(host: str) -> str:
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{reachable}]" if ":" in reachable else reachable


def _set_up_logging() -> None:
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    log = logging.getLogger("uvicorn.error")
    log.addFilter(_MirroredCuts())
    log.addFilter(_OurOwnStop())
