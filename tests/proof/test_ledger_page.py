"""Every test that a page names exists, and every invariant has one or is said not to be built."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.house.tree import ROOT

INVARIANTS = [f"I{number}" for number in range(1, 31)]
_ROW = re.compile(r"^\| (I\d+) \|(.*)\|$", re.MULTILINE)
_TEST = re.compile(r"`(?:tests/)?([\w/]+\.py):(test_\w+)`")


def proofs(markdown: str) -> dict[str, list[tuple[str, str]]]:
    """Map each invariant to the files and tests of its row."""
    return {name: _TEST.findall(cells) for name, cells in _ROW.findall(markdown)}


def lost_tests(named: list[tuple[str, str]], tests: Path) -> list[str]:
    """Name the tests that are not defined where the page says."""
    return [
        f"{file}:{name}"
        for file, name in named
        if not (tests / file).is_file()
        or not re.search(rf"^(?:async )?def {name}\(", (tests / file).read_text(), re.MULTILINE)
    ]


def test_every_invariant_has_a_row() -> None:
    page = (ROOT / "docs/ledger.md").read_text(encoding="utf-8")
    rows = proofs(page)
    assert list(rows) == INVARIANTS
    unproven = [name for name, named in rows.items() if not named]
    assert unproven == ["I26"]


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda page: page.stem)
def test_every_test_that_a_page_names_exists(page: Path) -> None:
    assert lost_tests(_TEST.findall(page.read_text(encoding="utf-8")), ROOT / "tests") == []


def test_a_test_that_is_not_there_is_found(tmp_path: Path) -> None:
    (tmp_path / "test_a.py").write_text("async def test_one() -> None: ...\n")
    page = "| I1 | x | `test_a.py:test_one`, `test_a.py:test_on` |\n| I2 | y | `test_b.py:test_one` |\n"
    rows = proofs(page)
    assert list(rows) == ["I1", "I2"]
    assert lost_tests([*rows["I1"], *rows["I2"]], tmp_path) == ["test_a.py:test_on", "test_b.py:test_one"]
