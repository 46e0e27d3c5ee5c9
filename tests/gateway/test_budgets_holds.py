"""What a request holds before it is sent: enough for whatever it asks for, at the prices that will count."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.gateway.stage import a_file, a_provider, a_stage, asking, read_out


def budgeted(usd: object = 1, **sections: object) -> dict[str, object]:
    return a_file(budgets=[{"name": "b", "scope": {}, "period": "day", "usd": usd}], **sections)


async def test_a_stream_holds_a_slice_and_what_cannot_be_cut_holds_everything(tmp_path: Path) -> None:
    async with a_stage(tmp_path, budgeted("0.1")) as stage:
        assert (await stage.ask(asking(max_tokens=32_000))).status == 200
        assert (await stage.ask(asking(max_tokens=32_000, stream=False))).status == 402
        tools = [{"type": "web_search_20250305", "name": "web_search", "max_uses": 1}]
        assert (await stage.ask(asking(max_tokens=32_000, tools=tools))).status == 402
        assert len(stage.upstream.sent) == 1


SEARCH = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}


@pytest.mark.parametrize(
    ("asked", "percent", "searches"),
    [
        ({}, 100, 0),
        ({"speed": "fast"}, 200, 0),
        ({"inference_geo": "us"}, 110, 0),
        ({"speed": "fast", "inference_geo": "us"}, 220, 0),
        ({"tools": [SEARCH]}, 100, 3),
    ],
)
async def test_a_request_holds_what_its_options_can_cost(
    asked: dict[str, Any], percent: int, searches: int, tmp_path: Path
) -> None:
    async with a_stage(tmp_path, budgeted()) as stage:
        body = asking(**asked)
        stream = await stage.begin(body)
        tokens = (len(body) * 10 // 13 + 1) * 4_000_000 + 1000 * 20_000_000
        assert await stage.held() == tokens * percent // 100 + searches * 10_000_000_000
        await read_out(stream)


@pytest.mark.parametrize(
    ("negotiated", "picodollars"),
    [
        ({"multiplier": 2}, (8_000_000, 40_000_000)),
        ({"models": {"claude-opus-5-5": {"input": 1, "output": 3}}}, (1_000_000, 3_000_000)),
    ],
)
async def test_negotiated_prices_decide_what_is_held(
    negotiated: dict[str, object], picodollars: tuple[int, int], tmp_path: Path
) -> None:
    providers = [a_provider(prices=negotiated)]
    async with a_stage(tmp_path, budgeted(providers=providers)) as stage:
        stream = await stage.begin(asking())
        bound = len(asking()) * 10 // 13 + 1
        assert await stage.held() == bound * picodollars[0] + 1000 * picodollars[1]
        await read_out(stream)


async def test_one_hour_writes_are_held_at_their_own_price(tmp_path: Path) -> None:
    block = {"type": "text", "text": "x" * 2600, "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    body = asking(max_tokens=1, system=[block])
    bound = len(body) * 10 // 13 + 1
    held = bound * 8_000_000 + 20_000_000
    for limit, status in ((held - 1, 402), (held, 200)):
        file = budgeted(f"{limit / 10**12:.12f}")
        async with a_stage(tmp_path / str(status), file) as stage:
            assert (await stage.ask(body)).status == status
