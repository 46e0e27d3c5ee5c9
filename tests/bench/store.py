"""The row about money: admitting and settling one request in SQLite, beside one look-up of a key."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from farebox.adapters.clock import SystemClock
from farebox.adapters.local.store import LocalStore
from farebox.domain.budget import Touch
from farebox.domain.record import RequestRecord
from farebox.ports import Hold
from tests.bench.report import Row
from tests.support.builders import a_budget, a_hash, a_hold, a_key, a_record, a_scope, a_touch

AMOUNT = 600_000_000
ROUNDS = 10


def store_rows(folder: Path, *, quick: bool) -> list[Row]:
    """Measure CPU, not time: a shared disk would be most of it. Two budgets and a key, as in the others."""
    admit_us, lookup_us = asyncio.run(_measured(folder, 100 if quick else 1_000))
    return [
        Row(
            "CPU, SQLite admit + settle",
            "us a request, two transactions on two budgets, WAL with synchronous NORMAL",
            admit_us,
            floor_name="key look-up",
            floor=lookup_us,
        )
    ]


async def _measured(folder: Path, requests: int) -> tuple[float, float]:
    store = LocalStore.open(folder / "bench.sqlite3", SystemClock())
    try:
        await store.keys.add_gateway_key(a_key(), a_hash())

        key_hash, touches = a_hash(), _touches()
        # Made beforehand: what the values cost is not the store's.
        prepared = [_prepared(f"req_{number}", touches) for number in range(ROUNDS * requests)]

        async def look_up(_: int) -> None:
            await store.keys.find_gateway_key(key_hash)

        async def admit_and_settle(number: int) -> None:
            hold, record = prepared[number]
            await _admit_and_settle(store, hold, record)

        return (
            await _median_us(admit_and_settle, requests),
            await _median_us(look_up, requests),
        )
    finally:
        store.close()


def _touches() -> tuple[Touch, ...]:
    wide = a_budget(name="month", usd=100_000, period="month", scope=a_scope(workspace="platform"))
    narrow = a_budget(name="key-day", usd=50_000, scope=a_scope(key="*"))
    return a_touch(AMOUNT, budget=wide), a_touch(AMOUNT, budget=narrow, bucket="alice")


def _prepared(request_id: str, touches: Sequence[Touch]) -> tuple[Hold, RequestRecord]:
    return a_hold(request_id, *touches), a_record(request_id)


async def _admit_and_settle(store: LocalStore, hold: Hold, record: RequestRecord) -> None:
    shortage = await store.ledger.reserve(hold)
    if shortage is not None:
        raise RuntimeError(f"refused: {shortage}")
    await store.ledger.settle(record.id, record, hold.touches)


async def _median_us(act: Callable[[int], Awaitable[None]], requests: int) -> float:
    """Give the CPU of one act, of the whole process, as the median over the rounds but the first."""
    spent: list[float] = []
    for turn in range(ROUNDS):
        started = time.process_time_ns()
        for number in range(turn * requests, (turn + 1) * requests):
            await act(number)
        spent.append((time.process_time_ns() - started) / 1_000 / requests)
    return statistics.median(spent[1:])
