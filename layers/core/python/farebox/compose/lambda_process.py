"""The process that Lambda starts through `stream-bootstrap`: finds the function's handler and serves it."""

from __future__ import annotations

import asyncio
import functools
import importlib
import logging
import sys
from collections.abc import Callable, Mapping

from farebox.adapters.clock import SystemClock
from farebox.compose.settings import process_environment
from farebox.domain.errors import ConfigInvalid
from farebox.http.servers.lambda_runtime.api import RuntimeApi
from farebox.http.servers.lambda_runtime.start import OpenApp, run
from farebox.wire.http1 import Http1Transport

API_VARIABLE = "AWS_LAMBDA_RUNTIME_API"
HANDLER_VARIABLE = "_HANDLER"
START_VARIABLE = "AWS_LAMBDA_INITIALIZATION_TYPE"
SNAPSHOT = "snap-start"
RUNTIME_KEEP_S = 86_400.0

try:
    import uvloop

    _new_event_loop: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
except ImportError:  # bundled for a platform that has none
    _new_event_loop = asyncio.new_event_loop


def main() -> None:
    """Serve until Lambda ends the process."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s")
    with asyncio.Runner(loop_factory=_new_event_loop) as runner:
        runner.run(_serve(process_environment()))


async def _serve(environment: Mapping[str, str]) -> None:
    transport = Http1Transport(idle_keep_s=RUNTIME_KEEP_S)
    try:
        await run(
            RuntimeApi(transport, environment[API_VARIABLE]),
            functools.partial(find_handler, environment.get(HANDLER_VARIABLE, "")),
            SystemClock(),
            is_snapshot=environment.get(START_VARIABLE) == SNAPSHOT,
        )
    finally:
        await transport.aclose()


def find_handler(name: str) -> OpenApp:
    """Import what `_HANDLER` names: a module, a dot, a name in it.

    Raises `ConfigInvalid`, and whatever importing the module raises.
    """
    module, _, attribute = name.replace("/", ".").rpartition(".")
    if not module:
        raise ConfigInvalid(HANDLER_VARIABLE, f"'{name}' is not of the form module.handler")
    handler: OpenApp | None = getattr(importlib.import_module(module), attribute, None)
    if handler is None:
        raise ConfigInvalid(HANDLER_VARIABLE, f"module '{module}' has no '{attribute}'")
    return handler


if __name__ == "__main__":
    main()
