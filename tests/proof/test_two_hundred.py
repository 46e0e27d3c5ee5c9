"""Two hundred parallel streams against one dollar: never past it, never refused for nothing, and used up."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from farebox.adapters.local.store import DATABASE_FILE
from farebox.compose.settings import Settings
from farebox.domain.record import Outcome
from tests.proof.books import (
    Booked,
    Ledger,
    LedgerFile,
    one_requests_bound,
    untrue_refusals,
    untrue_waits,
)
from tests.proof.cloud import Cloud, a_cloud
from tests.proof.crowd import (
    CROWD,
    FIRST_SLICE_TOKENS,
    LIMIT_PICODOLLARS,
    ONE_WORKSPACE,
    SHARED,
    Ask,
    HonestModel,
    Told,
    a_policy_of,
    ask_all,
    the_crowd,
)
from tests.proof.eight import eight_gateways
from tests.support.laptop import Laptop
from tests.support.ministack import Ministack, ministack
from tests.support.upstream import ScriptedUpstream

__all__ = ["ministack"]

TOGETHER = 8
HASTY = Settings(hold_wait_ms=100, drain_s=1)
"""Whoever waits for others to give back is told so soon, and asks again: more tries on the same dollar."""


@dataclass(frozen=True, slots=True)
class Played:
    """What came of a crowd: the last answers, those that said to wait, the most that was ever settled and
    held together, and the books.
    """

    last: list[Told]
    waited: list[Told]
    highest: int
    books: Booked

    def with_status(self, status: int) -> list[Told]:
        return [told for told in self.last if told.status == status]


def play(
    asks: Sequence[Ask],
    ports: Sequence[int],
    secrets: Mapping[str, str],
    model: HonestModel,
    ledger: Path | Ledger,
) -> Played:
    """Send a crowd and watch the shared bucket meanwhile; a `ledger` is that of a data folder, or any."""
    seen = LedgerFile(ledger / DATABASE_FILE) if isinstance(ledger, Path) else ledger

    async def watched() -> tuple[list[Told], list[Told], int]:
        done = asyncio.Event()
        watching = asyncio.create_task(seen.highest_use(done))
        try:
            last, waited = await ask_all(asks, ports, secrets, model)
        finally:
            done.set()
        return last, waited, await watching

    return Played(*asyncio.run(watched()), seen.books())


def check_everybody_was_answered(played: Played, sent: int) -> None:
    served, refused = played.with_status(200), played.with_status(402)
    assert len(served) + len(refused) == len(played.last)
    assert all(told.is_whole for told in served)
    assert len(served) == sent >= TOGETHER
    assert len(refused) > len(played.last) // 10
    rows = played.books.rows
    assert len({row.id for row in rows}) == len(rows) == len(played.last) + len(played.waited)


def check_the_dollar(played: Played) -> None:
    """Never past it, by no under-estimate either; nobody refused for nothing; no request's worth left."""
    books = played.books
    assert [row for row in books.rows if row.overrun_picodollars] == []
    assert 0 < played.highest <= LIMIT_PICODOLLARS
    assert books.settled <= LIMIT_PICODOLLARS
    assert untrue_refusals(played.with_status(402), books) == []
    assert untrue_waits(played.waited, books) == []
    assert LIMIT_PICODOLLARS - books.settled < one_requests_bound(played.last, books)


def settled_and_held(gateways: Laptop | Cloud) -> tuple[int, int]:
    (shared,) = [each.standing for each in gateways.standings() if each.budget.name == SHARED]
    return shared.settled, shared.held


def sums_by(laptop: Laptop, dimension: str) -> tuple[int, int]:
    rows = laptop.run(laptop.local.store.reports.usage(by=dimension, since=None))
    return sum(row.charged_picodollars for row in rows), sum(row.requests for row in rows)


def test_two_hundred_streams_of_many_lengths_share_one_dollar(tmp_path: Path) -> None:
    model = HonestModel(TOGETHER)
    with (
        ScriptedUpstream(model) as upstream,
        Laptop(tmp_path, a_policy_of(upstream), settings=HASTY) as laptop,
    ):
        played = play(the_crowd(), [laptop.port], laptop.keys, model, tmp_path)
        assert laptop.drifts() == []
        assert settled_and_held(laptop) == (played.books.settled, 0)
        everything = (played.books.settled, len(played.books.rows))
        for dimension in ("key", "user", "workspace", "model", "provider"):
            assert sums_by(laptop, dimension) == everything
        check_everybody_was_answered(played, len(upstream.messages))
        check_the_dollar(played)
        assert {row.outcome for row in played.books.rows} == {
            Outcome.FINISHED,
            Outcome.BUDGET_CUT,
            Outcome.REFUSED,
        }


