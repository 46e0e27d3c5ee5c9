"""Answers kept in SQLite, large ones in files beside it, never more of them than a number of bytes."""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

from farebox.adapters.cache_entry import EntryDamaged, packed, unpacked
from farebox.adapters.local.sql.codec import microseconds
from farebox.adapters.local.sql.database import Database
from farebox.domain.errors import StoreFault
from farebox.domain.routing.caching import CacheEntry

Argument = TypeVar("Argument")
Result = TypeVar("Result")

INLINE_BYTES_MAX = 32_768
"""Larger ones would swell the database and its log."""

MAX_BYTES_DEFAULT = 268_435_456
# Room is made each time another sixteenth was written: so much more there may be for a moment.
_PARTS = 16
_VICTIMS_AT_ONCE = 500
# A file without a row may be one whose row is just about to be written.
_ORPHAN_AGE_S = 3_600

_GET = "SELECT data, file FROM cache_entry WHERE key = ? AND expires_at_us > ?"
_FILE = "SELECT file FROM cache_entry WHERE key = ? AND file IS NOT NULL"
_PUT = """
    INSERT INTO cache_entry (key, stored_at_us, expires_at_us, size_bytes, file, data)
    VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (key) DO UPDATE SET stored_at_us = excluded.stored_at_us,
        expires_at_us = excluded.expires_at_us, size_bytes = excluded.size_bytes, file = excluded.file,
        data = excluded.data
"""
_DROP = "DELETE FROM cache_entry WHERE key = ? AND stored_at_us = ?"
_EXPIRED = "SELECT key, stored_at_us, file FROM cache_entry WHERE expires_at_us <= ?"
_OLDEST = """
    SELECT key, stored_at_us, file FROM
        (SELECT key, stored_at_us, file, sum(size_bytes) OVER (ORDER BY stored_at_us DESC, key) AS total
         FROM cache_entry)
    WHERE total > ?
"""

_log = logging.getLogger("farebox.cache")


class LocalResponseCache:
    """Fills `ports.ResponseCache`. When there is no room the entries go that were stored first."""

    def __init__(self, database: Database, *, max_bytes: int = MAX_BYTES_DEFAULT) -> None:
        self._database, self._max_bytes = database, max_bytes
        self._folder = database.path.parent / "cache"
        self._unchecked_bytes: int | None = None
        """What was written since room was made; None until it has been the first time."""

    async def get(self, key: bytes, now: datetime) -> CacheEntry | None:
        """Give what is kept under a key and not past its time."""
        arguments = (key, microseconds(now))
        row = await self._database.look(lambda connection: connection.execute(_GET, arguments).fetchone())
        if row is None:
            return None
        data, file = row
        try:
            if file is not None:
                data = await asyncio.to_thread((self._folder / file).read_bytes)
            return await unpacked(data)
        except (OSError, EntryDamaged) as problem:
            _log.warning("a cached answer cannot be read: %s", problem)
            return None

    async def put(self, key: bytes, entry: CacheEntry) -> bool:
        """Keep an entry in the place of an older one."""
        data = await packed(entry)
        if len(data) > self._max_bytes:
            return False
        file = None
        if len(data) > INLINE_BYTES_MAX:
            file = await self._in_thread(_written, (self._folder, data))
        times = (microseconds(entry.stored_at), microseconds(entry.expires_at))
        row = (key, *times, len(data), file, None if file else data)

        def step(connection: sqlite3.Connection) -> list[str]:
            old = connection.execute(_FILE, (key,)).fetchall()
            connection.execute(_PUT, row)
            return [name for (name,) in old]

        await self._forget(await self._database.write(step))
        await self._make_room(len(data), entry.stored_at)
        return True

    async def _make_room(self, size_bytes: int, now: datetime) -> None:
        """Take away what is past its time, and of the rest the oldest beyond the bound."""
        is_first = self._unchecked_bytes is None
        self._unchecked_bytes = (self._unchecked_bytes or 0) + size_bytes
        if not is_first and self._unchecked_bytes * _PARTS < self._max_bytes:
            return
        self._unchecked_bytes = 0
        await self._drop(_EXPIRED, microseconds(now))
        await self._drop(_OLDEST, self._max_bytes)
        if is_first:
            await self._forget(await self._database.read(lambda connection: self._orphans(connection, now)))

    async def _drop(self, choice: str, bound: int) -> None:
        found: list[tuple[bytes, int, str | None]] = await self._database.read(
            lambda connection: connection.execute(choice, (bound,)).fetchall()
        )
        for start in range(0, len(found), _VICTIMS_AT_ONCE):
            rows = [(key, stored_at_us) for key, stored_at_us, _ in found[start : start + _VICTIMS_AT_ONCE]]
            await self._database.write(partial(_delete, rows))
        await self._forget(file for _, _, file in found if file is not None)

    def _orphans(self, connection: sqlite3.Connection, now: datetime) -> list[str]:
        """Find files whose process died before it wrote their row, or after it took the row away."""
        if not self._folder.is_dir():
            return []
        files = connection.execute("SELECT file FROM cache_entry WHERE file IS NOT NULL")
        known = {file for (file,) in files}
        old = now.timestamp() - _ORPHAN_AGE_S
        return [
            path.name
            for path in self._folder.iterdir()
            if path.name not in known and path.stat().st_mtime < old
        ]

    async def _forget(self, files: Iterable[str]) -> None:
        paths = [self._folder / file for file in files]
        if paths:
            await self._in_thread(_unlink, paths)

    async def _in_thread(self, act: Callable[[Argument], Result], argument: Argument) -> Result:
        try:
            return await asyncio.to_thread(act, argument)
        except OSError as error:
            raise StoreFault(f"{self._folder}: {error}") from error


def _written(content: tuple[Path, bytes]) -> str:
    """Write a file of a name that nobody else has, so that each belongs to one row alone."""
    folder, data = content
    folder.mkdir(mode=0o700, exist_ok=True)
    descriptor, path = tempfile.mkstemp(dir=folder, prefix="answer.")
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    return Path(path).name


def _unlink(paths: list[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _delete(rows: list[tuple[bytes, int]], connection: sqlite3.Connection) -> None:
    connection.executemany(_DROP, rows)
