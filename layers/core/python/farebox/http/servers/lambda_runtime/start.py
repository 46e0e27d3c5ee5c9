"""The life of an environment: from its start, or its snapshot, to the signal that ends it."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any

from farebox.http.data_plane import App
from farebox.http.servers.lambda_runtime.api import RuntimeApi, failure_of
from farebox.http.servers.lambda_runtime.loop import serve
from farebox.ports import Clock

OpenApp = Callable[[], AbstractAsyncContextManager[App]]
"""What the function's handler is: leaving it closes what the app has opened."""


async def run(api: RuntimeApi, find_app: Callable[[], OpenApp], clock: Clock, *, is_snapshot: bool) -> None:
    """Start the app and serve until SIGTERM. What goes wrong in the start is told to Lambda and raised.

    With `is_snapshot` the app's code is loaded before the snapshot, and opened behind it: no two environments
    share sockets, credentials or what must be random.
    """
    fail = api.fail_init
    async with AsyncExitStack() as opened:
        try:
            open_app = find_app()
            if is_snapshot:
                await api.wait_for_restore()
                fail = api.fail_restore
            app = await opened.enter_async_context(open_app())
        except Exception as error:
            await fail(failure_of(error))
            raise
        await _until_stopped(serve(api, app, clock))


async def _until_stopped(serving: Coroutine[Any, Any, None]) -> None:
    task = asyncio.ensure_future(serving)
    # What was made so far lives as long as the process: no collection need look at it again.
    gc.freeze()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        return
