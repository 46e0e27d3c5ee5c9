"""Whoever reads an answer whole lets go of its connection, however it ends."""

from __future__ import annotations

import pytest

from farebox.domain.errors import UpstreamCut
from farebox.wire.http import Headers, Silence, read_whole


class Answer:
    """Gives its pieces, raising those that are exceptions; then an end."""

    def __init__(self, *pieces: bytes | Exception) -> None:
        self.status = 200
        self.headers: Headers = []
        self.is_closed = False
        self._pieces = list(pieces)

    async def receive(self) -> bytes:
        piece = self._pieces.pop(0) if self._pieces else b""
        if isinstance(piece, Exception):
            raise piece
        return piece

    def abort(self) -> None:
        raise AssertionError("reading whole aborts nothing")

    async def aclose(self) -> None:
        self.is_closed = True


async def test_pieces_are_put_together_over_silences() -> None:
    answer = Answer(b"one ", Silence(), b"two")
    assert (await read_whole(answer), answer.is_closed) == (b"one two", True)


@pytest.mark.parametrize("pieces", [(b"half", UpstreamCut("host", "reset")), (b"12345", b"6")])
async def test_one_that_breaks_off_or_grows_too_large_is_a_cut_and_closed(
    pieces: tuple[bytes | Exception, ...],
) -> None:
    answer = Answer(*pieces)
    with pytest.raises(UpstreamCut):
        await read_whole(answer, "host", bytes_max=5)
    assert answer.is_closed
