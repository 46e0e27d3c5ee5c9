"""Cached answers on a laptop: bounded, in files where they are large, and missed where they are damaged."""

import os
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from farebox.adapters.cache_entry import pack
from farebox.adapters.local.sql.cache import LocalResponseCache
from farebox.adapters.local.store import LocalStore
from farebox.domain.errors import StoreFault
from tests.support.builders import NOON, FixedClock, a_cache_entry
from tests.support.wings import open_store

KB = 1_024
SECOND = timedelta(seconds=1)


def a_key(number: int) -> bytes:
    return number.to_bytes(32, "big")


def files(folder: Path) -> list[Path]:
    return sorted((folder / "cache").glob("*"))


async def kept(cache: LocalResponseCache, numbers: range) -> list[int]:
    return [number for number in numbers if await cache.get(a_key(number), NOON) is not None]


async def test_small_answers_are_rows_and_large_ones_files(store: LocalStore, tmp_path: Path) -> None:
    await store.cache.put(a_key(1), a_cache_entry(os.urandom(8 * KB)))
    assert files(tmp_path) == []
    await store.cache.put(a_key(2), a_cache_entry(os.urandom(64 * KB)))
    (file,) = files(tmp_path)
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700


async def test_an_answer_is_written_smaller_than_it_is(store: LocalStore, tmp_path: Path) -> None:
    event = b'event: content_block_delta\ndata: {"type":"content_block_delta","delta":{"text":"%d"}}\n\n'
    await store.cache.put(a_key(1), a_cache_entry(b"".join(event % number for number in range(1_000))))
    with closing(sqlite3.connect(tmp_path / "farebox.db")) as connection:
        ((size,),) = connection.execute("SELECT size_bytes FROM cache_entry").fetchall()
    assert size * 8 < 1_000 * len(event)


async def test_a_large_answer_that_is_replaced_leaves_no_file(store: LocalStore, tmp_path: Path) -> None:
    for _ in range(3):
        await store.cache.put(a_key(1), a_cache_entry(os.urandom(64 * KB)))
        assert len(files(tmp_path)) == 1
    await store.cache.put(a_key(1), a_cache_entry(b"small"))
    assert files(tmp_path) == []


@pytest.mark.parametrize("size", [4 * KB, 64 * KB])
async def test_the_oldest_go_when_there_is_no_room(tmp_path: Path, size: int) -> None:
    with closing(LocalStore.open(tmp_path / "farebox.db", FixedClock(), cache_bytes_max=10 * size)) as store:
        for number in range(20):
            await store.cache.put(
                a_key(number), a_cache_entry(os.urandom(size), stored_at=NOON + number * SECOND)
            )
        assert await kept(store.cache, range(20)) == list(range(11, 20))
        assert len(files(tmp_path)) == (9 if size > 32 * KB else 0)


async def test_what_is_larger_than_all_the_room_is_not_kept(tmp_path: Path) -> None:
    with closing(LocalStore.open(tmp_path / "farebox.db", FixedClock(), cache_bytes_max=10 * KB)) as store:
        assert not await store.cache.put(a_key(1), a_cache_entry(os.urandom(11 * KB)))
        assert await store.cache.get(a_key(1), NOON) is None


async def test_what_is_past_its_time_makes_room_first(tmp_path: Path) -> None:
    with closing(LocalStore.open(tmp_path / "farebox.db", FixedClock(), cache_bytes_max=16 * KB)) as store:
        for number in range(4):
            ends = NOON + (SECOND if number % 2 else 99 * SECOND)
            await store.cache.put(a_key(number), a_cache_entry(os.urandom(3 * KB), expires_at=ends))
        await store.cache.put(a_key(9), a_cache_entry(os.urandom(3 * KB), stored_at=NOON + 2 * SECOND))
        assert await kept(store.cache, range(10)) == [0, 2, 9]


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE cache_entry SET data = substr(data, 1, length(data) / 2)",
        "UPDATE cache_entry SET data = x'00'",
        "UPDATE cache_entry SET data = CAST('fbc1' || 'no zlib' AS BLOB)",
        "UPDATE cache_entry SET data = NULL, file = 'gone'",
    ],
)
async def test_a_damaged_row_is_a_miss_and_can_be_written_over(
    store: LocalStore, tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    entry = a_cache_entry(b"answer" * 100)
    await store.cache.put(a_key(1), entry)
    with closing(sqlite3.connect(tmp_path / "farebox.db", isolation_level=None)) as connection:
        connection.execute(damage)
    assert await store.cache.get(a_key(1), NOON) is None
    assert "cannot be read" in caplog.text
    await store.cache.put(a_key(1), entry)
    assert await store.cache.get(a_key(1), NOON) == entry


@pytest.mark.parametrize("place", [0, 100, -1])
async def test_a_damaged_file_is_a_miss(store: LocalStore, tmp_path: Path, place: int) -> None:
    await store.cache.put(a_key(1), a_cache_entry(os.urandom(64 * KB)))
    (file,) = files(tmp_path)
    data = bytearray(file.read_bytes())
    data[place] ^= 1
    file.write_bytes(data)
    assert await store.cache.get(a_key(1), NOON) is None
    file.write_bytes(data[:-1])
    assert await store.cache.get(a_key(1), NOON) is None


async def test_files_without_a_row_are_cleared_away_when_they_are_old(
    store: LocalStore, tmp_path: Path
) -> None:
    await store.cache.put(a_key(1), a_cache_entry(os.urandom(64 * KB)))
    (mine,) = files(tmp_path)
    young, old = mine.with_name("young"), mine.with_name("old")
    for path, age_s in ((young, 60), (old, 7_200), (mine, 7_200)):
        path.touch()
        os.utime(path, (NOON.timestamp() - age_s,) * 2)
    with closing(open_store(tmp_path)) as other:
        await other.cache.put(a_key(2), a_cache_entry())
        assert files(tmp_path) == sorted([mine, young])


async def test_a_folder_that_cannot_be_made_is_a_fault_of_the_store(
    store: LocalStore, tmp_path: Path
) -> None:
    (tmp_path / "cache").touch()
    with pytest.raises(StoreFault, match="cache"):
        await store.cache.put(a_key(1), a_cache_entry(os.urandom(64 * KB)))


async def test_a_backup_has_no_answers(store: LocalStore, tmp_path: Path) -> None:
    entry = a_cache_entry(os.urandom(KB))
    await store.cache.put(a_key(1), entry)
    canary = pack(entry)[100:200]
    store.backup(tmp_path / "backup.db")
    assert canary in b"".join(path.read_bytes() for path in tmp_path.glob("farebox.db*"))
    assert canary not in (tmp_path / "backup.db").read_bytes()
    with closing(open_store(tmp_path)) as other:
        assert await other.cache.get(a_key(1), NOON) == entry
