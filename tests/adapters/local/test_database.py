"""One file under transactions: waiting, failing, upgrading, folding its log."""

import asyncio
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from farebox.adapters.local.sql.database import COMMITS_PER_CHECKPOINT, Database
from farebox.adapters.local.sql.migrations import packaged_migrations, statements
from farebox.domain.errors import StoreFault

NOTES = "CREATE TABLE note (text TEXT NOT NULL) STRICT;\nINSERT INTO note VALUES ('first');\n"
MORE = "ALTER TABLE note ADD COLUMN length INTEGER;\nUPDATE note SET length = length(text);\n"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database.open(tmp_path / "x.db", (NOTES,), lock_wait_s=0.01)
    yield opened
    opened.close()


def texts(connection: sqlite3.Connection) -> list[str]:
    return [text for (text,) in connection.execute("SELECT text FROM note ORDER BY rowid")]


def write(connection: sqlite3.Connection) -> int:
    return connection.execute("INSERT INTO note VALUES ('next')").rowcount


async def test_what_a_step_raises_undoes_the_whole_step(database: Database) -> None:
    def step(connection: sqlite3.Connection) -> None:
        write(connection)
        raise KeyError("x")

    with pytest.raises(KeyError):
        await database.write(step)
    assert await database.read(texts) == ["first"]
    assert await database.write(write) == 1


async def test_what_sqlite_refuses_is_a_store_fault_and_is_undone(database: Database) -> None:
    def step(connection: sqlite3.Connection) -> None:
        write(connection)
        connection.execute("INSERT INTO note VALUES (NULL)")

    with pytest.raises(StoreFault, match="SQLITE_CONSTRAINT_NOTNULL"):
        await database.write(step)
    assert await database.look(texts) == ["first"]


async def test_a_number_that_sqlite_cannot_hold_is_a_store_fault_and_is_undone(database: Database) -> None:
    def step(connection: sqlite3.Connection) -> None:
        write(connection)
        connection.execute("INSERT INTO note VALUES (?)", (2**63,))

    with pytest.raises(StoreFault, match="a number is too large"):
        await database.write(step)
    assert await database.look(texts) == ["first"]


