"""Events within one process: listeners run behind the request, and their failures stay with them."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from farebox.domain.event import Event

Listener: TypeAlias = Callable[[Event], Awaitable[None] | None]

_log = logging.getLogger("farebox.events")


class LocalEventBus:
    """Fills `ports.EventBus`. Each listener gets each event in a task of its own."""

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self._listeners = tuple(listeners)
        self._running: set[asyncio.Task[None]] = set()

    async def emit(self, event: Event) -> None:
        """Hand an event on without waiting for anybody."""
        for listener in self._listeners:
            task = asyncio.create_task(_tell(listener, event), name=_name(listener))
            self._running.add(task)
            task.add_done_callback(self._done)

    async def drain(self) -> None:
        """Wait until everybody has heard what was emitted so far."""
        while self._running:
            await asyncio.wait(self._running)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()):
            # The type alone: a message may quote what the event carries.
            _log.error("listener %s failed: %s", task.get_name(), type(error).__name__)


async def _tell(listener: Listener, event: Event) -> None:
    answer = listener(event)
    if inspect.isawaitable(answer):
        await answer


def _name(listener: Listener) -> str:
    return getattr(listener, "__qualname__", type(listener).__name__)
