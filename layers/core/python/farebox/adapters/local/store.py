"""The whole local wing over one file: opened and closed together, backed up and restored."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from msgspec import Struct

from farebox.adapters.local.keys import LocalKeys
from farebox.adapters.local.ledger import LocalLedger
from farebox.adapters.local.policies import LocalPolicies
from farebox.adapters.local.process import this_process
from farebox.adapters.local.reports import LocalReports
from farebox.adapters.local.sql.breakers import LocalBreakers
from farebox.adapters.local.sql.cache import MAX_BYTES_DEFAULT, LocalResponseCache
from farebox.adapters.local.sql.database import Database, connect, is_busy
from farebox.adapters.local.sql.migrations import check_version, packaged_migrations
from farebox.domain.errors import StoreFault
from farebox.ports import Clock

DATABASE_FILE = "farebox.db"
"""Its name in the data directory."""


class LocalStore(Struct, frozen=True):
    """Keys, policies, ledger, reports, cached answers and circuit breakers of one database file."""

    database: Database
    keys: LocalKeys
    policies: LocalPolicies
    ledger: LocalLedger
    reports: LocalReports
    cache: LocalResponseCache
    breakers: LocalBreakers

    @classmethod
    def open(cls, path: Path, clock: Clock, *, cache_bytes_max: int = MAX_BYTES_DEFAULT) -> LocalStore:
        """Open the database file `path`, making or upgrading it. Several processes may at once.

        Raises `StoreFault`.
        """
        database = Database.open(path)
        return cls(
            database,
            LocalKeys(database, clock),
            LocalPolicies(database, clock),
            LocalLedger(database, this_process()),
            LocalReports(database),
            LocalResponseCache(database, max_bytes=cache_bytes_max),
            LocalBreakers(database),
        )

    def close(self) -> None:
        """Let go of the file. Safe to call twice."""
        self.database.close()

    def backup(self, target: Path) -> None:
        """Copy one consistent state to `target`, readable by its owner only, while others go on writing.
        Cached answers are left out: they are content, and not missed.

        `target` is replaced whole or not at all. Blocks: call it in a thread where a loop runs. Raises
        `StoreFault`.
        """
        try:
            with closing(connect(self.database.path)) as source:
                _copy(source, target, with_answers=False)
        except (OSError, sqlite3.Error) as error:
            raise StoreFault(f"the backup to {target} failed: {error}") from error


def restore(source: Path, path: Path) -> None:
    """Put a backup in the place of the database file `path`, which nobody may have open.

    The backup is checked first (integrity, ours, not newer than this program); an older one is upgraded when
    it is next opened. Raises `StoreFault`, and then `path` is what it was.
    """
    try:
        with closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)) as backup:
            _check(backup, source)
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _detach_log(path)
            _copy(backup, path)
    except (OSError, sqlite3.Error) as error:
        raise StoreFault(f"{source} cannot be restored: {error}") from error


def _copy(source: sqlite3.Connection, target: Path, *, with_answers: bool = True) -> None:
    unfinished = target.with_name(f"{target.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    try:
        os.close(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        with closing(sqlite3.connect(unfinished, isolation_level=None)) as copy:
            source.backup(copy)
            if not with_answers:
                copy.execute("PRAGMA secure_delete = ON")
                copy.execute("DELETE FROM cache_entry")
            # One file, without a log beside it that could be left behind when it is moved.
            copy.execute("PRAGMA journal_mode = DELETE")
        _sync(unfinished)
        unfinished.replace(target)
        _sync(target.parent)
    finally:
        unfinished.unlink(missing_ok=True)


def _check(backup: sqlite3.Connection, source: Path) -> None:
    problems = backup.execute("PRAGMA integrity_check").fetchall()
    if problems != [("ok",)]:
        raise StoreFault(f"{source} is damaged: {problems[0][0]}")
    if check_version(backup, packaged_migrations()) == 0:
        raise StoreFault(f"{source} is empty, not a backup")


def _detach_log(path: Path) -> None:
    """Fold the old database's log in: SQLite would take a log left behind for part of the new one."""
    if path.exists():
        try:
            with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as old:
                old.execute("PRAGMA journal_mode = DELETE")
        except sqlite3.OperationalError as error:
            if is_busy(error):
                raise StoreFault(f"{path} is in use; stop the gateway first") from error
            raise
        except sqlite3.DatabaseError:
            path.replace(path.with_name(f"{path.name}.damaged"))
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
