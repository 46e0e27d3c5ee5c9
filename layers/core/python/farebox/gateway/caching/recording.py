"""An answer that is remembered while it passes, within bounds."""

from __future__ import annotations

from collections.abc import Callable

from farebox.wire.http import Diverting, Headers, HttpAnswer

ENTRY_BYTES_MAX = 8 * 1024 * 1024
ROOM_BYTES = 64 * 1024 * 1024


class Room:
    """The memory of one process for answers that are remembered or being stored, in bytes."""

    def __init__(self, room_bytes: int = ROOM_BYTES) -> None:
        self.left_bytes = room_bytes

    def take(self, count: int) -> bool:
        """Take some of it, if there is as much."""
        if count > self.left_bytes:
            return False
        self.left_bytes -= count
        return True

    def give_back(self, count: int) -> None:
        """Give back what was taken."""
        self.left_bytes += count


class Recording:
    """An `HttpAnswer` whose bytes pass as they come. `body` is all of them, None once they were too many."""

    def __init__(self, source: HttpAnswer, room: Room, *, bytes_max: int = ENTRY_BYTES_MAX) -> None:
        self.status: int = source.status
        self.headers: Headers = source.headers
        self._source, self._room, self._bytes_max = source, room, bytes_max
        self._pieces: list[bytes] | None = []
        self._size = 0

    @property
    def body(self) -> bytes | None:
        """Everything that has passed, or None where it was too much."""
        return None if self._pieces is None else b"".join(self._pieces)

    async def receive(self) -> bytes:
        """Give the next bytes as they came."""
        piece = await self._source.receive()
        self._note(piece)
        return piece

    def divert(self, take: Callable[[bytes], bool]) -> None:
        """Let bytes by that need no task, and remember those that were taken."""

        def take_and_note(chunk: bytes) -> bool:
            is_taken = take(chunk)
            if is_taken:
                self._note(chunk)
            return is_taken

        if isinstance(self._source, Diverting):
            self._source.divert(take_and_note)

    def abort(self) -> None:
        """Drop the connection."""
        self._source.abort()

    async def aclose(self) -> None:
        """Forget what has passed, and let the source go."""
        self.forget()
        await self._source.aclose()

    def forget(self) -> None:
        """Let go of what was remembered, and remember nothing more."""
        self._pieces = None
        self._room.give_back(self._size)
        self._size = 0

    def _note(self, piece: bytes) -> None:
        if self._pieces is None or not piece:
            return
        if self._size + len(piece) > self._bytes_max or not self._room.take(len(piece)):
            self.forget()
            return
        self._size += len(piece)
        self._pieces.append(piece)
