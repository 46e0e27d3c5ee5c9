"""Places where a process of its own waits until the test lets it go on: order without sleeps."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from types import TracebackType
from typing import Self

HOST = "127.0.0.1"


class Gates:
    """Gates by name, all shut at first. The process passes one by saying its name and reading a line."""

    def __init__(self) -> None:
        self._reached: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._opened: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._waiting: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def address(self) -> str:
        """Give host and port for the process."""
        assert self._server is not None
        return f"{HOST}:{self._server.sockets[0].getsockname()[1]}"

    async def reached(self, name: str) -> None:
        """Wait until the process stands before the gate."""
        await self._reached[name].wait()

    def is_reached(self, name: str) -> bool:
        """Whether the process has come to the gate."""
        return self._reached[name].is_set()

    def open(self, *names: str) -> None:
        """Let whoever is there, or comes, go on."""
        for name in names:
            self._opened[name].set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, HOST, 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._waiting):
            task.cancel()
        await asyncio.gather(*self._waiting, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._hold(reader, writer))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def _hold(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            name = (await reader.readline()).decode().strip()
            self._reached[name].set()
            await self._opened[name].wait()
            writer.write(b"open\n")
        finally:
            writer.close()
