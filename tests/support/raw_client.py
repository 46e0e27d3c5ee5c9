"""An HTTP/1.1 client with every byte in the test's hands: what it sends, and how an answer is framed."""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

HOST = "127.0.0.1"
WAIT_S = 10.0

Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """An answer as it came. `chunks` are those of the wire; `is_whole` says that its framing ended properly.

    Header names are as they came too; `header` ignores case.
    """

    status: int
    headers: Headers
    chunks: tuple[bytes, ...]
    is_whole: bool

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    def header(self, name: str) -> bytes | None:
        """Give the first value under a name."""
        wanted = name.lower().encode()
        return next((value for key, value in self.headers if key.lower() == wanted), None)

    def json(self) -> Any:
        return json.loads(self.body)


class RawClient:
    """One connection to a gateway, with every byte in the test's hands."""

    def __init__(self, port: int, *, receive_buffer_bytes: int | None = None) -> None:
        self.socket = socket.socket()
        if receive_buffer_bytes is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        self.socket.settimeout(WAIT_S)
        self.socket.connect((HOST, port))
        self._buffer = b""
        self._headers: Headers = []
        self._is_head_request = False

    def send(self, data: bytes) -> None:
        """Send exactly these bytes."""
        self.socket.sendall(data)

    def request(
        self, method: str, target: str, headers: Sequence[tuple[str, str]] = (), body: bytes = b""
    ) -> None:
        """Send a request with a host and, where there is a body, its length."""
        self._is_head_request = method == "HEAD"
        lines = [f"{method} {target} HTTP/1.1", "Host: gateway.example"]
        lines += [f"{name}: {value}" for name, value in headers]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join([*lines, "", ""]).encode("latin-1") + body)

    def read_answer(self) -> RawAnswer:
        """Read one whole answer, or as much as came before the connection ended."""
        self.read_head()
        return self.read_answer_body()

    def read_answer_body(self) -> RawAnswer:
        """Read what `read_head` and `read_chunk` have left of an answer."""
        chunks: list[bytes] = []
        try:
            while chunk := self.read_chunk():
                chunks.append(chunk)
        except ConnectionError:
            return RawAnswer(self._status, self._headers, tuple(chunks), is_whole=False)
        return RawAnswer(self._status, self._headers, tuple(chunks), is_whole=True)

    def read_head(self) -> tuple[int, Headers]:
        """Read status and headers of the next answer. Raises `ConnectionError` when none comes."""
        first, *lines = self._until(b"\r\n\r\n").split(b"\r\n")
        pairs = (line.partition(b":") for line in lines)
        self._headers = [(name, value.strip()) for name, _, value in pairs]
        self._unread_bytes = int(self._header(b"content-length") or 0)
        self._status = int(first.split(b" ")[1])
        return self._status, self._headers

    def read_chunk(self) -> bytes:
        """Read the next chunk (or all of a body with a length); b"" at the proper end.

        Raises `ConnectionError` when the connection ends before that.
        """
        if self._is_head_request:
            return b""
        if self._header(b"transfer-encoding") != b"chunked":
            body, self._unread_bytes = self._exactly(self._unread_bytes), 0
            return body
        size = int(self._until(b"\r\n"), 16)
        chunk = self._exactly(size)
        assert self._exactly(2) == b"\r\n"
        return chunk

    def leave(self) -> None:
        """Hang up."""
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()

    def _header(self, name: bytes) -> bytes | None:
        return next((value for key, value in self._headers if key.lower() == name), None)

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._buffer:
            self._more()
        found, _, self._buffer = self._buffer.partition(mark)
        return found

    def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._more()
        found, self._buffer = self._buffer[:size], self._buffer[size:]
        return found

    def _more(self) -> None:
        piece = self.socket.recv(1 << 20)
        if not piece:
            raise ConnectionError("the gateway hung up")
        self._buffer += piece
