"""A running gateway whose budget crosses a threshold: one line in its log, one post to its webhook."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.support.laptop import QUICK, Laptop, a_policy, asking
from tests.support.upstream import ScriptedUpstream, json_reply, sse_message, usage

BUDGETS = [{"name": "watched", "usd": "0.0001", "period": "total", "alerts": [50], "on_exhausted": "alert"}]


def background(laptop: Laptop) -> Callable[[], Coroutine[Any, Any, None]]:
    """Start what `serve` runs behind requests; give what stops it."""

    async def start() -> asyncio.Task[None]:
        return asyncio.create_task(laptop.local.alerts.run(laptop.local.events))

    task = laptop.run(start())

    async def stop() -> None:
        task.cancel()
        await asyncio.wait([task])

    return stop


def test_a_threshold_is_logged_and_posted_once_over_a_restart(tmp_path: Path) -> None:
    replies = [sse_message(usage=usage(input_tokens=10, output_tokens=10))] * 3
    with ScriptedUpstream(replies) as upstream, ScriptedUpstream([json_reply({})]) as hook:
        settings = replace(QUICK, webhook_url=f"{hook.base_url}/hook")
        for count in (2, 1):
            with Laptop(tmp_path, a_policy(upstream, budgets=BUDGETS), settings=settings) as laptop:
                key = key if count == 1 else laptop.key  # noqa: F821  # made by the first start
                stop = background(laptop)
                for _ in range(count):
                    laptop.ask(asking("Hi.", stream=True), key=key)
                hook.wait_until(lambda peer: len(peer.requests) == 1)
                laptop.wait_until(lambda seen: len(seen.log) >= (3 if seen.keys else 1))
                laptop.run(stop())
                told = [json.loads(line) for line in laptop.log]
                if count == 2:
                    crossings = [line for line in told if line["event"] == "budget_threshold"]
        (posted,) = (json.loads(received.body) for received in hook.requests)
    assert [(line["budget"], line["threshold"], line["limit_usd"]) for line in crossings] == [
        ("watched", 50, "0.0001")
    ]
    assert {name: crossings[0][name] for name in posted} == posted
