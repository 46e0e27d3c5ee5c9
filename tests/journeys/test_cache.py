"""Claude Code asks the same again, in another session on another machine, and no provider hears of it."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from tests.journeys.claude_code import ClaudeCode
from tests.journeys.scene import PROVIDER, gateway_before
from tests.support.upstream import ScriptedUpstream, ToolCall, sse_message, usage

pytestmark = pytest.mark.journey

CONFIG = {
    "slug": "cached",
    "config": {"provider": f"@{PROVIDER}", "cache": {"mode": "simple", "max_age": 600}},
}
USED = usage(input_tokens=12, output_tokens=31)


def test_a_turn_with_a_tool_is_given_again_to_another_session_and_machine(tmp_path: Path) -> None:
    call = ToolCall("Bash", {"command": "echo hi-$((6*7))"})
    script = [sse_message("Calling.", usage=USED, tool=call), sse_message("Done.", usage=USED)]
    workspaces = [{"slug": "default", "config": "cached"}]
    with (
        ScriptedUpstream(script) as upstream,
        gateway_before(tmp_path, upstream, configs=[CONFIG], workspaces=workspaces) as gateway,
    ):
        client = ClaudeCode.pointed_at(tmp_path / "claude", gateway.base_url, gateway.gateway_key)
        turns = [client.say("Say hi.")]
        # A container that is made anew has the same paths, and another device's name in an empty home.
        (tmp_path / "claude/home").rename(tmp_path / "gone")
        (tmp_path / "claude/home").mkdir()
        turns.append(client.say("Say hi."))
        assert [turn.text.strip() for turn in turns] == ["Done.", "Done."]
        assert turns[0].session_id != turns[1].session_id
        assert len(upstream.requests) == 2
        rows = gateway.rows("requests")
        assert [row["outcome"] for row in rows] == ["cached", "cached", "finished", "finished"]
        assert [row["session_id"] for row in rows[:2]] == [turns[1].session_id] * 2
        total = gateway.json("usage", "--by", "workspace")["total"]
        assert (total["cache_hits"], total["saved_usd"]) == (2, total["cost_usd"])
        assert Decimal(total["cost_usd"]) > 0
