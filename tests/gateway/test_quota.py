"""Output is held in slices: a long answer tops up, and one that cannot is ended well-formed and explained."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from farebox.domain.money import usd_exact_text
from farebox.domain.record import Outcome
from farebox.domain.usage import CostStatus, Usage
from farebox.wire.sse import parse_sse
from tests.gateway.peers import ScriptedAnswer
from tests.gateway.stage import Stage, Told, a_file, a_stage, apply, asking, read_out
from tests.support.upstream import sse, usage

IN, OUT = 4_000_000, 20_000_000
SLICE = 4096
# Counted at three bytes a token.
TEXT = "x" * 300
EVENT_STREAM = [(b"content-type", b"text/event-stream")]
LONG = asking(max_tokens=32_000)

BLOCKS: dict[str, tuple[dict[str, object], dict[str, object]]] = {
    "text": ({"type": "text", "text": ""}, {"type": "text_delta", "text": TEXT}),
    "thinking": (
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "thinking_delta", "thinking": TEXT},
    ),
    "tool_use": (
        {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {}},
        {"type": "input_json_delta", "partial_json": TEXT},
    ),
}


def a_budget(usd: object = 1, **fields: object) -> dict[str, object]:
    amount = {} if "tokens" in fields else {"usd": usd}
    return {"name": "b", "scope": {}, "period": "day", **amount, **fields}


def start(index: int = 0, kind: str = "text") -> bytes:
    return sse(
        "content_block_start",
        {"type": "content_block_start", "index": index, "content_block": BLOCKS[kind][0]},
    )


def delta(index: int = 0, kind: str = "text") -> bytes:
    return sse(
        "content_block_delta", {"type": "content_block_delta", "index": index, "delta": BLOCKS[kind][1]}
    )


def stop(index: int = 0) -> bytes:
    return sse("content_block_stop", {"type": "content_block_stop", "index": index})


def opening(input_tokens: int = 100) -> bytes:
    message = {
        "id": "msg_1",
        "model": "claude-opus-5-5",
        "usage": usage(input_tokens=input_tokens, output_tokens=1),
    }
    return sse("message_start", {"type": "message_start", "message": message})


def ending(output_tokens: int) -> list[bytes]:
    told = {"stop_reason": "end_turn", "stop_sequence": None}
    final = {"type": "message_delta", "delta": told, "usage": {"output_tokens": output_tokens}}
    return [stop(), sse("message_delta", final), sse("message_stop", {"type": "message_stop"})]


def a_long_answer(deltas: int, *, kind: str = "text", output_tokens: int | None = None) -> list[bytes]:
    tail = ending(deltas * 1000 if output_tokens is None else output_tokens)
    return [opening(), start(kind=kind), *[delta(kind=kind)] * (deltas * 10), *tail]


def play(stage: Stage, pieces: Sequence[bytes]) -> None:
    stage.upstream.script = lambda _: ScriptedAnswer(200, list(EVENT_STREAM), list(pieces))


def events(body: bytes) -> list[dict[str, object]]:
    return [json.loads(data) for _, data in parse_sse(body)]


CLOSING = [
    {"type": "message_delta", "delta": {"stop_reason": "max_tokens", "stop_sequence": None}},
    {"type": "message_stop"},
]


def closing(told: Told) -> list[dict[str, object]]:
    """Give the events after the last delta, the usage left out."""
    kinds = [event["type"] for event in events(told.body)]
    tail = events(told.body)[len(kinds) - kinds[::-1].index("content_block_delta") :]
    return [{name: value for name, value in event.items() if name != "usage"} for event in tail]


async def test_a_short_answer_never_asks_again(tmp_path: Path) -> None:
    async with a_stage(tmp_path, a_file(budgets=[a_budget()])) as stage:
        play(stage, a_long_answer(1))
        assert (await stage.ask(LONG)).is_whole
        assert stage.ledger.calls == ["reserve", "settle"]


async def test_a_long_answer_tops_up_and_its_hold_becomes_exact_in_input(tmp_path: Path) -> None:
    async with a_stage(tmp_path, a_file(budgets=[a_budget(5)])) as stage:
        pieces = a_long_answer(20)
        play(stage, pieces)
        stream = await stage.begin(LONG)
        bound = len(LONG) * 10 // 13 + 1
        seen = [await stage.held()]
        while await stream.receive():
            if (held := await stage.held()) != seen[-1]:
                seen.append(held)
        slices = [SLICE, 2 * SLICE, 4 * SLICE, 32_000]
        assert seen == [bound * IN + SLICE * OUT, *[100 * IN + tokens * OUT for tokens in slices[1:]]]
        assert await stage.held() == 0
        assert await stage.settled() == {("b", ""): 100 * IN + 20_000 * OUT}
        [row] = await stage.rows()
        assert (row.outcome, row.overrun_picodollars) == (Outcome.FINISHED, 0)


async def test_at_any_moment_more_is_held_than_was_streamed(tmp_path: Path) -> None:
    async with a_stage(tmp_path, a_file(budgets=[a_budget(5)])) as stage:
        play(stage, a_long_answer(30))
        stream = await stage.begin(LONG)
        deltas = 0
        while chunk := await stream.receive():
            deltas += chunk == delta()
            if not chunk.startswith(b"event: message_stop"):
                assert await stage.held() >= 100 * IN + deltas * 100 * OUT


async def test_the_draft_of_a_topped_up_hold_is_what_is_held_and_no_overrun(tmp_path: Path) -> None:
    async with a_stage(tmp_path, a_file(budgets=[a_budget(5)])) as stage:
        play(stage, a_long_answer(6))
        stream = await stage.begin(LONG)
        drafts = []
        while await stream.receive():
            drafts += [(hold.sequence, hold.draft, hold.touches[0].amount) for hold in await stage.holds()]
        assert {sequence for sequence, _, _ in drafts} == {0, 1}
        for _, draft, held in drafts:
            assert (draft.charged_picodollars, draft.overrun_picodollars) == (held, 0)
            assert (draft.outcome, draft.status) == (Outcome.EXPIRED, 500)


@pytest.mark.parametrize("kind", BLOCKS)
async def test_a_refused_top_up_ends_the_answer_as_if_it_had_reached_max_tokens(
    kind: str, tmp_path: Path
) -> None:
    async with a_stage(tmp_path, a_file(budgets=[a_budget("0.1")])) as stage:
        pieces = a_long_answer(20, kind=kind)
        play(stage, pieces)
        told = await stage.ask(LONG)
        passed = told.body.count(b"content_block_delta\n")
        assert told.body.startswith(b"".join(pieces[: 2 + passed]))
        assert closing(told) == [{"type": "content_block_stop", "index": 0}, *CLOSING]
        assert (told.status, told.is_whole, 38 <= passed <= 48) == (200, True, True)
        [answer] = stage.upstream.answers
        assert (answer.is_aborted, answer.is_closed) == (True, True)
        [row] = await stage.rows()
        assert (row.outcome, row.status, row.cost_status) == (
            Outcome.BUDGET_CUT,
            200,
            CostStatus.ESTIMATED,
        )
        used = row.usage.output_tokens
        assert row.charged_picodollars == 100 * IN + used * OUT
        assert used >= passed * 100
        assert events(told.body)[-2]["usage"] == {"output_tokens": used}


async def test_between_two_blocks_there_is_nothing_to_close(tmp_path: Path) -> None:
    async with a_stage(tmp_path, a_file(budgets=[a_budget("0.1")])) as stage:
        blocks = [start(index) + delta(index) + stop(index) for index in range(100)]
        play(stage, [opening(), *blocks])
        told = await stage.ask(LONG)
        passed = told.body.count(b"content_block_delta\n")
        assert closing(told) == [{"type": "content_block_stop", "index": passed - 1}, *CLOSING]
        assert told.body.startswith(opening() + b"".join(blocks[:passed]))


@pytest.mark.parametrize("size", [1, 7, 100, 333, 700, 4096, 50_000])
@pytest.mark.parametrize("crlf", [False, True])
async def test_a_cut_needs_no_chunk_that_ends_with_an_event(size: int, crlf: bool, tmp_path: Path) -> None:
    async with a_stage(tmp_path, a_file(budgets=[a_budget("0.1")])) as stage:
        whole = b"".join(a_long_answer(20))
        whole = whole.replace(b"\n", b"\r\n") if crlf else whole
        play(stage, [whole[at : at + size] for at in range(0, len(whole), size)])
        told = await stage.ask(LONG)
        assert closing(told) == [{"type": "content_block_stop", "index": 0}, *CLOSING]
        assert told.body.count(b"content_block_delta") < 2 * 200
        [row] = await stage.rows()
        assert row.outcome is Outcome.BUDGET_CUT
        assert row.charged_picodollars <= 10**11 + row.overrun_picodollars


async def test_after_a_cut_the_next_request_is_the_402_that_explains(tmp_path: Path) -> None:
    async with a_stage(tmp_path, a_file(budgets=[a_budget("0.1")])) as stage:
        play(stage, a_long_answer(20))
        await stage.ask(LONG)
        spent = (await stage.rows())[0].charged_picodollars
        # Far less than what is left.
        told = await stage.ask(asking(max_tokens=1))
        assert told.error[:2] == (402, "billing_error")
        assert told.error[2] == (
            f"Budget 'b' is exhausted: {usd_exact_text(spent)} of $0.10 spent. "
            "It resets at 2026-11-24T00:00:00Z; ask your farebox administrator to raise it."
        )
        assert len(stage.upstream.sent) == 1
        [standing] = await stage.standings()
        assert standing.is_exhausted


async def test_a_cut_bucket_opens_with_its_next_window(tmp_path: Path) -> None:
    async with a_stage(tmp_path, a_file(budgets=[a_budget("0.1")])) as stage:
        play(stage, a_long_answer(20))
        await stage.ask(LONG)
        assert (await stage.ask(asking(max_tokens=1))).status == 402
        stage.clock.advance(timedelta(days=1))
        assert (await stage.ask(asking(max_tokens=1))).status == 200


async def test_a_cut_bucket_opens_when_its_limit_rises(tmp_path: Path) -> None:
    async with a_stage(tmp_path, a_file(budgets=[a_budget("0.1")])) as stage:
        play(stage, a_long_answer(20))
        await stage.ask(LONG)
        await apply(stage, {"budgets": [a_budget("0.3")]})
        play(stage, a_long_answer(1))
        assert (await stage.ask(asking(max_tokens=10))).status == 200


@pytest.mark.parametrize("limit_cents", [10, 17, 25, 90])
async def test_an_answer_is_cut_when_its_budget_is_nearly_spent_and_not_before(
    limit_cents: int, tmp_path: Path
) -> None:
    """Doubling slices alone would cut where half of the budget is left."""
    async with a_stage(tmp_path, a_file(budgets=[a_budget(f"0.{limit_cents}")])) as stage:
        play(stage, a_long_answer(60))
        await stage.ask(asking(max_tokens=64_000))
        [row] = await stage.rows()
        assert row.outcome is Outcome.BUDGET_CUT
        limit = limit_cents * 10**10
        assert limit * 85 // 100 <= row.charged_picodollars <= limit
        assert await stage.settled() == {("b", ""): row.charged_picodollars}


async def test_a_cut_for_what_others_hold_does_not_close_the_bucket(tmp_path: Path) -> None:
    async with a_stage(tmp_path, a_file(budgets=[a_budget("0.17")])) as stage:
        play(stage, a_long_answer(1))
        other = await stage.begin(LONG)
        play(stage, a_long_answer(5))
        told = await stage.ask(LONG)
        assert closing(told)[-2:] == CLOSING
        assert (await stage.ask(LONG)).error[:2] == (429, "rate_limit_error")
        await read_out(other)
        assert (await stage.ask(asking(max_tokens=100))).status == 200


async def test_an_answer_that_tells_no_usage_tops_up_by_what_was_quoted(tmp_path: Path) -> None:
    async with a_stage(tmp_path, a_file(budgets=[a_budget(5)])) as stage:
        play(stage, [start(), *[delta()] * 40, *ending(4000)])
        stream = await stage.begin(LONG)
        seen = set()
        while await stream.receive():
            seen.add(await stage.held())
        bound = len(LONG) * 10 // 13 + 1
        assert seen == {bound * IN + tokens * OUT for tokens in (SLICE, 2 * SLICE)}
        assert [row.usage.output_tokens for row in await stage.rows()] == [4000]


async def test_a_token_budget_tops_up_and_cuts_too(tmp_path: Path) -> None:
    async with a_stage(tmp_path, a_file(budgets=[a_budget(tokens=10_000, count=["output"])])) as stage:
        play(stage, a_long_answer(20))
        stream = await stage.begin(LONG)
        assert await stage.held() == SLICE
        seen = set()
        while await stream.receive():
            seen.add(await stage.held())
        assert 2 * SLICE in seen
        assert max(seen) <= 10_000
        [row] = await stage.rows()
        assert row.outcome is Outcome.BUDGET_CUT
        assert await stage.settled() == {("b", ""): row.usage.output_tokens}
        assert (await stage.ask(asking(max_tokens=1))).status == 402


async def test_the_tighter_of_two_budgets_cuts_and_only_it_is_closed(tmp_path: Path) -> None:
    budgets = [{**a_budget(5), "name": "wide"}, {**a_budget("0.1"), "name": "tight", "scope": {"key": "*"}}]
    keys = [{"name": "alice"}, {"name": "bob"}]
    async with a_stage(tmp_path, a_file(budgets=budgets, keys=keys)) as stage:
        play(stage, a_long_answer(20))
        await stage.ask(LONG)
        assert "'tight' (alice)" in (await stage.ask(asking())).error[2]
        play(stage, a_long_answer(1))
        assert (await stage.ask(asking(), key="bob")).status == 200


async def test_an_answer_that_ends_where_the_quota_does_is_not_cut(tmp_path: Path) -> None:
    async with a_stage(tmp_path, a_file(budgets=[a_budget("0.1")])) as stage:
        pieces = a_long_answer(4)
        play(stage, [*pieces[:-4], b"".join(pieces[-4:])])
        told = await stage.ask(LONG)
        assert told.body == b"".join(pieces)
        assert [row.outcome for row in await stage.rows()] == [Outcome.FINISHED]


async def test_a_store_that_fails_at_a_top_up_ends_the_answer_and_closes_nothing(tmp_path: Path) -> None:
    async with a_stage(tmp_path, a_file(budgets=[a_budget(5)])) as stage:
        play(stage, a_long_answer(20))
        stage.ledger.failing = {"top_up"}
        told = await stage.ask(LONG)
        assert closing(told)[-2:] == CLOSING
        assert stage.upstream.answers[0].is_aborted
        stage.ledger.failing = set()
        [row] = await stage.rows()
        assert (row.outcome, await stage.holds()) == (Outcome.BUDGET_CUT, [])
        play(stage, a_long_answer(1))
        assert (await stage.ask(LONG)).status == 200


async def test_many_short_events_are_measured_by_their_text_and_not_by_their_frames(tmp_path: Path) -> None:
    words = sse(
        "content_block_delta",
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "word "}},
    )
    async with a_stage(tmp_path, a_file(budgets=[a_budget("0.1")])) as stage:
        pieces = [opening(), start(), *[words] * 900, *ending(900)]
        play(stage, pieces)
        told = await stage.ask(LONG)
        assert told.body == b"".join(pieces)
        assert "top_up" not in stage.ledger.calls
        assert [row.usage for row in await stage.rows()] == [
            Usage(input_tokens=100, output_tokens=900, service_tier="standard")
        ]
