"""Whatever a provider says of itself, its row is one that the ledger takes: some hosts are anybody's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from farebox.domain.record import Outcome
from farebox.gateway.route import ATTEMPTS_MAX
from tests.gateway.stage import a_stage, asking
from tests.support.upstream import Reply, sse_reply

ITEM_BYTES_MAX = 300_000
"""Of the 400 KB that DynamoDB takes: beside the record are columns, and what it booked."""

ROW_BYTES_MAX = 12_000
"""Of one attempt."""

LONG = "z" * 100_000
USAGE: dict[str, Any] = {
    "input_tokens": 5,
    "output_tokens": 7,
    "speed": LONG,
    "service_tier": LONG,
    "inference_geo": LONG,
    "iterations": [{"type": LONG[:500], "model": LONG[:500], "input_tokens": 1, "output_tokens": 1}] * 50,
    **{f"counter_{number}{LONG[:100]}": 1 for number in range(2_000)},
}


def event(kind: str, **fields: object) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def stream(*events: bytes) -> Reply:
    return sse_reply([event("message_start", message={"id": "m", "usage": USAGE}), *events])


async def test_a_usage_object_without_end_is_remembered_by_its_counters(tmp_path: Path) -> None:
    delta = event("message_delta", delta={"stop_reason": "end_turn"}, usage=USAGE)
    async with a_stage(tmp_path) as stage:
        stage.upstream.script = lambda _: stream(delta, event("message_stop"))
        assert (await stage.ask(asking(stream=True))).status == 200
        [row] = await stage.rows()
    assert (row.outcome, row.usage.output_tokens) == (Outcome.FINISHED, 7)
    assert len(msgspec.json.encode(row)) < ROW_BYTES_MAX


async def test_an_error_of_a_name_without_end_is_remembered_by_its_beginning(tmp_path: Path) -> None:
    async with a_stage(tmp_path) as stage:
        stage.upstream.script = lambda _: stream(event("error", error={"type": LONG}))
        await stage.ask(asking(stream=True))
        [row] = await stage.rows()
    assert row.error_type == LONG[:64]
    assert len(msgspec.json.encode(row)) < ROW_BYTES_MAX


async def test_a_request_is_tried_so_often_and_no_more_however_many_targets_it_brings(tmp_path: Path) -> None:
    targets = [{"provider": "@anthropic"}] * 500
    config = json.dumps({"strategy": {"mode": "fallback"}, "targets": targets})
    said = sse_reply([event("error", error={"type": LONG})])
    async with a_stage(tmp_path) as stage:
        stage.upstream.script = lambda _: said
        await stage.ask(asking(stream=True), x_farebox_config=config)
        [row] = await stage.rows()
    assert len(row.attempts) == len(stage.upstream.sent) == ATTEMPTS_MAX
    assert len(msgspec.json.encode(row)) < ITEM_BYTES_MAX


async def test_reasons_and_ids_of_attempts_are_bounded_too(tmp_path: Path) -> None:
    config = json.dumps({"provider": "@anthropic", "retry": {"attempts": 1, "on_status_codes": [500]}})
    headers = (("Content-Type", "text/event-stream"), ("Request-Id", LONG[:30_000]))
    async with a_stage(tmp_path) as stage:
        # An error event of a kind that nobody knows counts as a 500.
        stage.upstream.script = lambda _: Reply(200, headers, (event("error", error={"type": LONG}),))
        await stage.ask(asking(stream=True), x_farebox_config=config)
        [row] = await stage.rows()
    assert len(row.attempts) == 2
    assert len(msgspec.json.encode(row)) < ROW_BYTES_MAX
