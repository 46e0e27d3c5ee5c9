"""One SQLite file: its connections, its transactions, and what waiting for its lock costs whom."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import sqlite3
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from farebox.adapters.local.sql.migrations import migrate, packaged_migrations
from farebox.domain.errors import StoreFault

Argument = TypeVar("Argument")
Result = TypeVar("Result")
Step = Callable[[sqlite3.Connection], Result]

OLDEST_SQLITE = (3, 38, 0)  # strict tables, RETURNING, and JSON functions in every build
OPEN_TIMEOUT_S = 5.0
LOCK_WAIT_S = 5.0
FIRST_PAUSE_S = 0.0005
LONGEST_PAUSE_S = 0.02
COMMITS_PER_CHECKPOINT = 500

_log = logging.getLogger("farebox.store")


class Database:
    """The hot connection, which never waits on the event loop, and short-lived ones in worker threads."""

    def __init__(self, path: Path, connection: sqlite3.Connection, lock_wait_s: float) -> None:
        self.path = path
        self._lock_wait_s = lock_wait_s
        self._connection = connection
        self._workers = ThreadPoolExecutor(max_workers=2, thread_name_prefix="farebox-store")
        self._jitter = random.Random(os.getpid())
        self._commits = 0
        self._checkpoint: Future[None] | None = None

    @classmethod
    def open(
        cls, path: Path, migrations: tuple[str, ...] | None = None, lock_wait_s: float = LOCK_WAIT_S
    ) -> Database:
        """Open the file, making or upgrading it; only its owner may read it. Raises `StoreFault`."""
        if sqlite3.sqlite_version_info < OLDEST_SQLITE:
            raise StoreFault(
                f"this Python has SQLite {sqlite3.sqlite_version} and 3.38 is the oldest that will do"
            )
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # SQLite gives its -wal and -shm files the mode of the database.
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            connection = connect(path)
        except (OSError, sqlite3.Error) as error:
            raise StoreFault(f"{path} cannot be opened: {error}") from error
        try:
            migrate(connection, packaged_migrations() if migrations is None else migrations)
            connection.execute("PRAGMA wal_autocheckpoint = 0")
            connection.execute("PRAGMA busy_timeout = 0")
        except sqlite3.Error as error:
            connection.close()
            raise StoreFault(f"{path} cannot be opened: {error}") from error
        except BaseException:
            connection.close()
            raise
        return cls(path, connection, lock_wait_s)

    async def write(self, step: Step[Result]) -> Result:
        """Run a step as one transaction on the event loop; whatever it raises undoes all of it.

        While another process writes, this waits without blocking the loop, and after some 5 s raises
        `StoreFault`.
        """
        await self._retrying(self._begin)
        try:
            result = step(self._connection)
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            raise _fault(error) from error
        except OverflowError as error:
            self._roll_back()
            raise StoreFault(f"a number is too large for it: {error}") from error
        except BaseException:
            self._roll_back()
            raise
        self._count_commit()
        return result

    async def look(self, step: Step[Result]) -> Result:
        """Run a short read on the event loop, each statement for itself."""
        return await self._retrying(lambda: step(self._connection))

    async def read(self, step: Step[Result]) -> Result:
        """Run a long read in a worker thread, over one snapshot."""
        return await asyncio.wrap_future(self._submit(self._read, step))

    def close(self) -> None:
        """Finish the reads under way, fold the log in, and let go of the file. Safe to call twice."""
        self._workers.shutdown(wait=True)
        try:
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            _log.debug("no checkpoint at close: %s", error)
        self._connection.close()

    async def _retrying(self, act: Callable[[], Result]) -> Result:
        pause_s, waited_s = FIRST_PAUSE_S, 0.0
        while True:
            try:
                return act()
            except sqlite3.Error as error:
                if not is_busy(error) or waited_s >= self._lock_wait_s:
                    raise _fault(error) from error
            # Jitter, since processes that lost the same race would meet again at the next one.
            nap_s = pause_s * self._jitter.uniform(0.5, 1.5)
            await asyncio.sleep(nap_s)
            waited_s += nap_s
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    def _begin(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _read(self, step: Step[Result]) -> Result:
        try:
            with closing(connect(self.path)) as connection:
                connection.execute("PRAGMA query_only = ON")
                connection.execute("BEGIN")
                return step(connection)
        except sqlite3.Error as error:
            raise _fault(error) from error

    def _count_commit(self) -> None:
        self._commits += 1
        if self._commits >= COMMITS_PER_CHECKPOINT and (self._checkpoint is None or self._checkpoint.done()):
            self._commits = 0
            self._checkpoint = self._submit(self._fold_log, None)

    def _fold_log(self, _: None) -> None:
        # PASSIVE waits for nobody; what a reader still needs stays in the log until the next time.
        try:
            with closing(connect(self.path)) as connection:
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except sqlite3.Error as error:
            _log.warning("the database log could not be folded in: %s", error)

    def _submit(self, work: Callable[[Argument], Result], argument: Argument) -> Future[Result]:
        try:
            return self._workers.submit(work, argument)
        except RuntimeError as error:
            raise StoreFault("it is closed") from error


def connect(path: Path) -> sqlite3.Connection:
    """Open a connection in the mode that every process uses: WAL, and transactions begun by hand only."""
    connection = sqlite3.connect(path, timeout=OPEN_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")
    except BaseException:
        connection.close()
        raise
    return connection


def is_busy(error: sqlite3.Error) -> bool:
    """Say whether only somebody else's lock stood in the way."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _fault(error: sqlite3.Error) -> StoreFault:
    if is_busy(error):
        return StoreFault("another process holds the database lock")
    return StoreFault(f"{getattr(error, 'sqlite_errorname', type(error).__name__)}: {error}")
