"""`make bench`: measures, prints one table, and keeps the numbers under .bench/."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.bench.dynamodb import dynamodb_rows
from tests.bench.holding import holding_rows
from tests.bench.instructions import instruction_rows
from tests.bench.programs import Workshop
from tests.bench.report import Row, table, write_json
from tests.bench.starting import starting_rows
from tests.bench.store import store_rows
from tests.bench.streaming import cloud_rows, streaming_rows

RESULTS = Path(__file__).parents[2] / ".bench"

PARTS: Mapping[str, Callable[[Workshop, bool], list[Row]]] = {
    "streaming": lambda workshop, quick: streaming_rows(workshop, quick=quick),
    "clouds": lambda workshop, quick: cloud_rows(workshop, quick=quick),
    "holding": lambda workshop, quick: holding_rows(workshop, quick=quick),
    "store": lambda workshop, quick: store_rows(workshop.folder, quick=quick),
    "dynamodb": lambda workshop, quick: dynamodb_rows(),
    "starting": lambda workshop, quick: starting_rows(workshop, quick=quick),
    "instructions": lambda workshop, quick: instruction_rows(workshop, quick=quick),
}

UNMEASURED = (
    ("Lambda: CPU of a paced stream", 2.2, True),
    ("Lambda: added first event, us", 600.0, False),
    ("secret scan of 1 MB, ms", 2.0, False),
)
"""Rows whose subject does not exist yet."""


def main() -> None:
    """Measure farebox on this machine, every number beside its floor from the same run."""
    parser = argparse.ArgumentParser(prog="make bench", description=main.__doc__)
    parser.add_argument("--quick", action="store_true", help="few repetitions: shows that it runs, no more")
    parser.add_argument("--only", choices=sorted(PARTS), action="append", help="leave out the other parts")
    options = parser.parse_args()
    rows: list[Row] = []
    for part in options.only or PARTS:
        with tempfile.TemporaryDirectory() as folder, Workshop(Path(folder)) as workshop:
            rows += PARTS[part](workshop, options.quick)
    if not options.only:
        rows += [
            Row(what, "", None, goal=goal, goal_is_ratio=is_ratio) for what, goal, is_ratio in UNMEASURED
        ]
    print(table(rows))
    kept = write_json(RESULTS, "quick" if options.quick else "full", rows)
    print(f"kept in {kept.relative_to(RESULTS.parent)}")


if __name__ == "__main__":
    main()
