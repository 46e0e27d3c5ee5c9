"""Several processes on one file, and processes that are killed."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from farebox.adapters.local.process import ProcessToken, is_known_dead, this_process, token_of
from farebox.domain.budget import Standing
from farebox.domain.record import Outcome
from tests.support.builders import NOON, a_hold, a_touch
from tests.support.spender import DAY, MONTH
from tests.support.wings import open_store

ROOT = Path(__file__).parents[3]
Spender = subprocess.Popen[str]
Start = Callable[..., Spender]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start spenders; whatever is left of them goes with the test."""
    started: list[Spender] = []

    def start(mode: str, name: str, count: int = 0) -> Spender:
        arguments = [mode, str(tmp_path / "farebox.db"), name, str(count)]
        command = [sys.executable, "-m", "tests.support.spender", *arguments]
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=ROOT))
        return started[-1]

    yield start
    for spender in started:
        spender.kill()
        spender.communicate()


def heard(spender: Spender) -> str:
    assert spender.stdout is not None
    return spender.stdout.readline().strip()


def go(spender: Spender) -> None:
    assert spender.stdin is not None
    spender.stdin.write("go\n")
    spender.stdin.flush()


def kill(spender: Spender) -> None:
    spender.kill()
    spender.wait()


async def test_eight_processes_share_a_limit_exactly(start: Start, tmp_path: Path) -> None:
    await share_a_limit(start, tmp_path, tries=40)


@pytest.mark.proof
async def test_eight_processes_share_a_limit_exactly_at_length(start: Start, tmp_path: Path) -> None:
    await share_a_limit(start, tmp_path, tries=3000)


async def share_a_limit(start: Start, tmp_path: Path, *, tries: int) -> None:
    spenders = [start("reserve", f"p{number}", tries) for number in range(8)]
    assert [heard(spender) for spender in spenders] == ["ready"] * 8
    for spender in spenders:
        go(spender)
    assert sum(int(heard(spender)) for spender in spenders) == DAY.limit // 7
    store = open_store(tmp_path)
    found = await store.reports.standings([DAY, MONTH], NOON)
    assert [row.standing for row in found] == [Standing(0, 994)] * 2
    assert await store.reports.verify() == []
    store.close()


async def test_the_hold_of_a_killed_process_is_found_at_once_and_booked(start: Start, tmp_path: Path) -> None:
    spender = start("hold", "orphan")
    go(spender)
    assert [heard(spender), heard(spender)] == ["ready", "held"]
    store = open_store(tmp_path)
    await store.ledger.reserve(a_hold("mine", a_touch(1, budget=DAY)))
    assert await store.ledger.expired_holds(NOON) == []
    kill(spender)
    orphan = a_hold("orphan", a_touch(7, budget=DAY))
    assert await store.ledger.expired_holds(NOON) == [orphan]
    await store.ledger.settle("orphan", orphan.draft, orphan.touches)
    assert await store.ledger.expired_holds(NOON) == []
    assert [row.standing for row in await store.reports.standings([DAY], NOON)] == [Standing(7, 1)]
    assert [record.outcome for record in (await store.reports.requests()).rows] == [Outcome.EXPIRED]
    assert await store.reports.verify() == []
    store.close()


@pytest.mark.parametrize("requests_before_the_kill", [1, 3, 40])
async def test_a_process_killed_while_it_spends_leaves_sums_that_are_right(
    start: Start, tmp_path: Path, requests_before_the_kill: int
) -> None:
    spender = start("spend", "s")
    go(spender)
    for _ in range(1 + requests_before_the_kill):
        heard(spender)
    kill(spender)
    store = open_store(tmp_path)
    left = await store.ledger.expired_holds(NOON)
    settled = len((await store.reports.requests(limit=100_000)).rows)
    assert settled >= requests_before_the_kill
    assert len(left) <= 1
    assert [row.standing for row in await store.reports.standings([MONTH], NOON)] == [
        Standing(settled=5 * settled, held=7 * len(left))
    ]
    assert await store.reports.verify() == []
    store.close()


def test_this_process_is_alive() -> None:
    assert not is_known_dead(this_process(), this_process())


def test_a_process_that_ended_is_known_dead(start: Start) -> None:
    spender = start("hold", "x")
    heard(spender)
    token = replace(this_process(), pid=spender.pid, started="")
    assert not is_known_dead(token, this_process())
    kill(spender)
    assert is_known_dead(token, this_process())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells when a process started")
def test_a_process_that_ended_is_known_dead_even_before_its_parent_notices(start: Start) -> None:
    spender = start("hold", "x")
    heard(spender)
    token = token_of(spender.pid)
    assert not is_known_dead(token, this_process())
    spender.kill()
    os.waitid(os.P_PID, spender.pid, os.WEXITED | os.WNOWAIT)
    assert is_known_dead(token, this_process())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells when a process started")
def test_a_number_that_was_given_to_another_process_is_known_dead() -> None:
    assert is_known_dead(replace(this_process(), started="1"), this_process())


def test_a_process_elsewhere_cannot_be_judged() -> None:
    assert not is_known_dead(ProcessToken("another machine", 2**22 + 1, "1"), this_process())


def test_a_process_whose_start_is_unknown_counts_as_alive_while_its_number_is_taken() -> None:
    assert not is_known_dead(replace(this_process(), started=""), this_process())
