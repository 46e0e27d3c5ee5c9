"""The data plane starts light: a Lambda pays for every import on each cold start."""

import subprocess
import sys

import pytest

HEAVY = (
    "aws_lambda_powertools",
    "boto3",
    "botocore",
    "cryptography",
    "fastapi",
    "httpx",
    "prometheus_client",
    "pydantic",
    "typer",
    "uvicorn",
    "yaml",
)


def loaded_by(module: str) -> list[str]:
    """Name the heavy packages that importing a module loads."""
    script = f"import sys, {module}; print(*(name for name in {HEAVY!r} if name in sys.modules))"
    told = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    return told.stdout.split()


@pytest.mark.parametrize(
    "module", ["farebox.http.data_plane", "farebox.compose.lambda_process", "farebox.compose.google"]
)
def test_what_answers_requests_imports_no_heavy_package(module: str) -> None:
    assert loaded_by(module) == []


@pytest.mark.parametrize("package", ["cryptography", "fastapi", "pydantic", "uvicorn"])
def test_a_heavy_package_is_found(package: str) -> None:
    assert package in loaded_by(package)
