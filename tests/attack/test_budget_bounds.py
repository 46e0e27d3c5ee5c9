"""Requests that cost more than their bytes show: each must be refused, or stay within the limit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from farebox.domain.money import picodollars_from_usd
from tests.gateway.stage import Stage, a_file, a_stage, apply, asking
from tests.support.upstream import Reply, json_message, sse, sse_message, sse_reply, usage

DENSE_BYTES_PER_TOKEN = 1.4  # base64, by the measurement that wire/messages.py cites
THINKING = {"type": "adaptive", "display": "omitted"}  # what Claude Code sends by default
TEXT = "word " * 20_000


@dataclass(frozen=True, slots=True)
class Case:
    """A request, what its provider reports in the end, and a limit that this would pass."""

    body: bytes
    reply: Reply
    limit_usd: str


def source(kind: str, **fields: object) -> bytes:
    return asking_with([{"type": kind, "source": fields}])


def asking_with(content: object, **fields: object) -> bytes:
    messages = [{"role": "user", "content": content}]
    return asking("Hi.", **{"stream": False, "max_tokens": 10, "messages": messages, **fields})


def cached(ttl: str = "1h") -> bytes:
    mark = {"type": "ephemeral", "ttl": ttl}
    return asking_with([{"type": "text", "text": TEXT, "cache_control": mark}])


def hidden_thinking(output_tokens: int) -> Reply:
    """A stream whose thinking is billed and not shown."""
    used = usage(input_tokens=30, output_tokens=1)
    opening = {"type": "thinking", "thinking": ""}
    signature = {"type": "signature_delta", "signature": "ZGVtbw=="}
    end = {"delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": output_tokens}}
    start = {"type": "message_start", "message": {"model": "claude-opus-5-5", "usage": used}}
    return sse_reply(
        [
            sse("message_start", start),
            sse(
                "content_block_start",
                {"type": "content_block_start", "index": 0, "content_block": opening},
            ),
            sse(
                "content_block_delta",
                {"type": "content_block_delta", "index": 0, "delta": signature},
            ),
            sse("content_block_stop", {"type": "content_block_stop", "index": 0}),
            sse("message_delta", {"type": "message_delta", **end}),
            sse("message_stop", {"type": "message_stop"}),
        ]
    )


def dense_text(output_tokens: int) -> Reply:
    size = int(output_tokens * DENSE_BYTES_PER_TOKEN)
    words = " ".join("7" * 99 for _ in range(size // 100))
    return sse_message(words, usage=usage(input_tokens=30, output_tokens=output_tokens))


WRITES = json_message(usage=usage(input_tokens=3, cache_write_1h_tokens=70_000))
LONG_INPUT = json_message(usage=usage(input_tokens=900_000))
ADVICE = json_message(
    usage={
        **usage(input_tokens=3, output_tokens=4),
        "iterations": [
            {"type": "message", "input_tokens": 3, "output_tokens": 4},
            {
                "type": "advisor_message",
                "model": "claude-fable-5",
                "input_tokens": 50_000,
                "output_tokens": 20_000,
            },
        ],
    }
)
ADVISOR = [{"type": "advisor_20260301", "name": "advisor", "model": "claude-fable-5"}]

CASES = {
    "document by url": Case(
        source("document", type="url", url="https://example.com/a.pdf"), LONG_INPUT, "0.05"
    ),
    "document by file id": Case(source("document", type="file", file_id="file_1"), LONG_INPUT, "0.05"),
    "escaped cache_control": Case(cached().replace(b"cache_control", b"cache\\u005fcontrol"), WRITES, "0.32"),
    "escaped ttl": Case(cached().replace(b'"1h"', b'"\\u0031h"'), WRITES, "0.45"),
    "escaped source": Case(
        source("image", type="url", url="https://example.com/a.png").replace(b"source", b"sourc\\u0065"),
        json_message(usage=usage(input_tokens=4_700)),
        "0.004",
    ),
    "advisor": Case(asking_with("Hi.", tools=ADVISOR), ADVICE, "0.10"),
}
UNFORESEEN = {
    # Thinking that is not shown is bound by time; this provider writes faster than any model.
    "hidden thinking": Case(asking(max_tokens=64_000, thinking=THINKING), hidden_thinking(60_000), "0.10"),
    # Text of fewer bytes a token than the estimate assumes.
    "dense text": Case(asking(max_tokens=64_000), dense_text(20_000), "0.25"),
}


async def settled(stage: Stage) -> int:
    return sum((await stage.settled()).values())


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
async def test_no_request_takes_a_budget_past_its_limit(tmp_path: Path, case: Case) -> None:
    budget = {
        "name": "all",
        "scope": {"workspace": "default"},
        "usd": case.limit_usd,
        "period": "total",
    }
    async with a_stage(tmp_path, a_file(budgets=[budget])) as stage:
        stage.upstream.script = lambda _: case.reply
        await stage.ask(case.body)
        assert await settled(stage) <= picodollars_from_usd(case.limit_usd)


@pytest.mark.parametrize("case", UNFORESEEN.values(), ids=UNFORESEEN.keys())
async def test_what_no_estimate_foresees_is_recorded_as_overrun_and_ends_there(
    tmp_path: Path, case: Case
) -> None:
    budget = {"name": "all", "scope": {}, "usd": case.limit_usd, "period": "total"}
    async with a_stage(tmp_path, a_file(budgets=[budget])) as stage:
        stage.upstream.script = lambda _: case.reply
        await stage.ask(case.body)
        [row] = await stage.rows()
        held = row.charged_picodollars - row.overrun_picodollars
        assert 0 < held <= picodollars_from_usd(case.limit_usd) < await settled(stage)
        assert (await stage.ask(asking())).status == 402


async def test_an_estimate_never_exceeds_the_max_tokens_that_were_asked_for(tmp_path: Path) -> None:
    whole = sse_message("z" * 20_000, usage=usage(input_tokens=3, output_tokens=100))
    cut = sse_reply(piece for piece in whole.pieces[:-2] if isinstance(piece, bytes))
    async with a_stage(tmp_path) as stage:
        stage.upstream.script = lambda _: cut
        told = await stage.ask(asking(max_tokens=100))
        [row] = await stage.rows()
        assert (told.is_whole, row.usage.output_tokens) == (False, 100)


async def test_a_session_that_was_cheap_does_not_vouch_for_other_text_of_its_length(
    tmp_path: Path,
) -> None:
    limit = "0.10"
    budget = {"name": "all", "scope": {"workspace": "default"}, "usd": limit, "period": "total"}
    begun = "x" * 600
    cheap, dear = begun + " " * 400_000, begun + "7f3a" * 100_000
    async with a_stage(tmp_path, a_file(budgets=[])) as stage:
        stage.upstream.script = lambda _: json_message(usage=usage(input_tokens=1_000))
        await stage.ask(asking_with(cheap), x_claude_code_session_id="s")
        await apply(stage, a_file(budgets=[budget]))
        stage.upstream.script = lambda _: json_message(usage=usage(input_tokens=250_000))
        await stage.ask(asking_with(dear), x_claude_code_session_id="s")
        assert await settled(stage) <= picodollars_from_usd(limit)
