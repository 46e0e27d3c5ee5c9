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


def events(laptop: Laptop) -> list[str]:
    return sorted(json.loads(line)["event"] for line in laptop.log)


def test_a_threshold_is_logged_and_posted_once_over_a_restart(tmp_path: Path) -> None:
    answer = sse_message(usage=usage(input_tokens=10, output_tokens=10))
    with ScriptedUpstream([answer] * 3) as upstream, ScriptedUpstream([json_reply({})]) as hook:
        policy = a_policy(upstream, budgets=BUDGETS)
        settings = replace(QUICK, webhook_url=f"{hook.base_url}/hook")
        with Laptop(tmp_path, policy, settings=settings) as laptop:
            key, stop = laptop.key, background(laptop)
            for _ in range(2):
                laptop.ask(asking("Hi.", stream=True))
            hook.wait_until(lambda peer: len(peer.requests) == 1 and peer.requests[0].is_answered)
            laptop.wait_until(lambda seen: len(seen.log) == 3)
            laptop.run(stop())
            assert events(laptop) == ["budget_threshold", "request", "request"]
            logged = next(json.loads(line) for line in laptop.log if "budget_threshold" in line)
        with Laptop(tmp_path, policy, settings=settings) as laptop:
            stop = background(laptop)
            laptop.ask(asking("Hi.", stream=True), key=key)
            laptop.wait_until(lambda seen: len(seen.log) == 1)
            laptop.run(laptop.local.alerts.watch.decide())
            laptop.run(stop())
            assert events(laptop) == ["request"]
        posted = [json.loads(received.body) for received in hook.requests]
    assert (logged["budget"], logged["threshold"], logged["limit_usd"]) == ("watched", 50, "0.0001")
    assert posted == [{name: logged[name] for name in logged if name not in ("event", "at")}]
