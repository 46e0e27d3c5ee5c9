"""AWS event-stream frames: read from bytes that may be cut anywhere, and written.

Source: smithy.io/2.0/aws/amazon-eventstream.html, read 2026-11; held to botocore by a test.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from zlib import crc32

import msgspec

CONTENT_TYPE = b"application/vnd.amazon.eventstream"
HEADERS_BYTES_MAX = 128 * 1024
PAYLOAD_BYTES_MAX = 24 * 1024 * 1024

_PRELUDE = struct.Struct(">III")
_CRC = struct.Struct(">I")
_FRAME_BYTES = _PRELUDE.size + _CRC.size
_SIZED = struct.Struct(">H")
# Values without a length of their own, by type: true, false, byte, short, integer, long, timestamp, UUID.
_FIXED_BYTES = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
_BYTES, _TEXT = 6, 7

FrameHeaders = Mapping[str, str]


class FrameBroken(Exception):
    """What came is no frame: a checksum or a length is wrong. Nothing after it can be read."""


class Frame(msgspec.Struct, frozen=True, gc=False):
    """`headers` are those whose values are text; no other kind is used by the services we speak to."""

    headers: FrameHeaders
    payload: bytes


class FrameReader:
    """Cuts frames out of bytes as they arrive."""

    def __init__(self) -> None:
        self._rest = b""
        self._last: tuple[bytes, FrameHeaders] = b"", {}

    @property
    def is_midway(self) -> bool:
        """Whether a frame has begun and not ended."""
        return bool(self._rest)

    def feed(self, data: bytes) -> list[Frame]:
        """Give the frames that are complete now, also those before a broken one: the next call raises
        `FrameBroken` for that.
        """
        if self._rest:
            data = self._rest + data
        frames: list[Frame] = []
        start, size = 0, len(data)
        try:
            while size - start >= _PRELUDE.size:
                total, headers_bytes, _ = _PRELUDE.unpack_from(data, start)
                headers_start, crc_start = start + _PRELUDE.size, start + total - _CRC.size
                payload_start = headers_start + headers_bytes
                if crc_start + _CRC.size > size or not payload_start <= crc_start:
                    _check_prelude(data, start)
                    break
                # The checksum of a whole frame covers its prelude and that one's own.
                if crc32(data[start:crc_start]) != _CRC.unpack_from(data, crc_start)[0]:
                    raise FrameBroken("the checksum of a frame is wrong")
                headers = self._headers(data, headers_start, payload_start)
                frames.append(Frame(headers, data[payload_start:crc_start]))
                start = crc_start + _CRC.size
        except FrameBroken:
            if not frames:
                raise
        self._rest = data[start:]
        return frames

    def kept(self) -> bytes:
        """Give what is held of an unfinished frame, to be put back by `restore`."""
        return self._rest

    def restore(self, kept: bytes) -> None:
        """Forget what was fed since `kept`."""
        self._rest = kept

    def _headers(self, data: bytes, start: int, end: int) -> FrameHeaders:
        """Read headers, or give those of the last frame where they are the same bytes, as they mostly are."""
        raw, known = self._last
        if end - start != len(raw) or not data.startswith(raw, start):
            raw = data[start:end]
            known = read_headers(raw)
            self._last = raw, known
        return known


def _check_prelude(data: bytes, start: int) -> None:
    """Say whether the end of the frame that begins here may be waited for. Raises `FrameBroken`."""
    total, headers_bytes, prelude_crc = _PRELUDE.unpack_from(data, start)
    if crc32(data[start : start + 8]) != prelude_crc:
        raise FrameBroken("the checksum of a prelude is wrong")
    payload_bytes = total - headers_bytes - _FRAME_BYTES
    if headers_bytes > HEADERS_BYTES_MAX or not 0 <= payload_bytes <= PAYLOAD_BYTES_MAX:
        raise FrameBroken("a length in a prelude is impossible")


def read_headers(raw: bytes) -> FrameHeaders:
    """Read the headers of a frame, passing over values that are not text. Raises `FrameBroken`."""
    headers: dict[str, str] = {}
    at = 0
    try:
        while at < len(raw):
            name_end = at + 1 + raw[at]
            name, kind = raw[at + 1 : name_end].decode(), raw[name_end]
            at = name_end + 1
            if kind in _FIXED_BYTES:
                at += _FIXED_BYTES[kind]
            elif kind in (_BYTES, _TEXT):
                (length,) = _SIZED.unpack_from(raw, at)
                at += _SIZED.size + length
                if kind == _TEXT:
                    headers[name] = raw[at - length : at].decode()
            else:
                raise FrameBroken(f"a header has a value of the unknown type {kind}")
    except (IndexError, struct.error, UnicodeDecodeError) as flaw:
        raise FrameBroken("the headers of a frame cannot be read") from flaw
    if at != len(raw):
        raise FrameBroken("the headers of a frame end too late")
    return headers


def write_headers(headers: FrameHeaders) -> bytes:
    """Write text headers as `write_frame` takes them; names up to 255 bytes, values up to 65,535."""
    written = []
    for name, value in headers.items():
        name_bytes, value_bytes = name.encode(), value.encode()
        written.append(bytes((len(name_bytes),)) + name_bytes)
        written.append(bytes((_TEXT,)) + _SIZED.pack(len(value_bytes)) + value_bytes)
    return b"".join(written)


def write_frame(headers: bytes, payload: bytes) -> bytes:
    """Write one frame with headers from `write_headers`."""
    lengths = struct.pack(">II", _FRAME_BYTES + len(headers) + len(payload), len(headers))
    message = b"".join((lengths, _CRC.pack(crc32(lengths)), headers, payload))
    return message + _CRC.pack(crc32(message))
