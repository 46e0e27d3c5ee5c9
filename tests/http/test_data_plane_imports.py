"""The data plane starts light: a Lambda pays for every import on each cold start."""

import subprocess
import sys

import pytest

HEAVY = ("fastapi", "pydantic", "boto3", "uvicorn", "httpx", "yaml")


def loaded_by(module: str) -> list[str]:
    """Name the heavy packages that importing a module loads."""
    script = f"import sys, {module}; print(*(name for name in {HEAVY!r} if name in sys.modules))"
    told = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    return told.stdout.split()


def test_the_data_plane_imports_no_heavy_package() -> None:
    assert loaded_by("farebox.http.data_plane") == []


@pytest.mark.parametrize("package", ["fastapi", "pydantic", "uvicorn"])
def test_a_heavy_package_is_found(package: str) -> None:
    assert package in loaded_by(package)
