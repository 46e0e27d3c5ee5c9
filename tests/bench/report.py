"""One measured row, the table that people read, and the JSON that machines compare."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

WIDTHS = (34, 10, 20, 7)


@dataclass(frozen=True, slots=True)
class Row:
    """`value` in `unit`, beside `floor` of the same run. `goal` bounds the value, or the ratio when it ends
    in x.
    """

    what: str
    unit: str
    value: float | None
    floor_name: str = ""
    floor: float | None = None
    goal: float | None = None
    goal_is_ratio: bool = False
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times the floor."""
        return self.value / self.floor if self.value is not None and self.floor else None

    @property
    def is_met(self) -> bool | None:
        """Whether the goal is reached; None without a goal or a number."""
        measured = self.ratio if self.goal_is_ratio else self.value
        return None if measured is None or self.goal is None else measured <= self.goal


def table(rows: Sequence[Row]) -> str:
    """Write the rows in 80 columns, each with its floor, ratio, goal and verdict."""
    lines = [f"{'what':<31}{'value':>10}  {'floor':<18}{'ratio':>6}{'goal':>8}", "-" * 80]
    for row in rows:
        floor = f"{number(row.floor)} {row.floor_name}" if row.floor is not None else row.floor_name
        ratio = f"{row.ratio:.2f}" if row.ratio is not None else ""
        goal = "" if row.goal is None else f"{number(row.goal)}{'x' if row.goal_is_ratio else ''}"
        verdict = {True: "met", False: "MISS", None: ""}[row.is_met]
        value = "not yet" if row.value is None else number(row.value)
        lines.append(f"{row.what:<31.31}{value:>10}  {floor:<18.18}{ratio:>6}{goal:>8} {verdict}")
        if row.unit or row.note:
            lines.append(f"    {'; '.join(part for part in (row.unit, row.note) if part)}"[:80])
    return "\n".join(lines)


def write_json(folder: Path, name: str, rows: Sequence[Row]) -> Path:
    """Keep a run for comparison."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.json"
    machine = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "system": platform.system(),
        "cores": os.cpu_count(),
    }
    told = [{**asdict(row), "ratio": row.ratio, "is_met": row.is_met} for row in rows]
    path.write_text(json.dumps({"machine": machine, "rows": told}, indent=1) + "\n")
    return path


def number(value: float | None) -> str:
    """Write a number with about three digits that matter."""
    if value is None:
        return ""
    if abs(value) >= 1_000_000:
        return f"{value / 1_000_000:.1f} M"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
