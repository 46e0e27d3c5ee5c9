"""The client of the bench: a blocking socket that notes when the first event and the last byte came."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from typing import Self

from tests.bench.payload import http_request

HOST = "127.0.0.1"
WAIT_S = 60.0
FIRST_EVENT = b"event: message_start"
LAST_BYTES = b"0\r\n\r\n"
DELTA = b"event: content_block_delta"


@dataclass(frozen=True, slots=True)
class Timing:
    """Of one request, from its first byte sent."""

    first_event_us: float
    whole_ms: float


class Client:
    """One kept-alive connection to one program."""

    def __init__(self, port: int, key: str, body: bytes, *, deltas: int) -> None:
        self._request = http_request(port, key, body)
        self._deltas = deltas
        self._socket = socket.create_connection((HOST, port), WAIT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up, whatever is still to come."""
        self._socket.close()

    def ask(self) -> Timing:
        """Send the request and read the whole answer, which must be the whole stream."""
        started = time.perf_counter()
        self._socket.sendall(self._request)
        pieces: list[bytes] = []
        first = 0.0
        while True:
            piece = self._piece(pieces)
            pieces.append(piece)
            if not first and FIRST_EVENT in b"".join(pieces):
                first = time.perf_counter()
            if piece.endswith(LAST_BYTES) or b"".join(pieces[-2:]).endswith(LAST_BYTES):
                break
        ended = time.perf_counter()
        self._check(b"".join(pieces))
        return Timing((first - started) * 1e6, (ended - started) * 1e3)

    def open_stream(self, upto: bytes) -> None:
        """Send the request and read until these bytes have come; the stream stays open."""
        self._socket.sendall(self._request)
        text = b""
        while upto not in text:
            text += self._piece([text])

    def _piece(self, before: list[bytes]) -> bytes:
        piece = self._socket.recv(65_536)
        if not piece:
            raise RuntimeError(f"hung up after {b''.join(before)[-400:]!r}")
        return piece

    def _check(self, answer: bytes) -> None:
        if not answer.startswith(b"HTTP/1.1 200") or answer.count(DELTA) != self._deltas:
            raise RuntimeError(f"not the whole stream: {answer[:400]!r}")


def unfinished_answers(port: int) -> int:
    """Ask a source how many of its answers have not come to their end."""
    with socket.create_connection((HOST, port), WAIT_S) as asking:
        asking.sendall(b"GET / HTTP/1.1\r\nHost: source\r\n\r\n")
        text = b""
        while not text.rpartition(b"\r\n\r\n")[2]:
            text += asking.recv(4_096)
    return int(text.rpartition(b"\r\n\r\n")[2])
