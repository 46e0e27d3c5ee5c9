"""Rows that repeat: instructions of an event, of a request, and of importing the data plane."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping

from tests.bench.lockstep import Count, gateway_instructions, has_valgrind, passthrough_instructions, total
from tests.bench.payload import DELTAS
from tests.bench.programs import STEADY, Workshop
from tests.bench.report import Row

EVENT_GOAL = 12_000
IMPORT_GOAL = 350_000_000
CORE = "farebox.http.data_plane"
HEAVY = ("fastapi", "pydantic", "boto3", "uvicorn", "httpx")
SKIPPED = "skipped: valgrind is not installed"


def instruction_rows(workshop: Workshop, *, quick: bool) -> list[Row]:
    """Count, or say that it could not be done."""
    modules, heavy = loaded_modules()
    weight = f"data plane; {modules} modules; {', '.join(HEAVY)}: {', '.join(heavy) or 'none'}"
    if not has_valgrind():
        return [*_stream_rows(None, None), *_import_rows(None, None, f"{weight}; {SKIPPED}")]
    rounds = 1 if quick else 3
    ours = gateway_instructions(workshop, rounds=rounds)
    plain = passthrough_instructions(workshop, rounds=rounds)
    bare = program_instructions(workshop, "pass")
    added = program_instructions(workshop, f"import {CORE}") - bare
    return [*_stream_rows(ours, plain), *_import_rows(added, bare, weight)]


def _stream_rows(ours: Count | None, plain: Count | None) -> list[Row]:
    note = "user space, whole process" if ours else SKIPPED
    return [
        Row(
            "instructions, a streamed event",
            f"{note}; slope from {DELTAS} to {2 * DELTAS} deltas",
            ours.per_event if ours else None,
            floor_name="aiohttp",
            floor=plain.per_event if plain else None,
            goal=EVENT_GOAL,
        ),
        Row(
            "instructions, a request",
            f"{note}; without its deltas",
            ours.per_request if ours else None,
            floor_name="aiohttp",
            floor=plain.per_request if plain else None,
        ),
    ]


def _import_rows(added: int | None, bare: int | None, note: str) -> list[Row]:
    return [Row("instructions, import", note, added, floor_name="bare", floor=bare, goal=IMPORT_GOAL)]


def program_instructions(
    workshop: Workshop,
    program: str,
    *,
    python: str = sys.executable,
    environment: Mapping[str, str] | None = None,
) -> int:
    """Count a whole run of `python -c`."""
    counts = workshop.new_path("cachegrind")
    under = [
        "valgrind",
        "--tool=cachegrind",
        "--cache-sim=no",
        f"--log-file={counts}.log",
        f"--cachegrind-out-file={counts}",
    ]
    subprocess.run([*under, python, "-c", program], check=True, env={**(environment or os.environ), **STEADY})
    return total(counts, "summary:")


def loaded_modules() -> tuple[int, list[str]]:
    """Give how many modules the core loads over a bare interpreter, and which of the heavy ones."""
    script = f"import sys; bare = set(sys.modules); import {CORE}; print(*sorted(set(sys.modules) - bare))"
    told = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    modules = told.split()
    return len(modules), [name for name in HEAVY if name in modules]
