"""What goes into a layer beside the code: bytecode that Lambda trusts."""

from __future__ import annotations

import importlib.util
import marshal
import subprocess
import sys
from pathlib import Path

from infra.bundle import compile_code, interpreter
from infra.options import HOST_PLATFORM


def test_bytecode_is_trusted_unseen_and_names_files_as_on_lambda(tmp_path: Path) -> None:
    source = tmp_path / "python" / "package" / "module.py"
    source.parent.mkdir(parents=True)
    source.write_text("def answer():\n    return 42\n")
    (source.parent / "broken.py").write_text("not python at all\n")
    compile_code(tmp_path, HOST_PLATFORM)
    compiled = Path(importlib.util.cache_from_source(str(source))).read_bytes()
    assert compiled[:4] == importlib.util.MAGIC_NUMBER
    # PEP 552: bit 0 says that it goes by hash, and no bit 1 that the source is not looked at.
    assert int.from_bytes(compiled[4:8], "little") == 0b01
    assert marshal.loads(compiled[16:]).co_filename == "/opt/python/package/module.py"


def test_an_interpreter_that_the_machine_has_is_found_by_its_version() -> None:
    wanted = f"{sys.version_info.major}.{sys.version_info.minor}"
    found = interpreter(wanted)
    assert found is not None
    told = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
    assert told.startswith(f"Python {wanted}.")
    assert interpreter("3.4") is None
