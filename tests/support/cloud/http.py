"""HTTP/1.1 read strictly by hand, so that a sloppy runtime is found out."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass

Headers = list[tuple[str, str]]

_CHUNK_SIZE = re.compile(rb"[0-9a-f]+\r\n").fullmatch
_HEADER = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+): ?([\t\x20-\x7e\x80-\xff]*)").fullmatch


class Flawed(Exception):
    """The other side does not speak as it must. The words say how."""


@dataclass(frozen=True, slots=True)
class Head:
    """A start line and its headers; names in lower case."""

    start: str
    headers: Headers

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]

    def value(self, name: str) -> str | None:
        """Give the only value of a header."""
        values = self.values(name)
        if len(values) > 1:
            raise Flawed(f"{name} is said {len(values)} times")
        return values[0] if values else None


async def read_head(reader: asyncio.StreamReader) -> Head | None:
    """Read up to the empty line; None where the connection ends instead. Raises `Flawed`."""
    try:
        text = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as end:
        if end.partial:
            raise Flawed(f"a head broke off: {end.partial!r}") from None
        return None
    start, *lines = text[:-4].split(b"\r\n")
    return Head(start.decode("ascii"), [_header(line) for line in lines])


async def body_pieces(
    reader: asyncio.StreamReader, head: Head, trailers: Headers | None = None
) -> AsyncIterator[bytes]:
    """Give a body as it comes, a chunk at a time; trailers are added to the list.

    Raises `Flawed`, and `asyncio.IncompleteReadError` where the connection ends first.
    """
    coding, length = head.value("transfer-encoding"), head.value("content-length")
    if coding is None:
        if length and (body := await reader.readexactly(int(length))):
            yield body
        return
    if coding != "chunked" or length is not None:
        raise Flawed(f"transfer-encoding {coding!r} with content-length {length!r}")
    while size := await _chunk_size(reader):
        piece = await reader.readexactly(size)
        if await reader.readexactly(2) != b"\r\n":
            raise Flawed("no line end behind a chunk")
        yield piece
    while (line := await reader.readuntil(b"\r\n")) != b"\r\n":
        if trailers is None:
            raise Flawed(f"a trailer that nobody expects: {line!r}")
        trailers.append(_header(line[:-2]))


async def read_body(reader: asyncio.StreamReader, head: Head) -> bytes:
    """Read a whole body."""
    return b"".join([piece async for piece in body_pieces(reader, head, [])])


def chunk(piece: bytes) -> bytes:
    """Frame one chunk; the empty one is the end."""
    return b"%x\r\n%b\r\n" % (len(piece), piece)


def head_bytes(start: str, headers: Headers) -> bytes:
    """Write a head with its empty line."""
    lines = [start, *(f"{name}: {value}" for name, value in headers), "", ""]
    return "\r\n".join(lines).encode("latin-1")


def whole_answer(status: str, headers: Headers, body: bytes) -> bytes:
    """Write an answer with its length."""
    return head_bytes(f"HTTP/1.1 {status}", [*headers, ("content-length", str(len(body)))]) + body


async def _chunk_size(reader: asyncio.StreamReader) -> int:
    line = await reader.readuntil(b"\r\n")
    if not _CHUNK_SIZE(line):
        raise Flawed(f"not the size of a chunk: {line!r}")
    return int(line, 16)


def _header(line: bytes) -> tuple[str, str]:
    match = _HEADER(line)
    if match is None:
        raise Flawed(f"not a header: {line!r}")
    return match[1].decode("ascii").lower(), match[2].decode("latin-1").strip(" \t")
