"""What the bench prints is honest about goals and fits a terminal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.bench.report import Row, number, table, write_json


@pytest.mark.parametrize(
    ("row", "is_met"),
    [
        (Row("a", "ms", 2.0, goal=2.0), True),
        (Row("a", "ms", 2.1, goal=2.0), False),
        (Row("a", "ms", 0.0, goal=0.0), True),
        (Row("a", "ms", 3.0, floor=2.0, goal=1.5, goal_is_ratio=True), True),
        (Row("a", "ms", 3.1, floor=2.0, goal=1.5, goal_is_ratio=True), False),
        (Row("a", "ms", 3.0), None),
        (Row("a", "ms", None, floor=2.0, goal=1.5), None),
    ],
)
def test_a_goal_bounds_the_value_or_the_ratio_and_nothing_is_met_unmeasured(
    row: Row, is_met: bool | None
) -> None:
    assert row.is_met is is_met


def test_the_table_names_value_floor_ratio_goal_and_verdict_in_eighty_columns() -> None:
    rows = [
        Row("CPU, 1,000 paced events, median", "ms; on", 12.3, "aiohttp", 10.0, goal=1.0, goal_is_ratio=True),
        Row("left open", "", 0, goal=0, note="x" * 90),
        Row("Lambda", "", None, goal=120),
    ]
    lines = table(rows).splitlines()
    assert max(map(len, lines)) <= 80
    assert [" ".join(line.split()) for line in (lines[2], lines[4], lines[6])] == [
        "CPU, 1,000 paced events, median 12.3 10 aiohttp 1.23 1x MISS",
        "left open 0 0 met",
        "Lambda not yet 120",
    ]


@pytest.mark.parametrize(
    ("value", "text"), [(None, ""), (0, "0"), (0.1234, "0.123"), (1234.5, "1,234"), (350_000_000, "350.0 M")]
)
def test_numbers_keep_the_digits_that_matter(value: float | None, text: str) -> None:
    assert number(value) == text


def test_a_kept_run_has_every_row_with_its_verdict(tmp_path: Path) -> None:
    path = write_json(tmp_path / "runs", "full", [Row("a", "ms", 3.0, "pump", 2.0, goal=2.0)])
    assert json.loads(path.read_text())["rows"] == [
        {
            "what": "a",
            "unit": "ms",
            "value": 3.0,
            "floor_name": "pump",
            "floor": 2.0,
            "goal": 2.0,
            "goal_is_ratio": False,
            "note": "",
            "ratio": 1.5,
            "is_met": False,
        }
    ]
