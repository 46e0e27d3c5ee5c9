"""A config may name a thousand targets that refuse, each after some work: others have turns meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path

import pytest

from farebox.domain.errors import PolicyRefused
from farebox.domain.plan import Caller, Option, Plan
from farebox.domain.routing.reading import config_tree
from farebox.domain.routing.tree import Conditional, Leaf, LoadBalance
from farebox.gateway.charging.journal import Journal
from farebox.gateway.incoming import IncomingRequest
from farebox.gateway.route import Attempts
from farebox.gateway.routing.counting import count_at_targets
from tests.gateway.stage import Stage, a_stage
from tests.support.builders import NOON, a_key

TARGETS = 50
CALLER = Caller(a_key(), None, {}, None, None, "trace")


async def no_body() -> bytes:
    return b""


REQUEST = IncomingRequest("req_1", "messages", b"", [], no_body)


class FirstOfAll:
    """Fills `Chooser`."""

    def draw(self, node: LoadBalance) -> int:
        return 0

    def match(self, node: Conditional) -> int | None:
        return 0

    def is_open(self, leaf: Leaf) -> bool:
        return False


class Others:
    """Everybody else: counts its turns, and each time that a target refuses how many there were."""

    def __init__(self) -> None:
        self.turns = 0
        self.seen: list[int] = []

    async def run(self) -> None:
        while True:
            self.turns += 1
            await asyncio.sleep(0)

    def refuse(self, leaf: Leaf) -> Option:
        self.seen.append(self.turns)
        raise PolicyRefused("Not here.")


def a_plan(others: Others) -> Plan:
    tree = config_tree({"strategy": {"mode": "fallback"}, "targets": [{"provider": "@a"}] * TARGETS})
    return Plan("req_1", NOON, CALLER, "m", True, None, tree, FirstOfAll(), others.refuse)


async def send(stage: Stage, plan: Plan) -> None:
    journal = Journal(REQUEST, CALLER, stage.clock, NOON, 0)
    await Attempts(plan, journal, stage.gateway.trying).next()


async def count(stage: Stage, plan: Plan) -> None:
    await count_at_targets(plan, REQUEST, stage.gateway.providers, stage.gateway.credentials)


@pytest.mark.parametrize("ask", [send, count])
async def test_targets_that_refuse_let_others_have_their_turns(
    ask: Callable[[Stage, Plan], Awaitable[None]], tmp_path: Path
) -> None:
    others = Others()
    async with a_stage(tmp_path) as stage:
        running = asyncio.ensure_future(others.run())
        with pytest.raises(PolicyRefused):
            await ask(stage, a_plan(others))
        running.cancel()
    assert len(others.seen) == TARGETS
    assert all(before < after for before, after in pairwise(others.seen[1:]))
