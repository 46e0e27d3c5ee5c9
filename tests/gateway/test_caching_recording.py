"""An answer that is remembered while it passes: nothing is lost, and no more is kept than there is room."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from farebox.gateway.caching.recording import Recording, Room
from farebox.wire.http import Headers


class DivertingAnswer:
    """Offers what arrives to the one who takes it by hand, else gives it when asked."""

    status = 200

    def __init__(self, *pieces: bytes) -> None:
        self.headers: Headers = []
        self.pieces = list(pieces)
        self.take: Callable[[bytes], bool] | None = None
        self.is_aborted = self.is_closed = False

    async def receive(self) -> bytes:
        return self.pieces.pop(0) if self.pieces else b""

    def divert(self, take: Callable[[bytes], bool]) -> None:
        self.take = take

    def arrive(self, piece: bytes) -> None:
        if self.take is None or not self.take(piece):
            self.pieces.append(piece)

    def abort(self) -> None:
        self.is_aborted = True

    async def aclose(self) -> None:
        self.is_closed = True


async def test_what_passes_both_ways_is_remembered_in_its_order() -> None:
    source, room, taken = DivertingAnswer(b"a"), Room(100), list[bytes]()
    recording = Recording(source, room)

    def take(chunk: bytes) -> bool:
        if chunk == b"not me":
            return False
        taken.append(chunk)
        return True

    recording.divert(take)
    assert await recording.receive() == b"a"
    source.arrive(b"b")
    source.arrive(b"not me")
    assert await recording.receive() == b"not me"
    source.arrive(b"c")
    assert await recording.receive() == b""
    assert taken == [b"b", b"c"]
    assert recording.body == b"abnot mec"
    assert room.left_bytes == 100 - 9


@pytest.mark.parametrize(("room_bytes", "bytes_max"), [(5, 100), (100, 5)])
async def test_too_much_is_forgotten_and_passes_all_the_same(room_bytes: int, bytes_max: int) -> None:
    room = Room(room_bytes)
    recording = Recording(DivertingAnswer(b"abc", b"def", b"g"), room, bytes_max=bytes_max)
    assert [await recording.receive() for _ in range(4)] == [b"abc", b"def", b"g", b""]
    assert recording.body is None
    assert room.left_bytes == room_bytes


async def test_the_end_gives_the_room_back_once() -> None:
    source, room = DivertingAnswer(b"abc"), Room(10)
    recording = Recording(source, room)
    await recording.receive()
    recording.abort()
    await recording.aclose()
    await recording.aclose()
    assert (source.is_aborted, source.is_closed, recording.body, room.left_bytes) == (True, True, None, 10)
