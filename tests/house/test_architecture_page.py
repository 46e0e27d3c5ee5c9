"""The *Where is ...?* table of docs/architecture.md names paths that exist."""

import re
from pathlib import Path

from tests.house.tree import PACKAGE, ROOT

HEADING = re.compile(r"^#+ .*\bWhere is\b", re.IGNORECASE)
CODE = re.compile(r"`([^`]+)`")


def where_is_rows(markdown: str) -> dict[str, list[str]]:
    """Map each question of the first table under the heading to the paths in its other columns."""
    lines = iter(markdown.splitlines())
    under_heading = any(HEADING.match(line) for line in lines)
    rows: dict[str, list[str]] = {}
    for line in lines if under_heading else ():
        if line.startswith("|"):
            question, *places = (cell.strip() for cell in line.strip().strip("|").split("|"))
            rows[question] = [path for place in places for path in CODE.findall(place) if "/" in path]
        elif rows:
            break
    return dict(list(rows.items())[2:])


def lost_paths(rows: dict[str, list[str]], roots: tuple[Path, ...]) -> list[str]:
    """Name the paths that are under none of the roots; what follows a colon is a place in the file."""
    return [
        path
        for paths in rows.values()
        for path in paths
        if not any((root / path.split(":")[0]).exists() for root in roots)
    ]


def test_every_path_of_the_where_is_table_exists() -> None:
    rows = where_is_rows((ROOT / "docs/architecture.md").read_text(encoding="utf-8"))
    assert len(rows) >= 6
    assert [question for question, paths in rows.items() if not paths] == []
    assert lost_paths(rows, (ROOT, PACKAGE)) == []


def test_a_path_that_does_not_exist_is_found(tmp_path: Path) -> None:
    (tmp_path / "gateway").mkdir()
    (tmp_path / "gateway/reserve.py").touch()
    page = """
# Architecture
## Where is ...?

| what | file |
| --- | --- |
| budget checked | `gateway/reserve.py:reserve` |
| error worded | `http/errors.py`, in `word` |

| another | table |
| --- | --- |
| x | `not/read.py` |
"""
    rows = where_is_rows(page)
    assert rows == {"budget checked": ["gateway/reserve.py:reserve"], "error worded": ["http/errors.py"]}
    assert lost_paths(rows, (tmp_path,)) == ["http/errors.py"]
