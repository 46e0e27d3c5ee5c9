"""Rate limits through the whole gateway: what counts, what is refused and how, what is given back."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from farebox.domain.errors import UpstreamTimeout, UpstreamUnreachable
from farebox.domain.record import Outcome
from farebox.gateway.limit import OUTPUT_GUESS_TOKENS
from farebox.gateway.reserve import HoldTerms
from tests.gateway.peers import ScriptedAnswer, answer_of
from tests.gateway.stage import Stage, Told, a_file, a_stage, asking, read_out
from tests.support.upstream import json_message, sse_message, usage

SECOND = timedelta(seconds=1)
PER_KEY = {"name": "key-rpm", "scope": {"key": "*"}, "requests": 2, "per": "minute"}
TOKENS = {"name": "tpm", "tokens": 5000, "per": "minute"}
ONE_AT_ONCE = {"name": "at-once", "scope": {"user": "*"}, "concurrent": 1}


def limited(*limits: dict[str, object], **sections: object) -> dict[str, object]:
    return a_file(rate_limits=list(limits), **sections)


def quota(told: Told, unit: str) -> tuple[str | None, ...]:
    """Give limit, remaining and reset of one unit."""
    return tuple(told.header(f"x-ratelimit-{name}-{unit}") for name in ("limit", "remaining", "reset"))


async def spent(stage: Stage, table: str = "rate_count") -> list[tuple[str, str]]:
    return await stage.store.database.look(
        lambda connection: connection.execute(f"SELECT bucket, slots FROM {table}").fetchall()
    )


async def test_the_request_after_the_last_is_refused_in_words_and_frees_as_told(tmp_path: Path) -> None:
    async with a_stage(tmp_path, limited(PER_KEY, contact="ops@example.com")) as stage:
        assert quota(await stage.ask(asking()), "requests") == ("2", "1", "61")
        stage.clock.advance(10 * SECOND)
        assert quota(await stage.ask(asking()), "requests") == ("2", "0", "61")
        told = await stage.ask(asking())
        assert told.error == (
            429,
            "rate_limit_error",
            "Rate limit 'key-rpm' (alice) allows 2 requests a minute; counted now: 2. "
            "Try again in 51 s at 2026-11-23T12:01:01Z.",
        )
        assert (told.header("retry-after"), told.header("x-should-retry")) == ("51", None)
        assert quota(told, "requests") == ("2", "0", "61")
        assert len(stage.upstream.sent) == 2
        refused = (await stage.rows())[-1]
        assert (refused.outcome, refused.status, refused.error_type) == (Outcome.REFUSED, 429, "RateLimited")
        stage.clock.advance(50 * SECOND)
        assert (await stage.ask(asking())).status == 429
        stage.clock.advance(SECOND)
        assert (await stage.ask(asking())).status == 200


async def test_another_keys_requests_count_for_themselves(tmp_path: Path) -> None:
    keys = [{"name": "alice", "user": "alice"}, {"name": "bob", "user": "bob"}]
    async with a_stage(tmp_path, limited({**PER_KEY, "requests": 1}, keys=keys)) as stage:
        assert [(await stage.ask(asking(), key=key)).status for key in ("alice", "bob", "alice")] == [
            200,
            200,
            429,
        ]


async def test_a_wait_of_a_minute_or_more_is_told_at_once(tmp_path: Path) -> None:
    hourly = {**PER_KEY, "requests": 1, "per": "hour"}
    async with a_stage(tmp_path, limited(hourly)) as stage:
        await stage.ask(asking())
        told = await stage.ask(asking())
        assert (told.status, told.header("retry-after"), told.header("x-should-retry")) == (
            429,
            "3660",
            "false",
        )


async def test_a_request_larger_than_the_limit_is_told_that_waiting_does_not_help(tmp_path: Path) -> None:
    async with a_stage(tmp_path, limited({**TOKENS, "tokens": 500}, contact="ops@example.com")) as stage:
        told = await stage.ask(asking())
        assert (told.status, told.header("retry-after"), told.header("x-should-retry")) == (
            429,
            None,
            "false",
        )
        assert told.error[2].startswith(
            "Rate limit 'tpm' allows 500 tokens a minute; counted now: 0, and this request needs about 1"
        )
        assert told.error[2].endswith(" Waiting does not help; ask ops@example.com to raise it.")


async def test_a_request_that_a_budget_refuses_does_not_count(tmp_path: Path) -> None:
    nothing = {"name": "nothing", "usd": 0, "period": "day"}
    async with a_stage(tmp_path, limited(PER_KEY, TOKENS, ONE_AT_ONCE, budgets=[nothing])) as stage:
        for _ in range(3):
            assert (await stage.ask(asking())).status == 402
        assert [slots for _, slots in await spent(stage)] == ["[]", "[]"]
        assert await spent_places(stage) == []


async def spent_places(stage: Stage) -> list[str]:
    return await stage.store.database.look(
        lambda connection: [row[0] for row in connection.execute("SELECT bucket FROM rate_member")]
    )


async def test_a_request_that_one_limit_refuses_counts_for_none(tmp_path: Path) -> None:
    async with a_stage(tmp_path, limited(PER_KEY, {**TOKENS, "tokens": 1})) as stage:
        for _ in range(3):
            assert (await stage.ask(asking())).error[2].startswith("Rate limit 'tpm'")
        assert await spent(stage) == []


async def test_counting_tokens_and_listing_models_never_count(tmp_path: Path) -> None:
    async with a_stage(tmp_path, limited({**PER_KEY, "requests": 0}, ONE_AT_ONCE)) as stage:
        stage.upstream.script = lambda _: json_message(usage=usage())
        for _ in range(30):
            told = await stage.ask(asking(stream=False), path="/v1/messages/count_tokens")
            assert (told.status, quota(told, "requests")) == (200, (None, None, None))
        assert await spent(stage) == []
        assert (await stage.ask(asking())).status == 429


@pytest.mark.parametrize("stream", [True, False])
async def test_tokens_are_held_as_an_estimate_and_corrected_at_the_end(tmp_path: Path, stream: bool) -> None:
    async with a_stage(tmp_path, limited(TOKENS)) as stage:
        reply = sse_message if stream else json_message
        stage.upstream.script = lambda _: reply(usage=usage(input_tokens=700, output_tokens=300))
        told = await stage.ask(asking(stream=stream, max_tokens=100))
        remaining = int(told.header("x-ratelimit-remaining-tokens") or 0)
        assert told.header("x-ratelimit-limit-tokens") == "5000"
        assert 4800 < remaining < 4900
        assert [slots.endswith(",1000]]") for _, slots in await spent(stage)] == [True]


async def test_an_estimate_has_what_the_request_may_write_but_not_all_it_could(tmp_path: Path) -> None:
    output = {**TOKENS, "count": ["output"]}
    async with a_stage(tmp_path, limited(output)) as stage:
        small = await stage.ask(asking(max_tokens=7))
        assert quota(small, "tokens")[1] == str(5000 - 7)
        large = await stage.ask(asking(max_tokens=30_000))
        # What the first really wrote counts by then: 50.
        assert quota(large, "tokens")[1] == str(5000 - 50 - OUTPUT_GUESS_TOKENS)


async def test_an_error_of_the_provider_is_a_request_and_no_tokens(tmp_path: Path) -> None:
    async with a_stage(tmp_path, limited(PER_KEY, TOKENS)) as stage:
        stage.upstream.script = lambda _: ScriptedAnswer(529, [], [b"{}"])
        told = await stage.ask(asking())
        assert (told.status, quota(told, "requests")[1]) == (529, "1")
        assert sorted(slots == "[]" for _, slots in await spent(stage)) == [False, True]


async def test_a_request_that_never_reached_the_provider_does_not_count(tmp_path: Path) -> None:
    async with a_stage(tmp_path, limited(PER_KEY, TOKENS)) as stage:
        stage.upstream.script = _unreachable
        assert (await stage.ask(asking())).status == 502
        assert [slots for _, slots in await spent(stage)] == ["[]", "[]"]


async def test_a_request_that_may_have_reached_the_provider_counts(tmp_path: Path) -> None:
    async with a_stage(tmp_path, limited(PER_KEY)) as stage:
        stage.upstream.script = _silent
        assert (await stage.ask(asking())).status == 504
        assert [slots == "[]" for _, slots in await spent(stage)] == [False]


def _unreachable(_: object) -> ScriptedAnswer:
    raise UpstreamUnreachable("anthropic.example", "refused")


def _silent(_: object) -> ScriptedAnswer:
    raise UpstreamTimeout("anthropic.example", "first_byte", 1)


async def test_a_providers_own_numbers_give_way_to_ours(tmp_path: Path) -> None:
    def reply(_: object) -> ScriptedAnswer:
        answer = answer_of(sse_message(usage=usage()))
        answer.headers = [
            *answer.headers,
            (b"x-ratelimit-remaining-requests", b"99"),
            (b"x-ratelimit-remaining-tokens", b"77"),
        ]
        return answer

    async with a_stage(tmp_path, limited(PER_KEY)) as stage:
        stage.upstream.script = reply
        told = await stage.ask(asking())
        shown = [value for name, value in told.headers if name == b"x-ratelimit-remaining-requests"]
        assert (shown, told.header("x-ratelimit-remaining-tokens")) == ([b"1"], None)


async def test_the_tightest_limit_of_a_kind_is_shown(tmp_path: Path) -> None:
    everyone = {"name": "all", "requests": 100, "per": "hour"}
    async with a_stage(tmp_path, limited(everyone, PER_KEY)) as stage:
        assert quota(await stage.ask(asking()), "requests") == ("2", "1", "61")


async def test_as_many_as_are_allowed_are_open_at_once(tmp_path: Path) -> None:
    async with a_stage(tmp_path, limited(ONE_AT_ONCE)) as stage:
        stream = await stage.begin(asking())
        told = await stage.ask(asking())
        assert told.error == (
            429,
            "rate_limit_error",
            "Rate limit 'at-once' (alice@example.com) allows 1 request at once; counted now: 1. "
            "Try again in 2 s.",
        )
        assert (told.header("retry-after"), told.header("x-should-retry")) == ("2", None)
        await read_out(stream)
        assert (await stage.ask(asking())).status == 200


async def end_by_leaving(stage: Stage) -> None:
    stream = await stage.begin(asking())
    stream.leave()
    await stream.aclose()


async def end_by_stopping(stage: Stage) -> None:
    await (await stage.begin(asking())).aclose()


async def end_by_failing(stage: Stage) -> None:
    stage.upstream.script = lambda _: ScriptedAnswer(500, [], [b"{}"])
    assert (await stage.ask(asking())).status == 500


async def end_before_the_first_byte(stage: Stage) -> None:
    stage.upstream.script = _never
    asking_task = asyncio.create_task(stage.begin(asking()))
    while not stage.upstream.sent:
        await asyncio.sleep(0)
    asking_task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking_task


def _never(_: object) -> ScriptedAnswer:
    raise asyncio.CancelledError


@pytest.mark.parametrize(
    "end",
    [end_by_leaving, end_by_stopping, end_by_failing, end_before_the_first_byte],
    ids=lambda e: e.__name__,
)
async def test_a_place_is_given_back_however_a_request_ends(tmp_path: Path, end: object) -> None:
    async with a_stage(tmp_path, limited(ONE_AT_ONCE)) as stage:
        assert callable(end)
        await end(stage)
        assert await spent_places(stage) == []


async def test_a_place_is_given_back_when_the_money_cannot_be_settled(tmp_path: Path) -> None:
    async with a_stage(tmp_path, limited(ONE_AT_ONCE)) as stage:
        stage.ledger.failing.add("settle")
        assert (await stage.ask(asking())).status == 200
        assert await spent_places(stage) == []


async def test_a_place_is_renewed_while_its_request_is_open_and_lost_with_its_process(tmp_path: Path) -> None:
    async with a_stage(tmp_path, limited(ONE_AT_ONCE)) as stage:
        stream = await stage.begin(asking())
        stage.clock.advance(59 * SECOND)
        await stage.gateway.limits.renew()
        stage.clock.advance(59 * SECOND)
        assert (await stage.ask(asking())).status == 429
        stage.clock.advance(2 * SECOND)
        assert (await stage.ask(asking())).status == 200
        await read_out(stream)


def renewers() -> list[asyncio.Task[object]]:
    return [task for task in asyncio.all_tasks() if "_keep_renewing" in repr(task.get_coro())]


async def test_a_task_that_no_longer_renews_is_replaced_with_the_next_request(tmp_path: Path) -> None:
    async with a_stage(tmp_path, limited({**ONE_AT_ONCE, "concurrent": 2})) as stage:
        streams = [await stage.begin(asking())]
        (dead,) = renewers()
        dead.cancel()
        await asyncio.wait([dead])
        streams.append(await stage.begin(asking()))
        assert len(renewers()) == 1
        for stream in streams:
            await read_out(stream)


async def test_leases_are_renewed_by_a_task_that_ends_with_the_last_request(tmp_path: Path) -> None:
    async with a_stage(tmp_path, limited({**ONE_AT_ONCE, "concurrent": 2})) as stage:
        streams = [await stage.begin(asking()) for _ in range(2)]
        assert len(renewers()) == 1
        await read_out(streams[0])
        assert len(renewers()) == 1
        await read_out(streams[1])
        await asyncio.sleep(0)
        assert renewers() == []


async def test_leases_are_renewed_while_time_passes(tmp_path: Path) -> None:
    async def leases() -> list[int]:
        return await stage.store.database.look(
            lambda connection: [row[0] for row in connection.execute("SELECT until_us FROM rate_member")]
        )

    terms = HoldTerms(lease_ms=30, wait_ms=0)
    async with a_stage(tmp_path, limited(ONE_AT_ONCE), terms=terms) as stage, asyncio.timeout(30):
        stream = await stage.begin(asking())
        (until_us,) = await leases()
        stage.clock.advance(SECOND)
        while await leases() == [until_us]:
            await asyncio.sleep(0.001)
        assert await leases() == [until_us + 1_000_000]
        await read_out(stream)


def break_store(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "farebox.db")) as connection:
        connection.execute("DROP TABLE rate_count")
        connection.execute("DROP TABLE rate_member")


async def test_no_request_is_sent_while_limits_cannot_be_checked(tmp_path: Path) -> None:
    async with a_stage(tmp_path, limited(PER_KEY)) as stage:
        break_store(tmp_path)
        told = await stage.ask(asking())
        assert (told.status, told.error[1]) == (503, "api_error")
        assert stage.upstream.sent == []


async def test_a_request_that_touches_no_limit_asks_nobody(tmp_path: Path) -> None:
    async with a_stage(tmp_path, limited({**PER_KEY, "scope": {"user": "bob"}})) as stage:
        break_store(tmp_path)
        told = await stage.ask(asking())
        assert (told.status, quota(told, "requests")) == (200, (None, None, None))


async def test_an_open_request_ends_well_when_its_limits_cannot_be_corrected(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with a_stage(tmp_path, limited(TOKENS, ONE_AT_ONCE)) as stage:
        stream = await stage.begin(asking())
        break_store(tmp_path)
        await stage.gateway.limits.renew()
        await read_out(stream)
        assert [row.outcome for row in await stage.rows()] == [Outcome.FINISHED]
    told = [record.getMessage() for record in caplog.records if record.name == "farebox.limit"]
    assert [line.partition(":")[0] for line in told] == [
        "places of 1 requests not renewed",
        "rate limits of req_1 are not corrected",
    ]
