"""Whoever asks what, and when: the cache gives what a model of it gives, and nobody's to anybody else."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from farebox.domain.record import RequestRecord
from tests.gateway.peers import USED
from tests.gateway.stage import Stage, a_file, a_stage, asking
from tests.support.upstream import sse_message

MAX_AGE = timedelta(seconds=60)
WORKSPACE_OF = {"alice": "default", "bob": "default", "rita": "research", "rob": "research"}
CONFIG = {"provider": "@anthropic", "cache": {"mode": "simple", "max_age": 60}}
FILE = a_file(
    configs=[{"slug": "c", "config": CONFIG}],
    workspaces=[{"slug": slug, "config": "c"} for slug in ("default", "research")],
    keys=[{"name": name, "workspace": workspace} for name, workspace in WORKSPACE_OF.items()],
    budgets=[{"name": "day", "usd": 1000, "period": "day", "scope": {"workspace": "*"}}],
)


@dataclass(frozen=True)
class Step:
    """Somebody asks, some seconds after the step before."""

    key: str
    question: int
    namespace: str
    refreshes: bool
    after_s: int


@dataclass
class Model:
    """What is kept, by who may have it and what was asked."""

    kept: dict[tuple[str, int, str], tuple[bytes, datetime]] = field(default_factory=dict)

    def expect(self, step: Step, now: datetime) -> tuple[str, bytes | None]:
        """Give the status that is due, and for a hit the answer."""
        found = self.kept.get(self.place(step))
        if step.refreshes:
            return "REFRESH", None
        if found is None or now - found[1] >= MAX_AGE:
            return "MISS", None
        return "HIT", found[0]

    def place(self, step: Step) -> tuple[str, int, str]:
        return WORKSPACE_OF[step.key], step.question, step.namespace


steps = st.lists(
    st.builds(
        Step,
        key=st.sampled_from(sorted(WORKSPACE_OF)),
        question=st.integers(0, 2),
        namespace=st.sampled_from(["", "n"]),
        refreshes=st.integers(0, 5).map(lambda drawn: drawn == 0),
        after_s=st.sampled_from([0, 1, 20, 59, 60]),
    ),
    min_size=1,
    max_size=25,
)


@settings(max_examples=15, deadline=None)
@given(steps)
def test_the_cache_does_what_its_model_does(played: list[Step]) -> None:
    with TemporaryDirectory() as folder:
        asyncio.run(_play(Path(folder), played))


async def _play(folder: Path, played: list[Step]) -> None:
    async with a_stage(folder, FILE) as stage:
        stage.upstream.script = lambda _: sse_message(f"Answer {len(stage.upstream.sent)}.", usage=USED)
        model = Model()
        for step in played:
            await _ask(stage, model, step)
        rows = await stage.rows()
        assert len(rows) == len(played)
        assert sum(_price(row) for row in rows) == len(rows) * max(map(_price, rows))
        assert sum((await stage.settled()).values()) == sum(row.charged_picodollars for row in rows)


async def _ask(stage: Stage, model: Model, step: Step) -> None:
    stage.clock.advance(timedelta(seconds=step.after_s))
    now, sent = stage.clock.now(), len(stage.upstream.sent)
    headers = {"x_farebox_cache_namespace": step.namespace} if step.namespace else {}
    if step.refreshes:
        headers["x_farebox_cache_force_refresh"] = "true"
    told = await stage.ask(asking(f"Question {step.question}."), key=step.key, **headers)
    await stage.gateway.cache.drain()
    status, body = model.expect(step, now)
    assert told.header("x-farebox-cache-status") == status
    if body is None:
        assert len(stage.upstream.sent) == sent + 1
        model.kept[model.place(step)] = told.body, now
    else:
        assert (told.body, len(stage.upstream.sent)) == (body, sent)


def _price(row: RequestRecord) -> int:
    """What an answer cost or saved: the same for all of these."""
    return row.charged_picodollars + row.saved_picodollars
