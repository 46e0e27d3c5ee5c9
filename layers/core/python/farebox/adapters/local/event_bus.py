"""Events within one process: a listener's failure stays with it, and nobody waits for a slow one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeAlias

from farebox.domain.event import Event

Listener: TypeAlias = Callable[[Event], Coroutine[Any, Any, None] | None]

_log = logging.getLogger("farebox.events")


class LocalEventBus:
    """Fills `ports.EventBus`. A plain listener hears an event at once, a coroutine function in a task of its
    own.
    """

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self._listeners = tuple(listeners)
        self._running: set[asyncio.Task[None]] = set()

    async def emit(self, event: Event) -> None:
        """Hand an event on without waiting for anybody."""
        for listener in self._listeners:
            try:
                hearing = listener(event)
            except Exception as error:
                _log_failure(_name(listener), error)
                continue
            if hearing is not None:
                task = asyncio.create_task(hearing, name=_name(listener))
                self._running.add(task)
                task.add_done_callback(self._done)

    async def drain(self) -> None:
        """Wait until everybody has heard what was emitted so far."""
        while self._running:
            await asyncio.wait(self._running)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()):
            _log_failure(task.get_name(), error)


def _log_failure(name: str, error: BaseException) -> None:
    # The type alone: a message may quote what the event carries.
    _log.error("listener %s failed: %s", name, type(error).__name__)


def _name(listener: Listener) -> str:
    return getattr(listener, "__qualname__", type(listener).__name__)
