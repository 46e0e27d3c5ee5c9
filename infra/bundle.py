"""What goes into the functions' packages, and how it is put together without Docker."""

from __future__ import annotations

import hashlib
import shutil
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


def core_layer(platform: str) -> lambda_.Code:
    """Give the layer with the package `farebox`, compiled where it can be."""
    source = ROOT / "layers/core"
    told = hashlib.sha256(f"{platform} {_version_of(compiler(platform))}".encode())
    for path in _code(source):
        told.update(f"{path.relative_to(source)} {path.stat().st_mode:o} ".encode() + path.read_bytes())
    return _bundled(source, told.hexdigest(), _Copied(source, platform))


def function_code(name: str) -> lambda_.Code:
    """Give the entry point of one function."""
    return lambda_.Code.from_asset(str(ROOT / "functions" / name), exclude=NOT_CODE)


def dependency_layer(lock: str, platform: str) -> lambda_.Code:
    """Give the layer that holds a lock's packages as wheels for Lambda, or for this machine.

    `lock` is a file of `requirements/`. Built when the CLI asks for the stack, and again only when lock or
    platform change.
    """
    source = ROOT / "requirements" / lock
    told = hashlib.sha256(source.read_bytes() + f"{platform} {_version_of(compiler(platform))}".encode())
    return _bundled(ROOT / "requirements", told.hexdigest(), _Wheels(lock, platform))


def wheels(lock: str, platform: str, folder: Path, *, python: str = sys.executable) -> None:
    """Install a lock's wheels, checked by their hashes, into the folder's `python`, as a layer has it.

    For this machine they are those of the interpreter `python`.
    """
    host = ["--python", python]
    lambda_platform = ["--python-platform", ARM64_PLATFORM, "--python-version", PYTHON]
    command = [
        str(ROOT / "tools/uv"),
        *("pip", "install", "--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:"),
        *("--no-compile-bytecode", "--link-mode", "copy"),
        *(host if platform == HOST_PLATFORM else lambda_platform),
        *("--target", str(folder / "python"), "--requirements", str(ROOT / "requirements" / lock)),
    ]
    subprocess.run(command, cwd=ROOT, check=True)


def compiler(platform: str) -> str | None:
    """Find an interpreter whose bytecode the functions can use; None where this machine has none.

    Lambda cannot keep what it compiles, since layers are read-only there, and so would compile at each start.
    """
    return sys.executable if platform == HOST_PLATFORM else interpreter(PYTHON)


def interpreter(version: str) -> str | None:
    """Find a Python of a version, such as '3.13', on this machine; None where it has none."""
    found = subprocess.run(
        # Not --quiet: it would keep the answer to itself as well.
        [str(ROOT / "tools/uv"), "python", "find", "--no-python-downloads", version],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=False,
    )
    return found.stdout.strip() or None


def compile_code(folder: Path, platform: str) -> None:
    """Put bytecode beside the code in a layer's folder, which is trusted without a look at its source."""
    python = compiler(platform)
    if python is None:
        return
    command = [python, "-m", "compileall", "-q", "-j", "0", "--invalidation-mode", "unchecked-hash"]
    # Tracebacks name files as they lie on Lambda. Code for other versions in a wheel's tests may not compile.
    subprocess.run([*command, "-s", str(folder), "-p", "/opt", str(folder / "python")], check=False)


def _bundled(source: Path, digest: str, bundling: cdk.ILocalBundling) -> lambda_.Code:
    return lambda_.Code.from_asset(
        str(source),
        asset_hash_type=cdk.AssetHashType.CUSTOM,
        asset_hash=digest,
        bundling=cdk.BundlingOptions(
            # CDK wants an image to fall back to; local bundling always works, or synthesis fails.
            image=cdk.DockerImage.from_registry("uv-builds-this-without-docker"),
            local=bundling,
        ),
    )


def _code(folder: Path) -> list[Path]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path for path in found if "__pycache__" not in path.parts and path.suffix != ".pyc")


def _version_of(python: str | None) -> str:
    """Say for which interpreter there is bytecode: a layer changes when that does."""
    if python is None:
        return "source"
    command = [python, "-c", "import importlib.util as it; print(it.MAGIC_NUMBER.hex())"]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


@jsii.implements(cdk.ILocalBundling)
class _Copied:
    def __init__(self, source: Path, platform: str) -> None:
        self._source = source
        self._platform = platform

    def try_bundle(self, output_dir: str, _options: Any = None, **_more: Any) -> bool:
        shutil.copytree(
            self._source,
            output_dir,
            dirs_exist_ok=True,
            ignore=shutil.ignore_patterns("__pycache__", "*.pyc"),
        )
        compile_code(Path(output_dir), self._platform)
        return True


@jsii.implements(cdk.ILocalBundling)
class _Wheels:
    def __init__(self, lock: str, platform: str) -> None:
        self._lock = lock
        self._platform = platform

    def try_bundle(self, output_dir: str, _options: Any = None, **_more: Any) -> bool:
        wheels(self._lock, self._platform, Path(output_dir))
        compile_code(Path(output_dir), self._platform)
        return True
