"""Property: for any tree of targets and any faults, what is booked is the sum of the attempts."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from farebox.domain.errors import UpstreamCut, UpstreamTimeout, UpstreamUnreachable
from farebox.domain.record import RequestRecord
from farebox.domain.usage import CostStatus
from farebox.gateway.settle import CLIENT_GONE
from farebox.wire.http import HttpRequest
from tests.gateway.peers import USED, ScriptedAnswer
from tests.gateway.stage import Stage, a_file, a_provider, a_stage, asking
from tests.gateway.test_fallback import ERROR, GOOD, HTML, PING, Answering, broken, failing
from tests.support.upstream import Reply, error_reply, sse_message, sse_reply

SLUGS = ("a", "b", "c")
LEFT: Answering = lambda: sse_reply([])  # noqa: E731  # never sent: stands for a client that leaves

CALM: list[Answering] = [lambda: GOOD, lambda: sse_message(usage=USED)]
FAULTS: list[Answering] = [
    lambda: error_reply(429, "rate_limit_error", "Slow down.", ("Retry-After", "1")),
    lambda: error_reply(529, "overloaded_error", "Overloaded"),
    lambda: error_reply(400, "invalid_request_error", "No."),
    lambda: sse_reply([ERROR]),
    lambda: sse_reply([PING, ERROR]),
    lambda: sse_reply([]),
    lambda: HTML,
    failing(UpstreamCut("x.example", "lost")),
    failing(UpstreamTimeout("x.example", "first_byte", 1)),
    failing(UpstreamUnreachable("x.example", "refused")),
    broken(PING),
    broken(*[piece for piece in GOOD.pieces[:1] if isinstance(piece, bytes)]),
    broken(*[piece for piece in GOOD.pieces[:4] if isinstance(piece, bytes)]),
    LEFT,
]

Json = dict[str, object]

leaves = st.builds(
    lambda slug, attempts, dear: {
        "provider": f"@{slug}",
        "retry": {"attempts": attempts},
        **({"override_params": {"max_tokens": 9_000}} if dear else {}),
    },
    st.sampled_from((*SLUGS, *SLUGS, *SLUGS, "nobody")),
    st.integers(0, 2),
    st.booleans(),
)


def branches(nodes: st.SearchStrategy[Json]) -> st.SearchStrategy[Json]:
    strategies: list[Json] = [
        {"mode": "fallback"},
        {"mode": "fallback", "on_status_codes": [429, 502, 529]},
        {"mode": "loadbalance"},
    ]
    children = st.lists(nodes, min_size=1, max_size=3)
    return st.builds(
        lambda strategy, targets: {"strategy": strategy, "targets": targets},
        st.sampled_from(strategies),
        children,
    )


trees = st.recursive(leaves, branches, max_leaves=6)
answers = st.lists(st.sampled_from([*CALM, *FAULTS]), min_size=3, max_size=9)


def a_policy() -> Json:
    budgets: list[Json] = [
        {"name": "all", "scope": {}, "usd": 100, "period": "day"},
        {"name": "each", "scope": {"provider": "*"}, "usd": 0.2, "period": "day"},
        {"name": "tokens", "scope": {"provider": "*"}, "tokens": 1_000_000, "period": "day"},
        {"name": "seen", "scope": {"provider": "*"}, "usd": 1, "period": "day", "on_exhausted": "alert"},
    ]
    places: Json = {"name": "places", "scope": {"provider": "*"}, "concurrent": 1}
    providers = [a_provider("a"), a_provider("b", prices={"multiplier": 2}), a_provider("c")]
    return a_file(providers=providers, budgets=budgets, rate_limits=[places])


async def asked(stage: Stage, config: Json, script: Sequence[Answering]) -> None:
    """Ask once. The client leaves when the script comes to `LEFT`."""
    left: Iterator[Answering] = iter(script)
    leaving = asyncio.Event()

    def answer(_: HttpRequest) -> Reply | ScriptedAnswer:
        answering = next(left, CALM[0])
        if answering is LEFT:
            leaving.set()
            return ScriptedAnswer(200, list(answered_head()), [None])
        return answering()

    stage.upstream.script = answer
    telling = asyncio.ensure_future(stage.ask(asking(stream=True), x_farebox_config=json.dumps(config)))
    going = asyncio.ensure_future(leaving.wait())
    await asyncio.wait((telling, going), return_when=asyncio.FIRST_COMPLETED)
    if not telling.done():
        telling.cancel(CLIENT_GONE)
    going.cancel()
    await asyncio.gather(telling, going, return_exceptions=True)


def answered_head() -> Iterator[tuple[bytes, bytes]]:
    yield b"content-type", b"text/event-stream"


def check(row: RequestRecord) -> None:
    assert row.charged_picodollars == sum(each.charged_picodollars for each in row.attempts)
    known = [each.cost_picodollars for each in row.attempts]
    assert row.cost_picodollars == sum(cost or 0 for cost in known)
    assert row.overrun_picodollars == 0
    estimated = any(each.cost_status is CostStatus.ESTIMATED for each in row.attempts)
    assert row.cost_status is (CostStatus.ESTIMATED if estimated else CostStatus.PRICED)
    assert all(each.reason is not None for each in row.attempts[:-1])
    if row.attempts:
        assert (row.provider, row.model) == (row.attempts[-1].provider, row.attempts[-1].model)


async def balances(folder: Path, requests: Sequence[tuple[Json, Sequence[Answering]]]) -> None:
    async with a_stage(folder, a_policy()) as stage:
        for config, script in requests:
            await asked(stage, config, script)
        rows = await stage.rows()
        assert len(rows) == len(requests)
        for row in rows:
            check(row)
        attempts = [attempt for row in rows for attempt in row.attempts]
        assert await stage.held() == 0
        settled = await stage.settled()
        assert settled.get(("all", ""), 0) == sum(each.charged_picodollars for each in attempts)
        for slug in SLUGS:
            mine = [each for each in attempts if each.provider == slug]
            spent = sum(each.charged_picodollars for each in mine)
            assert settled.get(("each", slug), 0) == settled.get(("seen", slug), 0) == spent
            used = [each.usage for each in mine if each.usage is not None]
            tokens = sum(each.prompt_tokens + each.output_tokens for each in used)
            assert settled.get(("tokens", slug), 0) == tokens
        # Every place among open requests was given back.
        stage.upstream.script = lambda _: GOOD
        for slug in SLUGS:
            last = await stage.ask(asking(stream=True, max_tokens=1), x_farebox_provider=f"@{slug}")
            assert last.status in (200, 402), last.body


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(trees, answers), min_size=1, max_size=4))
def test_every_bucket_balances_for_any_tree_and_any_faults(
    requests: list[tuple[Json, list[Answering]]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(balances(Path(folder), requests))
