"""The import contracts of pyproject.toml hold for this package and break for one with a wrong arrow."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.tree import ROOT

FOLDERS = ("domain", "wire", "providers", "gateway", "adapters", "jobs", "http", "compose", "cli")
BESIDE = ("infra", "functions")


def broken_contracts(top: Path) -> list[str]:
    """Name the contracts that the `farebox` package under `top` breaks."""
    linter = Path(sys.executable).with_name("lint-imports")
    config = ROOT / "pyproject.toml"
    report = subprocess.run(
        [linter, "--no-logo", "--no-cache", "--config", config],
        cwd=top,
        check=False,
        capture_output=True,
        text=True,
    ).stdout
    assert "Contracts: " in report, report
    return [line.removesuffix(" BROKEN") for line in report.splitlines() if line.endswith(" BROKEN")]


def build_package(top: Path, modules: dict[str, str]) -> None:
    for folder in ("", *FOLDERS):
        (top / "farebox" / folder).mkdir()
        (top / "farebox" / folder / "__init__.py").touch()
    for package in BESIDE:
        (top / package).mkdir()
        (top / package / "__init__.py").touch()
    for name, source in {"ports.py": "", **modules}.items():
        (top / ("" if name.startswith(BESIDE) else "farebox") / name).write_text(source)


def test_the_package_breaks_no_contract() -> None:
    assert broken_contracts(ROOT) == []


@pytest.mark.parametrize(
    ("module", "source", "contracts"),
    [
        ("compose/local.py", "import farebox.adapters, farebox.http, farebox.jobs, farebox.ports", []),
        ("domain/money.py", "def add():\n    import farebox.wire", ["Imports run one way"]),
        ("jobs/sweep.py", "import farebox.providers", ["Imports run one way"]),
        ("errors.py", "", ["Imports run one way"]),
        ("http/data.py", "def serve():\n    import farebox.adapters", ["Only compose knows the adapters"]),
        ("gateway/emit.py", "import farebox.jobs", ["One request knows nothing of the jobs behind it"]),
        ("gateway/a.py", "import farebox.gateway.b", ["No circles"]),
        ("infra/stack.py", "import farebox.adapters, farebox.compose", []),
        ("functions/job.py", "import farebox.compose", []),
        ("functions/job.py", "import farebox.gateway", ["Entry points only compose and call"]),
        ("infra/stack.py", "import farebox.gateway", ["The stacks know only what a deployment is"]),
    ],
)
def test_a_wrong_import_breaks_its_contract(
    module: str, source: str, contracts: list[str], tmp_path: Path
) -> None:
    build_package(tmp_path, {module: source, "gateway/b.py": "def f():\n    from farebox.gateway import a"})
    assert broken_contracts(tmp_path) == contracts
