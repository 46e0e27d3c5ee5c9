"""Which version of the schema a file has, and how it becomes the one this program knows."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from importlib import resources

from farebox.domain.errors import StoreFault

APPLICATION_ID = 0x66726278  # "frbx": tells a farebox database from any other SQLite file
LOCK_TRIES = 100
LOCK_PAUSE_S = 0.05

SCRIPTS = (
    "schema.sql",
    "sql/scripts/0002_rate_limits.sql",
    "sql/scripts/0003_thresholds.sql",
    "sql/scripts/0004_cache.sql",
    "sql/scripts/0005_breakers.sql",
)
"""Script n brings a file from version n-1 to n; the first starts from nothing. Never edited once released."""


def packaged_migrations() -> tuple[str, ...]:
    """Read the scripts that came with this program."""
    folder = resources.files("farebox.adapters.local")
    return tuple(folder.joinpath(name).read_text(encoding="utf-8") for name in SCRIPTS)


def migrate(connection: sqlite3.Connection, migrations: tuple[str, ...]) -> None:
    """Bring the file to the newest version in one transaction: killed half-way, it is what it was before.

    Raises `StoreFault` for a file that is newer than this program or is not farebox's.
    """
    _use_write_ahead_log(connection)
    if check_version(connection, migrations) == len(migrations):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Asked again under the lock: another process may have been quicker.
        for number in range(check_version(connection, migrations), len(migrations)):
            for statement in statements(migrations[number]):
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(migrations)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def check_version(connection: sqlite3.Connection, migrations: tuple[str, ...]) -> int:
    """Give the file's version, 0 for an empty file. Raises `StoreFault` for one that cannot be used here."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if tables and application != APPLICATION_ID:
        raise StoreFault("this SQLite file is not a farebox database")
    if version > len(migrations):
        raise StoreFault(
            f"the database has version {version} and this farebox knows {len(migrations)} at most; "
            "run the farebox that wrote it, or a newer one"
        )
    return int(version)


def statements(script: str) -> Iterator[str]:
    """Give the statements of a script one by one, triggers whole."""
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            yield pending
            pending = ""
    if pending.strip():
        raise ValueError("a migration ends in the middle of a statement")


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    # Changing the mode answers "locked" at once, despite the busy timeout, while another process does so.
    for _ in range(LOCK_TRIES):
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                raise
            time.sleep(LOCK_PAUSE_S)
        else:
            return
    raise StoreFault("another process holds the database lock")