def test_what_two_hundred_short_streams_leave_of_a_dollar_can_be_spent(tmp_path: Path) -> None:
    """Answers within their first slice are never cut, so nothing closes the bucket but what is settled."""
    model = HonestModel(TOGETHER)
    asks = [replace(ask, max_tokens=min(ask.max_tokens, FIRST_SLICE_TOKENS)) for ask in the_crowd()]
    with (
        ScriptedUpstream(model) as upstream,
        Laptop(tmp_path, a_policy_of(upstream), settings=HASTY) as laptop,
    ):
        played = play(asks, [laptop.port], laptop.keys, model, tmp_path)
        check_everybody_was_answered(played, len(upstream.messages))
        check_the_dollar(played)
        for max_tokens in (300, 100, 30, 10, 1):
            ask = Ask(CROWD, "dev-0", "claude-haiku-4-5", max_tokens, max_tokens)
            fits = ask.needed_picodollars <= LIMIT_PICODOLLARS - settled_and_held(laptop)[0]
            again = play([ask], [laptop.port], laptop.keys, model, tmp_path)
            assert [told.status for told in again.last] == [200 if fits else 402]


def test_what_a_provider_writes_before_it_can_be_stopped_is_booked_as_overrun(tmp_path: Path) -> None:
    """Whole answers at once: what is past a hold when it is first read was written already, and is billed."""
    model = HonestModel(TOGETHER, in_step=False)
    with (
        ScriptedUpstream(model) as upstream,
        Laptop(tmp_path, a_policy_of(upstream), settings=HASTY) as laptop,
    ):
        played = play(the_crowd(), [laptop.port], laptop.keys, model, tmp_path)
        check_everybody_was_answered(played, len(upstream.messages))
        overrun = sum(row.overrun_picodollars for row in played.books.rows)
        assert played.books.settled <= LIMIT_PICODOLLARS + overrun
        assert played.highest <= LIMIT_PICODOLLARS + overrun
        assert settled_and_held(laptop) == (played.books.settled, 0)
        assert untrue_refusals(played.with_status(402), played.books) == []


def test_two_hundred_streams_through_eight_processes_share_one_dollar(tmp_path: Path) -> None:
    model = HonestModel(TOGETHER)
    with ScriptedUpstream(model) as upstream, eight_gateways(tmp_path, a_policy_of(upstream)) as gateways:
        ports = gateways.ports
        played = play(the_crowd(), ports, gateways.secrets, model, gateways.data)
        check_everybody_was_answered(played, len(upstream.messages))
        check_the_dollar(played)
        assert gateways.processes[0].run("ledger", "verify").returncode == 0


def check_a_crowd_over_dynamodb(
    ministack: Ministack, crowd: int, gateways: int, scope: Mapping[str, str] = ONE_WORKSPACE
) -> None:
    model = HonestModel(TOGETHER)
    with (
        ScriptedUpstream(model) as upstream,
        a_cloud(ministack.port, a_policy_of(upstream, scope=scope), HASTY, gateways=gateways) as cloud,
    ):
        played = play(the_crowd(crowd), cloud.ports, cloud.keys, model, cloud)
        assert cloud.drifts() == []
        assert settled_and_held(cloud) == (played.books.settled, 0)
        check_everybody_was_answered(played, len(upstream.messages))
        check_the_dollar(played)


def test_eighty_streams_over_dynamodb_share_one_dollar(ministack: Ministack) -> None:
    check_a_crowd_over_dynamodb(ministack, 80, gateways=4)


@pytest.mark.proof
def test_two_hundred_streams_over_a_bucket_in_shards_share_one_dollar(ministack: Ministack) -> None:
    check_a_crowd_over_dynamodb(ministack, CROWD, gateways=8, scope={})


@pytest.mark.proof
def test_two_hundred_streams_over_dynamodb_share_one_dollar(ministack: Ministack) -> None:
    check_a_crowd_over_dynamodb(ministack, CROWD, gateways=8)
