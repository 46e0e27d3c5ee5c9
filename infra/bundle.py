"""What goes into the functions' packages, and how it is put together without Docker."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import jsii
from aws_cdk import aws_lambda as lambda_

from infra.options import HOST_PLATFORM

ROOT = Path(__file__).parents[1]
PYTHON = "3.13"
ARM64_PLATFORM = "aarch64-manylinux2014"
NOT_CODE = ["__pycache__", "**/__pycache__", "*.pyc", "**/*.pyc"]


def core_layer() -> lambda_.Code:
    """Give the layer with the package `farebox` as it lies in the repository."""
    return lambda_.Code.from_asset(str(ROOT / "layers/core"), exclude=NOT_CODE)


def function_code(name: str) -> lambda_.Code:
    """Give the entry point of one function."""
    return lambda_.Code.from_asset(str(ROOT / "functions" / name), exclude=NOT_CODE)


def dependency_layer(lock: str, platform: str) -> lambda_.Code:
    """Give the layer that holds a lock's packages as wheels for Lambda, or for this machine.

    `lock` is a file of `requirements/`. Built when the CLI asks for the stack, and again only when lock or
    platform change.
    """
    source = ROOT / "requirements" / lock
    told = hashlib.sha256(source.read_bytes() + f"{PYTHON} {platform}".encode())
    return lambda_.Code.from_asset(
        str(ROOT / "requirements"),
        asset_hash_type=cdk.AssetHashType.CUSTOM,
        asset_hash=told.hexdigest(),
        bundling=cdk.BundlingOptions(
            # CDK wants an image to fall back to; uv always builds, or synthesis fails.
            image=cdk.DockerImage.from_registry("uv-builds-this-without-docker"),
            local=_Wheels(lock, platform),
        ),
    )


def wheels(lock: str, platform: str, folder: Path) -> None:
    """Install a lock's wheels, checked by their hashes, into the folder's `python`, as a layer has it."""
    host = ["--python", sys.executable]
    lambda_platform = ["--python-platform", ARM64_PLATFORM, "--python-version", PYTHON]
    command = [
        str(ROOT / "tools/uv"),
        *("pip", "install", "--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:"),
        *("--no-compile-bytecode", "--link-mode", "copy"),
        *(host if platform == HOST_PLATFORM else lambda_platform),
        *("--target", str(folder / "python"), "--requirements", str(ROOT / "requirements" / lock)),
    ]
    subprocess.run(command, cwd=ROOT, check=True)


@jsii.implements(cdk.ILocalBundling)
class _Wheels:
    def __init__(self, lock: str, platform: str) -> None:
        self._lock = lock
        self._platform = platform

    def try_bundle(self, output_dir: str, _options: Any = None, **_more: Any) -> bool:
        wheels(self._lock, self._platform, Path(output_dir))
        return True
