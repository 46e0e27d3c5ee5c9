"""Where the project's files are, for the rules that read them."""

import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "layers/core/python/farebox"
PRODUCT = (PACKAGE, ROOT / "infra", ROOT / "functions")

Rule = Callable[[str], list[str]]


def python_files(*folders: Path) -> list[Path]:
    """List the Python files under those of the folders that exist yet."""
    return sorted(path for folder in folders for path in folder.rglob("*.py"))


def project_files() -> list[Path]:
    """List every file that is committed or would be by `git add --all`."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    ).stdout.decode()
    paths = (ROOT / name for name in sorted(set(listing.split("\0"))) if name)
    return [path for path in paths if path.is_file()]


def text_of(path: Path) -> str:
    """Give a file's text, or nothing for a binary file."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


def violations(rule: Rule, paths: Iterable[Path], *, allowed: Iterable[Path] = ()) -> list[str]:
    """Apply the rule to each file and name the file in what it finds."""
    exempt = set(allowed)
    return [
        f"{path.relative_to(ROOT)}: {finding}"
        for path in paths
        if path not in exempt
        for finding in rule(text_of(path))
    ]
