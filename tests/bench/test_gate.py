"""The gate: what a streamed event costs in instructions, which repeat where times do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.lockstep import gateway_instructions, has_valgrind, passthrough_instructions
from tests.bench.programs import Workshop

# Measured on CPython 3.11: 31,800 and 0.69 of the pass-through; a quarter is slack.
LARGEST_COUNT = 39_000
LARGEST_RATIO = 0.86


@pytest.mark.skipif(not has_valgrind(), reason="counting instructions needs valgrind, which is not installed")
def test_a_streamed_event_costs_no_more_instructions_than_in_an_empty_pass_through(tmp_path: Path) -> None:
    with Workshop(tmp_path) as workshop:
        ours = gateway_instructions(workshop)
        plain = passthrough_instructions(workshop)
    assert ours.per_event / plain.per_event <= LARGEST_RATIO
    assert ours.per_event <= LARGEST_COUNT
    assert ours.per_event > 2_000, "fewer than a read, a write and a wake-up cost: nothing was counted"
