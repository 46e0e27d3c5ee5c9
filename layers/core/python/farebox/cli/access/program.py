"""How this very command is called, for lines that are there to be pasted."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path


def program_line(called_as: str, python: str, folder: Path, search_path: str) -> str:
    """Give the words for a shell in `folder`; `called_as` and `python` are as in `sys`."""
    if Path(called_as).name == "__main__.py":
        return f"{_shown(Path(python), folder)} -m farebox"
    # Not resolved: the Python behind a virtual environment's link would not find the package.
    program = folder / called_as
    found = shutil.which(program.name, path=search_path)
    if found is not None and folder / found == program:
        return shlex.quote(program.name)
    return _shown(program, folder)


def _shown(path: Path, folder: Path) -> str:
    return shlex.quote(str(path.relative_to(folder) if path.is_relative_to(folder) else path))