async def test_a_writer_waits_for_another_process_without_blocking_the_loop(tmp_path: Path) -> None:
    database = Database.open(tmp_path / "x.db", (NOTES,))
    with closing(sqlite3.connect(tmp_path / "x.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        waiting = asyncio.create_task(database.write(write))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not waiting.done()
        assert await database.look(texts) == ["first"]
        other.execute("ROLLBACK")
        assert await waiting == 1
    assert await database.read(texts) == ["first", "next"]
    database.close()


async def test_a_lock_that_is_never_given_up_is_a_store_fault(database: Database, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "x.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreFault, match="another process holds the database lock"):
            await database.write(write)
    assert await database.write(write) == 1


async def test_a_read_cannot_write(database: Database) -> None:
    with pytest.raises(StoreFault, match="readonly"):
        await database.read(write)


async def test_a_read_sees_one_state_while_others_write(database: Database) -> None:
    loop = asyncio.get_running_loop()

    def step(connection: sqlite3.Connection) -> tuple[list[str], list[str]]:
        before = texts(connection)
        asyncio.run_coroutine_threadsafe(database.write(write), loop).result(timeout=10)
        return before, texts(connection)

    assert await database.read(step) == (["first"], ["first"])
    assert await database.read(texts) == ["first", "next"]


async def test_a_closed_database_is_a_store_fault(database: Database) -> None:
    database.close()
    database.close()
    for call in (database.write(write), database.look(texts), database.read(texts)):
        with pytest.raises(StoreFault):
            await call


async def test_the_log_is_folded_in_after_many_commits(database: Database, tmp_path: Path) -> None:
    for _ in range(COMMITS_PER_CHECKPOINT):
        await database.write(write)
    assert database._checkpoint is not None
    await asyncio.wrap_future(database._checkpoint)
    # Immutable: SQLite then reads the database alone and ignores the log beside it.
    with closing(sqlite3.connect(f"file:{tmp_path}/x.db?immutable=1", uri=True)) as alone:
        assert len(texts(alone)) == COMMITS_PER_CHECKPOINT + 1


async def test_closing_leaves_one_file(database: Database, tmp_path: Path) -> None:
    await database.write(write)
    database.close()
    assert [path.name for path in tmp_path.iterdir()] == ["x.db"]


def test_only_the_owner_may_read_the_files(database: Database, tmp_path: Path) -> None:
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == {"x.db": 0o600, "x.db-wal": 0o600, "x.db-shm": 0o600}


def test_a_missing_folder_is_made_for_its_owner(tmp_path: Path) -> None:
    Database.open(tmp_path / "data" / "x.db", (NOTES,)).close()
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700


async def test_an_upgrade_keeps_what_was_stored(database: Database, tmp_path: Path) -> None:
    await database.write(write)
    database.close()
    upgraded = Database.open(tmp_path / "x.db", (NOTES, MORE))
    rows = await upgraded.read(lambda connection: connection.execute("SELECT * FROM note").fetchall())
    upgraded.close()
    assert rows == [("first", 5), ("next", 4)]


async def test_a_failed_upgrade_leaves_the_file_as_it_was(database: Database, tmp_path: Path) -> None:
    database.close()
    with pytest.raises(StoreFault, match="no such table"):
        Database.open(tmp_path / "x.db", (NOTES, MORE + "DELETE FROM nowhere;"))
    again = Database.open(tmp_path / "x.db", (NOTES,))
    assert await again.read(texts) == ["first"]
    again.close()


async def test_a_crash_during_an_upgrade_leaves_the_file_as_it_was(
    database: Database, tmp_path: Path
) -> None:
    database.close()
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    with closing(sqlite3.connect(tmp_path / "x.db", isolation_level=None)) as dying:
        dying.execute("PRAGMA cache_size = 1")
        dying.execute("BEGIN IMMEDIATE")
        for statement in statements(MORE):
            dying.execute(statement)
        dying.execute("INSERT INTO note SELECT hex(zeroblob(100000)), 1 FROM (VALUES (1), (2), (3))")
        for path in tmp_path.glob("x.db*"):
            shutil.copy(path, crashed)
        dying.execute("ROLLBACK")
    assert (crashed / "x.db-wal").stat().st_size > 0
    upgraded = Database.open(crashed / "x.db", (NOTES, MORE))
    rows = await upgraded.read(lambda connection: connection.execute("SELECT * FROM note").fetchall())
    upgraded.close()
    assert rows == [("first", 5)]


def test_a_newer_database_is_refused(database: Database, tmp_path: Path) -> None:
    database.close()
    Database.open(tmp_path / "x.db", (NOTES, MORE)).close()
    with pytest.raises(StoreFault, match="has version 2 and this farebox knows 1 at most"):
        Database.open(tmp_path / "x.db", (NOTES,))


def test_a_database_of_another_program_is_refused(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "x.db")) as other:
        other.execute("CREATE TABLE theirs (x)")
    with pytest.raises(StoreFault, match="not a farebox database"):
        Database.open(tmp_path / "x.db")
    with closing(sqlite3.connect(tmp_path / "x.db")) as other:
        assert other.execute("SELECT name FROM sqlite_schema").fetchall() == [("theirs",)]


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"not a database" * 1000)
    with pytest.raises(StoreFault, match="file is not a database"):
        Database.open(tmp_path / "x.db")


def test_a_folder_that_cannot_be_made_is_a_store_fault(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreFault, match="cannot be opened"):
        Database.open(tmp_path / "file" / "x.db")


def test_a_script_falls_into_its_statements_triggers_whole() -> None:
    trigger = "CREATE TRIGGER t BEFORE DELETE ON note\nBEGIN SELECT RAISE(ABORT, 'no; never'); END;\n"
    assert list(statements(NOTES + trigger)) == [*NOTES.splitlines(keepends=True), trigger]


def test_a_script_that_breaks_off_is_noticed() -> None:
    with pytest.raises(ValueError, match="in the middle of a statement"):
        list(statements("CREATE TABLE note (text TEXT)"))


def test_every_packaged_script_is_whole() -> None:
    assert all(list(statements(script)) for script in packaged_migrations())
