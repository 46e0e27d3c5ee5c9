"""The locks agree with each other and with what the package declares."""

import json
import re
import tomllib

from tests.house.tree import ROOT

LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
PIN = re.compile(r"^([a-z0-9._-]+)==(\S+)(?: ;[^\\]*)?( \\)?$", re.MULTILINE)
HASH = "\n    --hash=sha256:"


def pins(lock: str) -> dict[str, str]:
    return {match[1]: match[2] for match in PIN.finditer(lock)}


def unhashed(lock: str) -> list[str]:
    """Name the pins that no hash follows."""
    return [match[1] for match in PIN.finditer(lock) if not lock.startswith(HASH, match.end())]


def test_the_package_declares_the_runtime_requirements() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert declared == (ROOT / "requirements/runtime.in").read_text().splitlines()


def test_every_source_has_a_lock_that_hashes_every_pin() -> None:
    assert [lock.stem for lock in LOCKS] == sorted(path.stem for path in (ROOT / "requirements").glob("*.in"))
    assert [name for lock in LOCKS for name in unhashed(lock.read_text())] == []
    assert all(pins(lock.read_text()) for lock in LOCKS)


def test_no_two_locks_pin_different_versions() -> None:
    versions: dict[str, set[str]] = {}
    for lock in LOCKS:
        for name, version in pins(lock.read_text()).items():
            versions.setdefault(name, set()).add(version)
    assert {name: found for name, found in versions.items() if len(found) > 1} == {}


def test_a_pin_without_a_hash_is_found() -> None:
    lock = (
        "a==1.0 \\\n    --hash=sha256:00\nb==2.0\nc==3.0 ; sys_platform == 'win32' \\\n    --hash=sha256:00\n"
    )
    assert pins(lock) == {"a": "1.0", "b": "2.0", "c": "3.0"}
    assert unhashed(lock) == ["b"]


def test_the_npm_lock_pins_what_the_package_asks_for() -> None:
    manifest, lock = (json.loads((ROOT / name).read_text()) for name in ("package.json", "package-lock.json"))
    for kind in ("dependencies", "devDependencies"):
        assert lock["packages"][""][kind] == manifest[kind]
