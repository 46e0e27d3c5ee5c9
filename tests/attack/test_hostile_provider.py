"""A provider that lies: it may spoil its own answer, never the books."""

from __future__ import annotations

from pathlib import Path

import pytest

from farebox.domain.record import Outcome
from tests.gateway.stage import a_file, a_stage, asking
from tests.support.upstream import Reply, json_message, sse_message, usage

WHOLE = asking(stream=False)
HUGE = 2**63 - 1
LARGE = 2_000_000_000_000


@pytest.mark.parametrize("is_stream", [True, False])
async def test_a_count_beyond_all_reason_still_leaves_one_row(tmp_path: Path, is_stream: bool) -> None:
    async with a_stage(tmp_path) as stage:
        reply = sse_message if is_stream else json_message
        stage.upstream.script = lambda _: reply(usage=usage(input_tokens=HUGE))
        told = await stage.ask(asking(stream=is_stream))
        assert (told.status, told.is_whole) == (200, True)
        assert len(await stage.rows()) == 1


async def test_large_counts_do_not_end_the_usage_report(tmp_path: Path) -> None:
    async with a_stage(tmp_path) as stage:
        stage.upstream.script = lambda _: json_message(usage=usage(input_tokens=LARGE))
        for _ in range(2):
            assert (await stage.ask(WHOLE)).status == 200
        [row] = await stage.store.reports.usage(by="key", since=None)
        assert row.requests == 2


async def test_usage_that_cannot_be_read_is_not_free(tmp_path: Path) -> None:
    async with a_stage(tmp_path) as stage:
        stage.upstream.script = lambda _: json_message(
            usage={"input_tokens": "5", "output_tokens": -7, "cache_creation": "none"}
        )
        await stage.ask(WHOLE)
        [row] = await stage.rows()
        assert row.charged_picodollars > 0


async def test_a_redirect_is_an_error_that_names_no_other_place(tmp_path: Path) -> None:
    async with a_stage(tmp_path) as stage:
        location = (("Location", "https://elsewhere.example/v1/messages"),)
        stage.upstream.script = lambda _: Reply(307, location)
        told = await stage.ask(WHOLE)
        [row] = await stage.rows()
        assert (told.status, told.header("location")) == (502, None)
        assert (row.outcome, row.charged_picodollars) == (Outcome.UPSTREAM_ERROR, 0)


async def test_a_message_that_breaks_off_is_not_whole_because_its_connection_closed(tmp_path: Path) -> None:
    async with a_stage(tmp_path) as stage:
        whole = json_message(usage=usage(input_tokens=3, output_tokens=4))
        stage.upstream.script = lambda _: Reply(200, whole.headers, (whole.body[:60],))
        told = await stage.ask(WHOLE)
        [row] = await stage.rows()
        assert (told.status, row.outcome) == (502, Outcome.UPSTREAM_CUT)


async def test_counts_behind_the_end_of_a_stream_take_nothing_back(tmp_path: Path) -> None:
    first = sse_message(usage=usage(input_tokens=300, output_tokens=500))
    second = sse_message(usage=usage(input_tokens=0, output_tokens=0))
    async with a_stage(tmp_path, a_file()) as stage:
        stage.upstream.script = lambda _: Reply(200, first.headers, (*first.pieces, *second.pieces))
        await stage.ask(asking())
        [row] = await stage.rows()
        assert (row.usage.input_tokens, row.usage.output_tokens) == (300, 500)
