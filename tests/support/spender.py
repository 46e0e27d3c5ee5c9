"""A process of its own that spends through the ledger, for tests of several processes on one file.

Run as `python -m tests.support.spender MODE PATH NAME COUNT`. It says 'ready' when its store is open, and
starts when a line comes on its standard input. Modes: `reserve` tries COUNT holds of 7 and says how many were
granted; `hold` opens one hold, says 'held' and stays; `spend` holds and settles without end, and says so each
time.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from farebox.adapters.local.store import LocalStore
from tests.support.builders import FixedClock, a_budget, a_hold, a_record, a_touch

DAY = a_budget(name="day", limit=1000)
MONTH = a_budget(name="month", usd=4_000_000, period="month")


async def reserve(store: LocalStore, name: str, count: int) -> None:
    granted = 0
    for number in range(count):
        hold = a_hold(f"{name}-{number}", a_touch(7, budget=MONTH), a_touch(7, budget=DAY))
        granted += await store.ledger.reserve(hold) is None
        await asyncio.sleep(0)
    say(granted)


async def hold(store: LocalStore, name: str) -> None:
    await store.ledger.reserve(a_hold(name, a_touch(7, budget=DAY)))
    say("held")
    sys.stdin.readline()


async def spend(store: LocalStore, name: str) -> None:
    number = 0
    while True:
        number += 1
        request_id = f"{name}-{number}"
        await store.ledger.reserve(a_hold(request_id, a_touch(7, budget=MONTH)))
        await store.ledger.settle(request_id, a_record(request_id), [a_touch(5, budget=MONTH)])
        say(request_id)


def say(what: object) -> None:
    print(what, flush=True)


def main(mode: str, path: str, name: str, count: str) -> None:
    store = LocalStore.open(Path(path), FixedClock())
    say("ready")
    sys.stdin.readline()
    if mode == "reserve":
        asyncio.run(reserve(store, name, int(count)))
    else:
        asyncio.run({"hold": hold, "spend": spend}[mode](store, name))
    store.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
