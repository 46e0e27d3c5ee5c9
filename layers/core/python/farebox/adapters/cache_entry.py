"""How an answer is written down for the cache: MessagePack inside zlib, the same in every store.

Python has zlib wherever it runs, and zstd only from 3.14 on. Level 1 makes a stream of events ten times
smaller at some 200 MB/s; higher levels take up to three times as long for a tenth less.
"""

from __future__ import annotations

import asyncio
import zlib

import msgspec

from farebox.domain.routing.caching import CacheEntry

# Behind this a level-1 pass takes longer than an event loop should stand still.
INLINE_BYTES_MAX = 65_536
UNPACKED_BYTES_MAX = 64 * 1024 * 1024

_FORMAT = b"fbc1"
_LEVEL = 1
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(CacheEntry).decode


class EntryDamaged(Exception):
    """What was found is not a whole entry of a format that this program knows."""


async def packed(entry: CacheEntry) -> bytes:
    """Write an entry down; a large one in a thread."""
    if len(entry.body) <= INLINE_BYTES_MAX:
        return pack(entry)
    return await asyncio.to_thread(pack, entry)


async def unpacked(data: bytes) -> CacheEntry:
    """Read an entry; a large one in a thread. Raises `EntryDamaged`."""
    if len(data) <= INLINE_BYTES_MAX // 4:
        return unpack(data)
    return await asyncio.to_thread(unpack, data)


def pack(entry: CacheEntry) -> bytes:
    """Write an entry down."""
    return _FORMAT + zlib.compress(_encode(entry), _LEVEL)


def unpack(data: bytes) -> CacheEntry:
    """Read an entry. Every byte is covered by zlib's checksum. Raises `EntryDamaged`."""
    if not data.startswith(_FORMAT):
        raise EntryDamaged("another format")
    inflate = zlib.decompressobj()
    try:
        text = inflate.decompress(memoryview(data)[len(_FORMAT) :], UNPACKED_BYTES_MAX)
        if not inflate.eof or inflate.unused_data:
            raise EntryDamaged("cut, or too large")
        return _decode(text)
    except (zlib.error, msgspec.MsgspecError) as error:
        raise EntryDamaged(str(error)) from error
