"""Every test that docs/security.md names exists."""

from __future__ import annotations

import re
from pathlib import Path

from tests.house.tree import ROOT

NAMED = re.compile(r"`(tests/[\w/]+\.py)(?::(\w+))?`")


def missing(page: str, root: Path) -> list[str]:
    """Give what a page names and is not there: files, and functions in them."""
    lost = []
    for path, name in NAMED.findall(page):
        file = root / path
        if not file.exists() or (name and f"def {name}(" not in file.read_text(encoding="utf-8")):
            lost.append(f"{path}:{name}" if name else path)
    return lost


def test_every_threat_is_covered_by_a_test_that_exists() -> None:
    page = (ROOT / "docs/security.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if re.match(r"\| [a-z]", line) and line.count("|") == 4]
    threats = [row for row in rows if "`tests/" in row]
    assert len(threats) > 30
    assert missing(page, ROOT) == []


def test_a_test_that_is_gone_is_found(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_a.py").write_text("def test_one() -> None: ...\n")
    page = "`tests/test_a.py`, `tests/test_a.py:test_one`, `tests/test_a.py:test_two`, `tests/test_b.py`"
    assert missing(page, tmp_path) == ["tests/test_a.py:test_two", "tests/test_b.py"]
