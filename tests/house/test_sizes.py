"""Functions, files and folders stay small enough to be read in one go."""

from pathlib import Path

from tests.house import rules
from tests.house.tree import PACKAGE, PRODUCT, ROOT, python_files, violations

MAX_FOLDER_ENTRIES = 12
NO_ENTRY = frozenset({"__init__.py", "__pycache__", "py.typed"})
SIZED = (*PRODUCT, ROOT / "tools")


def crowded_folders(top: Path) -> list[str]:
    """Count modules, packages and data alike; what stands for the folder itself is no entry."""
    folders = [top, *(path for path in top.rglob("*") if path.is_dir() and path.name != "__pycache__")]
    counts = {folder: sum(entry.name not in NO_ENTRY for entry in folder.iterdir()) for folder in folders}
    return sorted(
        f"{folder.relative_to(top.parent)} has {count} entries"
        for folder, count in counts.items()
        if count > MAX_FOLDER_ENTRIES
    )


def test_no_function_is_longer_than_fifty_lines() -> None:
    assert violations(rules.long_functions, python_files(*SIZED)) == []


def test_no_file_is_longer_than_four_hundred_lines() -> None:
    assert violations(rules.long_files, python_files(*SIZED)) == []


def test_no_folder_of_the_package_is_crowded() -> None:
    assert crowded_folders(PACKAGE) == []


def test_a_function_of_fifty_one_lines_is_found() -> None:
    fits = "def fits():\n" + "    x = 1\n" * 49
    too_long = "async def too_long():\n" + "    x = 1\n" * 50
    assert rules.long_functions(fits + too_long) == ["too_long has 51 lines"]


def test_a_file_of_four_hundred_and_one_lines_is_found() -> None:
    assert rules.long_files("x = 1\n" * 400) == []
    assert rules.long_files("x = 1\n" * 401) == ["401 lines"]


def test_a_folder_of_thirteen_modules_is_found(tmp_path: Path) -> None:
    for folder, count in (("roomy", 12), ("crowded", 13)):
        (tmp_path / "house" / folder).mkdir(parents=True)
        for name in ("__init__", *(f"module_{number}" for number in range(count))):
            (tmp_path / "house" / folder / f"{name}.py").touch()
    assert crowded_folders(tmp_path / "house") == ["house/crowded has 13 entries"]
