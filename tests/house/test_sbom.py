"""The bill of materials lists what the locks pin, no more and no less."""

from __future__ import annotations

import json
import re

import pytest

from tests.house.tree import ROOT
from tools.sbom import LAMBDA, PACKAGES, document, pins

HASH = "0" * 64


def lock_of(name: str) -> str:
    return (ROOT / "requirements" / f"{name}.txt").read_text()


def locked(lock: str) -> dict[str, set[str]]:
    """Read a lock by its lines: 'name==version', and the hashes below it."""
    found: dict[str, set[str]] = {}
    for line in lock.splitlines():
        if match := re.match(r"[a-z0-9-]+==[^ ]+", line):
            hashes = found.setdefault(match[0], set())
        if match := re.search(r"sha256:([0-9a-f]+)", line):
            hashes.add(match[1])
    return found


def listed(text: str) -> dict[str, set[str]]:
    return {
        f"{component['name']}=={component['version']}": {
            each["content"] for place in component["externalReferences"] for each in place["hashes"]
        }
        for component in json.loads(text)["components"]
    }


@pytest.mark.parametrize("name", PACKAGES)
def test_every_locked_package_is_listed_with_version_and_hashes(name: str) -> None:
    text = document(name, lock_of(name))
    assert listed(text) == locked(lock_of(name))
    [carried] = [each["dependsOn"] for each in json.loads(text)["dependencies"] if "dependsOn" in each]
    assert carried == sorted(component["purl"] for component in json.loads(text)["components"])


def test_every_layer_that_is_deployed_has_a_document() -> None:
    stacks = "".join(path.read_text() for path in (ROOT / "infra").glob("*.py"))
    layers = re.findall(r'dependency_layer\(\s*"(\w+)\.txt"', stacks)
    assert layers
    assert {name for name in layers if PACKAGES[name][1] is not LAMBDA} == set()


def test_the_same_lock_gives_the_same_bytes_and_another_one_does_not() -> None:
    lock = lock_of("proxy")
    assert document("proxy", lock) == document("proxy", lock)
    assert document("proxy", lock) != document("proxy", lock + f"a==1 --hash=sha256:{HASH}\n")


def test_what_lambda_never_installs_is_left_out_of_its_layers() -> None:
    lock = f"a==1 ; sys_platform == 'win32' --hash=sha256:{HASH}\nb==2 --hash=sha256:{HASH}\n"
    assert [pin.requirement.name for pin in pins(lock, LAMBDA)] == ["b"]
    assert [pin.requirement.name for pin in pins(lock, None)] == ["a", "b"]


def test_a_pin_without_a_hash_is_refused() -> None:
    with pytest.raises(ValueError, match="a has no hash"):
        pins("a==1\n", None)
