"""The local wing as a file: what it keeps, what it refuses, how it is backed up and restored."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from farebox.adapters.local.store import LocalStore, restore
from farebox.domain.errors import StoreFault
from tests.support.builders import (
    NOON,
    a_budget,
    a_hash,
    a_hold,
    a_key,
    a_record,
    a_resource,
    a_secret,
    a_touch,
)
from tests.support.wings import open_store

DAY = a_budget(name="day", limit=100)


def execute(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(statement)


async def fill(store: LocalStore) -> None:
    await store.keys.add_gateway_key(a_key(), a_hash())
    await store.policies.write(upserts=[a_resource()], deletes=[], expected_version=0, actor="root")
    await store.ledger.settle("r1", a_record("r1"), [a_touch(25, budget=DAY)])
    await store.ledger.reserve(a_hold("r2", a_touch(10, budget=DAY)))


async def contents(store: LocalStore) -> tuple[object, ...]:
    return (
        await store.keys.find_gateway_key(a_hash()),
        await store.policies.resources(),
        await store.reports.requests(),
        await store.reports.standings([DAY], NOON),
        await store.reports.audit(),
        await store.ledger.expired_holds(NOON.replace(year=2027)),
    )


async def test_everything_is_there_after_a_restart(store: LocalStore, tmp_path: Path) -> None:
    await fill(store)
    before = await contents(store)
    store.close()
    again = open_store(tmp_path)
    assert await contents(again) == before
    again.close()


async def test_a_policy_written_by_one_process_is_read_by_another(store: LocalStore, tmp_path: Path) -> None:
    other = open_store(tmp_path)
    assert (await other.policies.current()).version == 0
    await store.policies.write(upserts=[a_resource()], deletes=[], expected_version=0, actor="root")
    assert (await other.policies.current()).version == 1
    other.close()


@pytest.mark.parametrize("table", ["ledger", "audit"])
@pytest.mark.parametrize("change", ["UPDATE {} SET sequence = sequence + 1", "DELETE FROM {}"])
async def test_the_ledger_and_the_audit_log_cannot_be_changed(
    store: LocalStore, tmp_path: Path, table: str, change: str
) -> None:
    await fill(store)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        execute(tmp_path / "farebox.db", change.format(table))


async def test_no_secret_is_in_the_file_and_its_hash_is(store: LocalStore, tmp_path: Path) -> None:
    await fill(store)
    await store.keys.add_secret("key_1", a_hash(2), "fb-0000", NOON)
    everything = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    for number in (1, 2):
        assert a_hash(number) in everything
        assert a_secret(number).encode() not in everything


@pytest.mark.parametrize(
    ("tampering", "lines"),
    [
        (
            "UPDATE bucket SET settled = settled + 1",
            ["budget 'day', bucket '', window {}: settled is 26, but ledger rows make 25 (picodollars)"],
        ),
        (
            "UPDATE bucket SET held = 0",
            ["budget 'day', bucket '', window {}: held is 0, but open holds make 10 (picodollars)"],
        ),
        (
            "DELETE FROM bucket",
            [
                "budget 'day', bucket '', window {}: held is 0, but open holds make 10 (picodollars)",
                "budget 'day', bucket '', window {}: settled is 0, but ledger rows make 25 (picodollars)",
            ],
        ),
        (
            "INSERT INTO bucket (budget, unit, bucket, window_key, settled)"
            " VALUES ('day', 'tokens', 'x', 'w', 5)",
            ["budget 'day', bucket 'x', window w: settled is 5, but ledger rows make 0 (tokens)"],
        ),
        ("UPDATE hold SET request_id = 'r1'", ["request r1 is settled and still holds"]),
    ],
)
async def test_a_drift_is_found_and_named(
    store: LocalStore, tmp_path: Path, tampering: str, lines: list[str]
) -> None:
    await fill(store)
    assert await store.reports.verify() == []
    execute(tmp_path / "farebox.db", tampering)
    assert await store.reports.verify() == [line.format("2026-11-23T00:00:00Z") for line in lines]


@pytest.fixture
async def backup(store: LocalStore, tmp_path: Path) -> Path:
    await fill(store)
    target = tmp_path / "backup.db"
    store.backup(target)
    return target


async def test_a_backup_is_one_private_file_with_everything_in_it(
    store: LocalStore, backup: Path, tmp_path: Path
) -> None:
    assert backup.stat().st_mode & 0o777 == 0o600
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"farebox.db", "farebox.db-wal", "farebox.db-shm", "backup.db"}
    before = await contents(store)
    (tmp_path / "other").mkdir()
    restore(backup, tmp_path / "other" / "farebox.db")
    restored = open_store(tmp_path / "other")
    assert await contents(restored) == before
    restored.close()


async def test_a_backup_can_be_made_while_others_write(store: LocalStore, tmp_path: Path) -> None:
    await fill(store)
    touch = a_touch(1, budget=DAY)
    writing = [store.ledger.settle(f"w{number}", a_record(f"w{number}"), [touch]) for number in range(50)]
    await asyncio.gather(asyncio.to_thread(store.backup, tmp_path / "backup.db"), *writing)
    (tmp_path / "other").mkdir()
    restore(tmp_path / "backup.db", tmp_path / "other" / "farebox.db")
    restored = open_store(tmp_path / "other")
    assert await restored.reports.verify() == []
    restored.close()


async def test_a_restore_brings_back_what_was_and_drops_what_came_later(
    store: LocalStore, backup: Path, tmp_path: Path
) -> None:
    before = await contents(store)
    await store.ledger.settle("later", a_record("later"), [a_touch(50, budget=DAY)])
    store.close()
    restore(backup, tmp_path / "farebox.db")
    restored = open_store(tmp_path)
    assert await contents(restored) == before
    assert (tmp_path / "farebox.db").stat().st_mode & 0o777 == 0o600
    restored.close()


async def test_a_restore_under_an_open_store_is_refused(
    store: LocalStore, backup: Path, tmp_path: Path
) -> None:
    before = await contents(store)
    with pytest.raises(StoreFault, match="is in use; stop the gateway first"):
        restore(backup, tmp_path / "farebox.db")
    assert await contents(store) == before
    await store.ledger.void("r2")


async def test_a_log_left_behind_by_a_crash_does_not_leak_into_the_restored_file(
    backup: Path, store: LocalStore, tmp_path: Path
) -> None:
    before = await contents(store)
    await store.ledger.settle("later", a_record("later"), [a_touch(50, budget=DAY)])
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    for suffix in ("", "-wal"):
        (crashed / f"farebox.db{suffix}").write_bytes((tmp_path / f"farebox.db{suffix}").read_bytes())
    restore(backup, crashed / "farebox.db")
    restored = open_store(crashed)
    assert await contents(restored) == before
    restored.close()


async def test_a_damaged_database_is_put_aside_by_a_restore(
    store: LocalStore, backup: Path, tmp_path: Path
) -> None:
    store.close()
    (tmp_path / "farebox.db").write_bytes(b"rubbish" * 2000)
    restore(backup, tmp_path / "farebox.db")
    assert (tmp_path / "farebox.db.damaged").read_bytes() == b"rubbish" * 2000
    restored = open_store(tmp_path)
    assert await restored.keys.find_gateway_key(a_hash()) == a_key()
    restored.close()


async def test_a_log_whose_database_was_deleted_does_not_leak_into_the_restored_file(
    store: LocalStore, backup: Path, tmp_path: Path
) -> None:
    await store.keys.update_gateway_key(a_key(user="later"))
    log = (tmp_path / "farebox.db-wal").read_bytes()
    store.close()
    (tmp_path / "farebox.db").unlink()
    (tmp_path / "farebox.db-wal").write_bytes(log)
    restore(backup, tmp_path / "farebox.db")
    restored = open_store(tmp_path)
    assert await restored.keys.find_gateway_key(a_hash()) == a_key()
    restored.close()


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096 * 12 : 4096 * 13] = b"\xff" * 4096
    path.write_bytes(content)


def make_an_index_lie(path: Path) -> None:
    content = path.read_bytes()
    assert b"platformalice" in content
    path.write_bytes(content.replace(b"platformalice", b"platformalicf", 1))


def empty(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def remove(path: Path) -> None:
    path.unlink()


def make_newer(path: Path) -> None:
    execute(path, "PRAGMA user_version = 99")


def make_foreign(path: Path) -> None:
    execute(path, "PRAGMA application_id = 1")


@pytest.mark.parametrize("spoil", [damage, make_an_index_lie, empty, cut, remove, make_newer, make_foreign])
async def test_what_is_no_sound_backup_is_refused_and_nothing_changes(
    store: LocalStore, backup: Path, tmp_path: Path, spoil: object
) -> None:
    before = await contents(store)
    store.close()
    assert callable(spoil)
    spoil(backup)
    with pytest.raises(StoreFault):
        restore(backup, tmp_path / "farebox.db")
    again = open_store(tmp_path)
    assert await contents(again) == before
    again.close()


def test_a_backup_to_nowhere_is_a_store_fault(store: LocalStore, tmp_path: Path) -> None:
    with pytest.raises(StoreFault, match=r"the backup to .* failed"):
        store.backup(tmp_path / "missing" / "backup.db")


@pytest.fixture(autouse=True)
def no_leftovers(tmp_path: Path) -> Iterator[None]:
    yield
    assert list(tmp_path.rglob("*.unfinished")) == []
