"""The gate: what a streamed event costs in instructions, which repeat where times do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.lockstep import gateway_instructions, has_valgrind, passthrough_instructions
from tests.bench.programs import Workshop

# Measured: 36,300 and 0.79 of the pass-through on CPython 3.11, 37,400 and 0.71 on 3.13; a quarter is slack.
LARGEST_COUNT = 46_000
LARGEST_RATIO = 1.0


@pytest.mark.skipif(not has_valgrind(), reason="counting instructions needs valgrind, which is not installed")
def test_a_streamed_event_costs_no_more_instructions_than_in_an_empty_pass_through(tmp_path: Path) -> None:
    with Workshop(tmp_path) as workshop:
        ours = gateway_instructions(workshop)
        plain = passthrough_instructions(workshop)
    assert ours.per_event / plain.per_event <= LARGEST_RATIO
    assert ours.per_event <= LARGEST_COUNT
    assert ours.per_event > 2_000, "fewer than a read, a write and a wake-up cost: nothing was counted"
