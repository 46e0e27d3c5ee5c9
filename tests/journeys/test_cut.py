"""Claude Code, real, whose answer is cut for money: it says why and stops, whatever block was open."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

import pytest

from tests.journeys.claude_code import ClaudeCode
from tests.journeys.scene import gateway_before
from tests.support.upstream import Pause, Reply, ScriptedUpstream, message_events, sse, sse_reply, usage
from tests.support.upstream_replies import Piece

pytestmark = pytest.mark.journey

LIMIT_USD = Decimal("0.4")
BUDGET = {
    "name": "team-month",
    "scope": {"workspace": "default"},
    "usd": str(LIMIT_USD),
    "period": "month",
    "contact": "Ada in platform",
}
# An answer of some 60,000 tokens would cost 1.2 USD.
WHOLE_ANSWER_USD = Decimal("1.2")
WORDS = "and so on, word by word by word, " * 3
EVENTS = 2_400
EVENTS_BETWEEN_PAUSES = 10
# Claude Code asks again once after a cut; many would be a loop.
REFUSALS_MAX = 3
# A sixteenth of what was held, which is not waited for, and the least slice.
USED_TO_WITHIN_USD = Decimal("0.04")

BLOCKS: Mapping[str, tuple[Mapping[str, object], str, str]] = {
    "text": ({"type": "text", "text": ""}, "text_delta", "text"),
    "thinking": ({"type": "thinking", "thinking": "", "signature": ""}, "thinking_delta", "thinking"),
    "tool_use": (
        {"type": "tool_use", "id": "toolu_01Scripted", "name": "Bash", "input": {}},
        "input_json_delta",
        "partial_json",
    ),
}


def a_long_block(kind: str) -> Reply:
    """Write without end, about as smoothly as a model, in one block of a kind."""
    opening, delta_type, field = BLOCKS[kind]
    words = [WORDS] * EVENTS if kind != "tool_use" else ['{"command": "echo ', *[WORDS] * EVENTS]
    deltas = [
        sse(
            "content_block_delta",
            {"type": "content_block_delta", "index": 0, "delta": {"type": delta_type, field: word}},
        )
        for word in words
    ]
    started, *_, told, stopped = message_events(
        usage=usage(cache_write_5m_tokens=9_000, output_tokens=60_000)
    )
    opened = sse("content_block_start", {"type": "content_block_start", "index": 0, "content_block": opening})
    closed = sse("content_block_stop", {"type": "content_block_stop", "index": 0})
    pieces: list[Piece] = [started, opened]
    for first in range(0, len(deltas), EVENTS_BETWEEN_PAUSES):
        pieces += [*deltas[first : first + EVENTS_BETWEEN_PAUSES], Pause(0.005)]
    reply = sse_reply([])
    return Reply(reply.status, reply.headers, (*pieces, closed, told, stopped), reply.framing)


@pytest.mark.parametrize("kind", BLOCKS)
def test_claude_code_shows_why_an_answer_was_cut_and_never_loops(kind: str, tmp_path: Path) -> None:
    with (
        ScriptedUpstream(lambda _: a_long_block(kind)) as upstream,
        gateway_before(tmp_path, upstream, budgets=[BUDGET]) as gateway,
    ):
        client = ClaudeCode.pointed_at(tmp_path / "claude", gateway.base_url, gateway.gateway_key)
        turn = client.say("Hello.")
        assert turn.status == 1
        assert turn.text.startswith("API Error: 402 Budget 'team-month' is exhausted: $0.")
        assert "of $0.40 spent" in turn.text
        assert turn.text.endswith("; ask Ada in platform to raise it.")

        (cut_off,) = upstream.messages
        assert (cut_off.hung_up, cut_off.is_answered) == (True, False)
        *refused, cut = gateway.rows("requests")
        assert 0 < len(refused) <= REFUSALS_MAX
        assert {row["outcome"] for row in refused} == {"refused"}
        assert (cut["outcome"], cut["cost_status"]) == ("budget_cut", "estimated")
        (budget,) = gateway.rows("budgets", "list")
        assert (budget["state"], budget["settled_usd"]) == ("exhausted", cut["charged_usd"])
        # A gateway that was kept from its work reads more at once than it had asked for, and says so.
        charged, overrun = Decimal(cut["charged_usd"]), Decimal(cut["overrun_usd"])
        assert LIMIT_USD - USED_TO_WITHIN_USD < charged <= LIMIT_USD + overrun
        assert (overrun > 0) == (charged > LIMIT_USD)
        assert overrun < WHOLE_ANSWER_USD - LIMIT_USD
        assert gateway.run("ledger", "verify").returncode == 0
